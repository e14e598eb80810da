/*
 * A program that is linked with libpyunwind and not with an interpreter, and loads one later: what the functions of
 * pyunwind_python.h answer in each stage, a line each, for test_loading.py.
 *
 * host LIBPYTHON loaded | initialized | finalized      the stage at which pyunw_init() is called first
 */
#include <pyunwind_python.h>

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 8 };

static PyThreadState *(*current_thread_state)(void);
static void (*initialize)(int);
static int (*finalize)(void);
static int (*run)(const char *);

static void *find(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        printf("no %s: %s\n", name, dlerror());
        exit(1);
    }
    return symbol;
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL) {
        printf("%s\n", dlerror());
        exit(1);
    }
    *(void **)&current_thread_state = find(library, "PyThreadState_Get");
    *(void **)&initialize = find(library, "Py_InitializeEx");
    *(void **)&finalize = find(library, "Py_FinalizeEx");
    *(void **)&run = find(library, "PyRun_SimpleString");
}

static void say_frames(const char *stage, PyThreadState *tstate)
{
    PyTracebackFrameInfo frames[ROOM];
    PyUnstable_FrameInfo infos[ROOM];
    int count = _Py_GetTracebackFrames(tstate, frames, ROOM);
    printf("%s: %d", stage, count);
    for (int n = 0; n < count; n++)
        printf(" %s:%d:%s", frames[n].filename, frames[n].lineno, frames[n].name);
    printf(", %d\n", PyUnstable_CollectCallStack(tstate, infos, ROOM));
    fflush(stdout);
}

static PyThreadState *tstate_of_handler;

static void handle(int number)
{
    (void)number;
    say_frames("in a signal handler", tstate_of_handler);
    (void)PyUnstable_DumpTraceback(1, tstate_of_handler);
}

static void init(void)
{
    printf("pyunw_init: %s\n", pyunw_strerror(pyunw_init()));
}

static void live(const char *stage, int init_in_it)
{
    static const char program[] = "import os, signal\n"
                                  "def inner():\n"
                                  "    os.kill(os.getpid(), signal.SIGUSR1)\n"
                                  "def outer():\n"
                                  "    inner()\n"
                                  "outer()\n";
    printf("%s\n", stage);
    initialize(0);
    tstate_of_handler = current_thread_state();
    say_frames("initialized", tstate_of_handler);
    if (init_in_it) {
        init();
        say_frames("after pyunw_init", tstate_of_handler);
    }
    if (run(program) != 0)
        printf("the program failed\n");
    say_frames("after the program", tstate_of_handler);
    finalize();
    say_frames("finalized", tstate_of_handler);
}

int main(int argc, char **argv)
{
    int somewhere = 0;
    PyThreadState *none = (PyThreadState *)(void *)&somewhere;
    if (argc != 3)
        return 2;
    signal(SIGUSR1, handle);
    say_frames("no interpreter", none);
    init();
    load(argv[1]);
    say_frames("loaded", none);
    if (strcmp(argv[2], "loaded") == 0) {
        init();
        say_frames("not initialized", none);
    }
    live("first life", strcmp(argv[2], "initialized") == 0);
    if (strcmp(argv[2], "finalized") == 0)
        init();
    live("second life", 0);
    init();
    live("third life", 1);
    return 0;
}
