/*
 * A program with two CPython runtimes: one is linked into it and not exported, the other comes with a libpython that
 * it loads. Python code of the first calls Python code of the second, which captures both.
 *
 * Arguments: PYTHONHOME of the linked runtime, path of the libpython, PYTHONHOME of that one.
 */
#include <dlfcn.h>
#include <pyunwind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of either runtime: their Python.h may be of two versions, so only what is the same in all is declared. */
typedef struct object object;
typedef object *(*c_function)(object *self, object *arguments);

struct method {
    const char *name;
    c_function function;
    int flags;
    const char *documentation;
};

enum { METH_NOARGS = 4 };

struct runtime {
    char *address; /* _PyRuntime */
    void (*Py_InitializeEx)(int);
    int (*Py_FinalizeEx)(void);
    int (*PyRun_SimpleString)(const char *, void *);
    object *(*PyImport_AddModule)(const char *);
    object *(*PyCFunction_NewEx)(struct method *, object *, object *);
    int (*PyObject_SetAttrString)(object *, const char *, object *);
    object *(*Py_BuildValue)(const char *, ...);
};

extern char _PyRuntime[];
void Py_InitializeEx(int);
int Py_FinalizeEx(void);
int PyRun_SimpleStringFlags(const char *, void *);
object *PyImport_AddModule(const char *);
object *PyCFunction_NewEx(struct method *, object *, object *);
int PyObject_SetAttrString(object *, const char *, object *);
object *Py_BuildValue(const char *, ...);

static struct runtime linked = {
    _PyRuntime,         Py_InitializeEx,   Py_FinalizeEx,          PyRun_SimpleStringFlags,
    PyImport_AddModule, PyCFunction_NewEx, PyObject_SetAttrString, Py_BuildValue,
};
static struct runtime loaded;

static void *find(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return symbol;
}

static void find_loaded(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    loaded.address = find(library, "_PyRuntime");
    *(void **)&loaded.Py_InitializeEx = find(library, "Py_InitializeEx");
    *(void **)&loaded.Py_FinalizeEx = find(library, "Py_FinalizeEx");
    *(void **)&loaded.PyRun_SimpleString = find(library, "PyRun_SimpleStringFlags");
    *(void **)&loaded.PyImport_AddModule = find(library, "PyImport_AddModule");
    *(void **)&loaded.PyCFunction_NewEx = find(library, "PyCFunction_NewEx");
    *(void **)&loaded.PyObject_SetAttrString = find(library, "PyObject_SetAttrString");
    *(void **)&loaded.Py_BuildValue = find(library, "Py_BuildValue");
}

/* ---- Captures ---- */

struct opened {
    const char *name;
    pyunw_target target;
};

static struct opened targets[] = {{.name = "the linked one"}, {.name = "the loaded one"}, {.name = "any"}};

static void open_runtime(struct opened *opened, const char *address)
{
    char message[256] = "";
    pyunw_options options = {
        .size = sizeof options,
        .runtime = (pyunw_addr)(uintptr_t)address,
        .message = message,
        .message_size = sizeof message,
    };
    pyunw_target_info info;
    int err = pyunw_open_self(&opened->target, &options);
    if (err < 0) {
        printf("open %s: %s: %s\n", opened->name, pyunw_strerror(err), message);
        return;
    }
    pyunw_target_describe(&opened->target, &info);
    printf("open %s: %u.%u%s\n", opened->name, info.version >> 24, info.version >> 16 & 255u,
           info.runtime == (pyunw_addr)(uintptr_t)linked.address   ? ", linked"
           : info.runtime == (pyunw_addr)(uintptr_t)loaded.address ? ", loaded"
                                                                   : "");
}

static void print_captures(const char *stage)
{
    enum { MANY_FRAMES = 16 };
    static pyunw_frame frames[MANY_FRAMES];
    for (size_t n = 0; n < sizeof targets / sizeof targets[0]; n++) {
        pyunw_status status;
        int count = pyunw_capture_current(&targets[n].target, frames, MANY_FRAMES, &status);
        printf("%s, %s: %s", stage, targets[n].name, count < 0 ? pyunw_strerror(count) : pyunw_end_name(status.end));
        for (int frame = 0; frame < count; frame++)
            printf(" %s:%d", frames[frame].name, frames[frame].position.lineno);
        printf("\n");
    }
}

/* ---- What the Python code calls ---- */

static const char loaded_program[] = "def callee():\n"
                                     "    capture()\n"
                                     "callee()\n";

static const char linked_program[] = "def caller():\n"
                                     "    call_loaded()\n"
                                     "def outer():\n"
                                     "    caller()\n"
                                     "\n"
                                     "outer()\n";

static object *capture(object *self, object *arguments)
{
    (void)self;
    (void)arguments;
    print_captures("both run");
    return loaded.Py_BuildValue("");
}

static object *call_loaded(object *self, object *arguments)
{
    (void)self;
    (void)arguments;
    if (loaded.PyRun_SimpleString(loaded_program, NULL) != 0)
        exit(1);
    return linked.Py_BuildValue("");
}

static void define(const struct runtime *runtime, struct method *method)
{
    object *module = runtime->PyImport_AddModule("__main__");
    object *function = runtime->PyCFunction_NewEx(method, NULL, NULL);
    if (module == NULL || function == NULL || runtime->PyObject_SetAttrString(module, method->name, function) != 0)
        exit(1);
}

int main(int count, char **arguments)
{
    static struct method capture_method = {"capture", capture, METH_NOARGS, NULL};
    static struct method call_loaded_method = {"call_loaded", call_loaded, METH_NOARGS, NULL};
    if (count != 4)
        return 2;
    setvbuf(stdout, NULL, _IONBF, 0);
    setenv("PYTHONHOME", arguments[1], 1);
    linked.Py_InitializeEx(0);
    find_loaded(arguments[2]);
    open_runtime(&targets[0], linked.address);
    open_runtime(&targets[1], loaded.address);
    open_runtime(&targets[2], NULL);
    print_captures("one runs");
    setenv("PYTHONHOME", arguments[3], 1);
    loaded.Py_InitializeEx(0);
    define(&loaded, &capture_method);
    define(&linked, &call_loaded_method);
    if (linked.PyRun_SimpleString(linked_program, NULL) != 0)
        return 1;
    linked.Py_FinalizeEx();
    print_captures("the other runs");
    loaded.Py_FinalizeEx();
    print_captures("none runs");
    return 0;
}
