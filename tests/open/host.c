/*
 * A program that embeds CPython, and captures before, in, between and after two lives of the interpreter. What the
 * interpreter runs is lives.py; what it finds there and what this program finds is printed, a line each.
 *
 * One source, three programs:
 *   (nothing)          linked with an interpreter, shared or static;
 *   HOST_LOADS_PYTHON  not linked with one: loads the libpython that its argument names, with RTLD_LOCAL;
 *   HOST_IS_PRELOADED  a library that is preloaded into a python executable: the first life is that program's own.
 */
#include <Python.h>

#include <dlfcn.h>
#include <pthread.h>
#include <pyunwind.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- The interpreter's functions: linked, or looked up ---- */

#define PYTHON_FUNCTIONS(X)                                                                                            \
    X(Py_InitializeEx)                                                                                                 \
    X(Py_FinalizeEx)                                                                                                   \
    X(Py_BuildValue)                                                                                                   \
    X(Py_DecRef)                                                                                                       \
    X(Py_NewInterpreter)                                                                                               \
    X(Py_EndInterpreter)                                                                                               \
    X(PyArg_ParseTuple)                                                                                                \
    X(PyErr_Print)                                                                                                     \
    X(PyEval_RestoreThread)                                                                                            \
    X(PyEval_SaveThread)                                                                                               \
    X(PyGILState_Ensure)                                                                                               \
    X(PyGILState_Release)                                                                                              \
    X(PyImport_AppendInittab)                                                                                          \
    X(PyList_Append)                                                                                                   \
    X(PyList_New)                                                                                                      \
    X(PyModuleDef_Init)                                                                                                \
    X(PyObject_CallObject)                                                                                             \
    X(PyRun_SimpleStringFlags)                                                                                         \
    X(PySys_AddAuditHook)                                                                                              \
    X(PyThreadState_Get)                                                                                               \
    X(PyThreadState_Swap)

struct python_functions {
#define MEMBER(name) __typeof__(name) *name;
    PYTHON_FUNCTIONS(MEMBER)
#if PY_VERSION_HEX >= 0x030c0000
    MEMBER(Py_NewInterpreterFromConfig)
#endif
};

static struct python_functions python;

static void find_functions(void *library)
{
#ifdef HOST_LOADS_PYTHON
#define FIND(name)                                                                                                     \
    *(void **)&python.name = dlsym(library, #name);                                                                    \
    if (python.name == NULL)                                                                                           \
        abort();
#else
#define FIND(name) python.name = name;
    (void)library;
#endif
    PYTHON_FUNCTIONS(FIND)
#if PY_VERSION_HEX >= 0x030c0000
    FIND(Py_NewInterpreterFromConfig)
#endif
}

/* ---- Captures ---- */

enum { MANY_FRAMES = 256, MANY_TARGETS = 4 };

static pyunw_target targets[MANY_TARGETS];
static int target_count;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[8192];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line || write(STDOUT_FILENO, line, (size_t)length) != length)
        abort();
}

static const char *end_of_capture(const pyunw_target *target)
{
    static pyunw_frame frames[MANY_FRAMES];
    pyunw_status status;
    int count = pyunw_capture_current(target, frames, MANY_FRAMES, &status);
    return count < 0 ? pyunw_strerror(count) : pyunw_end_name(status.end);
}

static void say_captures(const char *stage)
{
    for (int n = 0; n < target_count; n++)
        say("%s, target %d: %s\n", stage, n, end_of_capture(&targets[n]));
}

static void open_target(const char *stage)
{
    char message[256] = "";
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    pyunw_target_info info;
    if (target_count == MANY_TARGETS)
        abort();
    int err = pyunw_open_self(&targets[target_count], &options);
    say("open %s: %s%s%s\n", stage, pyunw_strerror(err), message[0] != '\0' ? ": " : "", message);
    /* A target that was opened between two lives is one, though opening said so. */
    err = pyunw_target_describe(&targets[target_count], &info);
    if (err < 0) {
        say("  no target: %s\n", pyunw_strerror(err));
        return;
    }
    say("  target %d: CPython %u.%u%s\n", target_count, info.version >> 24, info.version >> 16 & 255u,
        info.free_threaded ? "t" : "");
    target_count++;
}

/* A capture kept in plain C, so that it may be taken while another interpreter is the current one. */
struct captured {
    int count;
    pyunw_status status;
    pyunw_frame frames[MANY_FRAMES];
};

static struct captured *capture(const pyunw_target *target, const PyThreadState *tstate)
{
    struct captured *captured = malloc(sizeof *captured);
    if (captured == NULL)
        abort();
    pyunw_addr address = (pyunw_addr)(uintptr_t)tstate;
    captured->count = pyunw_capture(target, address, captured->frames, MANY_FRAMES, &captured->status);
    return captured;
}

/* (count or error, words, [(filename, name, line)]); frees what was captured */
static PyObject *as_tuple(struct captured *captured)
{
    int count = captured->count;
    const char *words = count < 0 ? pyunw_strerror(count) : pyunw_end_name(captured->status.end);
    PyObject *list = python.PyList_New(0);
    for (int n = 0; n < count; n++) {
        const pyunw_frame *frame = &captured->frames[n];
        PyObject *item = python.Py_BuildValue("(ssi)", frame->filename, frame->name, frame->position.lineno);
        python.PyList_Append(list, item);
        python.Py_DecRef(item);
    }
    free(captured);
    return python.Py_BuildValue("(isN)", count, words, list);
}

/*
 * Audit events come while the interpreter is made and unmade, too: captures then find whole stacks, or are told that
 * there is none to find.
 */
static int audits;

static int capture_at_event(const char *event, PyObject *arguments, void *context)
{
    (void)arguments;
    (void)context;
    audits++;
    for (int n = 0; n < target_count; n++) {
        struct captured *captured = capture(&targets[n], NULL);
        int count = captured->count;
        bool good = count > 0    ? captured->status.end == PYUNW_COMPLETE
                    : count == 0 ? captured->status.end == PYUNW_NO_FRAME
                                 : count == PYUNW_ERR_NOT_INITIALIZED || count == PYUNW_ERR_NO_THREAD;
        if (!good)
            say("audit event %s, target %d: %d, %s\n", event, n, count,
                count < 0 ? pyunw_strerror(count) : pyunw_end_name(captured->status.end));
        free(captured);
    }
    return 0;
}

/* ---- The module that lives.py imports ---- */

/* target_count() -> int */
static PyObject *module_target_count(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    return python.Py_BuildValue("i", target_count);
}

/* capture(target) -> (count or error, words, [(filename, name, line)]) of the calling thread */
static PyObject *module_capture(PyObject *self, PyObject *arguments)
{
    int which = 0;
    (void)self;
    if (!python.PyArg_ParseTuple(arguments, "i", &which))
        return NULL;
    return as_tuple(capture(&targets[which], NULL));
}

/* current_is_own() -> bool: is the thread state that pyunwind finds the one that CPython has? */
static PyObject *module_current_is_own(PyObject *self, PyObject *arguments)
{
    bool same = true;
    (void)self;
    (void)arguments;
    for (int n = 0; n < target_count; n++) {
        pyunw_addr found = 0;
        int err = pyunw_current_thread(&targets[n], &found);
        same = same && err == 0 && found == (pyunw_addr)(uintptr_t)python.PyThreadState_Get();
    }
    return python.Py_BuildValue("i", same);
}

/* is_finalizing(target) -> int */
static PyObject *module_is_finalizing(PyObject *self, PyObject *arguments)
{
    int which = 0;
    (void)self;
    if (!python.PyArg_ParseTuple(arguments, "i", &which))
        return NULL;
    return python.Py_BuildValue("i", pyunw_is_finalizing(&targets[which]));
}

static PyObject *module_say(PyObject *self, PyObject *arguments)
{
    const char *line = NULL;
    (void)self;
    if (!python.PyArg_ParseTuple(arguments, "s", &line))
        return NULL;
    say("%s\n", line);
    return python.Py_BuildValue("");
}

struct call {
    PyObject *function;
    const char *before;
    const char *attached;
    const char *after;
};

static void *call_attached(void *context)
{
    struct call *call = context;
    call->before = end_of_capture(&targets[0]);
    PyGILState_STATE state = python.PyGILState_Ensure();
    PyObject *result = python.PyObject_CallObject(call->function, NULL);
    if (result == NULL)
        python.PyErr_Print();
    else
        python.Py_DecRef(result);
    PyThreadState *own = python.PyEval_SaveThread();
    call->attached = end_of_capture(&targets[0]);
    python.PyEval_RestoreThread(own);
    python.PyGILState_Release(state);
    call->after = end_of_capture(&targets[0]);
    return NULL;
}

/* call_in_thread(function) -> what a thread of C finds: before it attaches, attached without the GIL, afterwards */
static PyObject *module_call_in_thread(PyObject *self, PyObject *arguments)
{
    struct call call = {0};
    pthread_t thread;
    (void)self;
    if (!python.PyArg_ParseTuple(arguments, "O", &call.function))
        return NULL;
    PyThreadState *own = python.PyEval_SaveThread();
    if (pthread_create(&thread, NULL, call_attached, &call) != 0 || pthread_join(thread, NULL) != 0)
        abort();
    python.PyEval_RestoreThread(own);
    return python.Py_BuildValue("(sss)", call.before, call.attached, call.after);
}

static PyThreadState *new_interpreter(int own_gil)
{
    if (!own_gil)
        return python.Py_NewInterpreter();
#if PY_VERSION_HEX >= 0x030c0000
    PyThreadState *inner = NULL;
    PyInterpreterConfig config = {
        .allow_threads = 1,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    (void)python.Py_NewInterpreterFromConfig(&inner, &config);
    return inner;
#else
    return NULL;
#endif
}

struct own_threads {
    int count; /* or an error */
    pyunw_thread threads[8];
};

/* The calling thread's thread states. */
static void list_own_threads(struct own_threads *own)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    own->count = 0;
    int result = pyunw_threads_begin(&targets[0], &cursor);
    while (result >= 0 && (result = pyunw_threads_next(&cursor, &thread)) == 1) {
        if (thread.thread_id == (uint64_t)pthread_self() && own->count < 8)
            own->threads[own->count++] = thread;
    }
    if (result < 0)
        own->count = result;
}

/*
 * run_inside(source, own_gil) -> (words of a capture before the source ran, capture of the outer thread state, error,
 * [(interpreter id, is it the outer one?, is it current?, has it frames?)] of the calling thread's thread states), all
 * taken while a new interpreter was the current one and had run source.
 */
static PyObject *module_run_inside(PyObject *self, PyObject *arguments)
{
    const char *source = NULL;
    int own_gil = 0;
    struct own_threads own;
    (void)self;
    if (!python.PyArg_ParseTuple(arguments, "si", &source, &own_gil))
        return NULL;
    PyThreadState *outer = python.PyThreadState_Get();
    PyThreadState *inner = new_interpreter(own_gil);
    if (inner == NULL)
        abort();
    const char *idle = end_of_capture(&targets[0]);
    if (python.PyRun_SimpleStringFlags(source, NULL) != 0)
        say("the inner program failed\n");
    struct captured *captured = capture(&targets[0], outer);
    list_own_threads(&own);
    python.Py_EndInterpreter(inner);
    python.PyThreadState_Swap(outer);

    PyObject *list = python.PyList_New(0);
    for (int n = 0; n < own.count; n++) {
        const pyunw_thread *thread = &own.threads[n];
        PyObject *item = python.Py_BuildValue(
            "(iiii)", (int)thread->interpreter_id, thread->tstate == (pyunw_addr)(uintptr_t)outer,
            (thread->flags & PYUNW_THREAD_CURRENT) != 0, (thread->flags & PYUNW_THREAD_HAS_FRAMES) != 0);
        python.PyList_Append(list, item);
        python.Py_DecRef(item);
    }
    return python.Py_BuildValue("(sNiN)", idle, as_tuple(captured), own.count < 0 ? own.count : 0, list);
}

static PyMethodDef module_functions[] = {
    {"target_count", module_target_count, METH_NOARGS, NULL},
    {"capture", module_capture, METH_VARARGS, NULL},
    {"current_is_own", module_current_is_own, METH_NOARGS, NULL},
    {"is_finalizing", module_is_finalizing, METH_VARARGS, NULL},
    {"say", module_say, METH_VARARGS, NULL},
    {"call_in_thread", module_call_in_thread, METH_VARARGS, NULL},
    {"run_inside", module_run_inside, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* or the import would switch the GIL on */
#endif
    {0, NULL},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "host",
    .m_methods = module_functions,
    .m_slots = module_slots,
};

static PyObject *make_module(void)
{
    return python.PyModuleDef_Init(&module);
}

/* ---- The lives of the interpreter ---- */

static const char program[] = "import lives; lives.main()";

static void before_first_life(void)
{
    open_target("before Py_Initialize");
    say_captures("before Py_Initialize");
}

static void before_life(void)
{
    audits = 0;
    if (python.PySys_AddAuditHook(capture_at_event, NULL) != 0)
        abort();
}

static void after_life(void)
{
    say("audit events: %s\n", audits >= 20 ? "many" : "few");
    say_captures("after Py_Finalize");
}

static void live(void)
{
    before_life();
    python.Py_InitializeEx(0);
    say_captures("after Py_Initialize");
    if (python.PyRun_SimpleStringFlags(program, NULL) != 0)
        say("lives.py failed\n");
    say("Py_Finalize: %d\n", python.Py_FinalizeEx());
    after_life();
}

static void second_life(void)
{
    open_target("after Py_Finalize");
    live();
}

#ifdef HOST_IS_PRELOADED

static void after_first_life(void)
{
    after_life();
    /* The end of python's own main() forgets the modules that were appended, 3.8's the built-in ones with them. */
    if (PY_VERSION_HEX < 0x03090000)
        return;
    python.PyImport_AppendInittab("host", make_module);
    second_life();
}

__attribute__((constructor)) static void begin(void)
{
    find_functions(NULL);
    before_first_life();
    before_life();
    python.PyImport_AppendInittab("host", make_module);
    /* Exit handlers run once main() has returned, and so after the Py_Finalize of python's own main(). */
    if (atexit(after_first_life) != 0)
        abort();
}

#else

int main(int count, char **arguments)
{
    void *library = NULL;
#ifdef HOST_LOADS_PYTHON
    if (count != 2)
        return 2;
    open_target("before dlopen");
    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        say("%s\n", dlerror());
        return 1;
    }
#else
    (void)count;
    (void)arguments;
#endif
    find_functions(library);
    before_first_life();
    if (target_count == 0)
        return 0;
    python.PyImport_AppendInittab("host", make_module);
    live();
    second_life();
    return 0;
}

#endif
