/*
 * pyunwind: what CPython's module faulthandler does, without its crashes and limits.
 *
 * The functions and their texts are those of that module, of the interpreter's own version; where CPython stops early,
 * all is written in the same format (docs/text-format.md). The Python package's pyunwind.faulthandler is these
 * functions with the module's own arguments. Closing words of each comment: as in pyunwind.h.
 */
#ifndef PYUNWIND_FAULTHANDLER_H
#define PYUNWIND_FAULTHANDLER_H

#include "pyunwind.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is written, and where. Set .size = sizeof(pyunw_faulthandler_options), leave the rest zero for the defaults. */
typedef struct {
    size_t size;     /* bytes of this structure, as the caller was compiled */
    int fd;          /* open descriptor */
    int all_threads; /* 0: the thread that is concerned; else all of its interpreter */
    int max_threads; /* of all threads, then "..."; 0: no limit; less than 0: "..." and no thread */
    int c_stack;     /* pyunw_faulthandler_enable(): not 0: the C stack, too, where that CPython writes it (3.14+) */
    int chain;       /* pyunw_faulthandler_register(): not 0: the handler that was there before is called afterwards */
} pyunw_faulthandler_options;

/**
 * Take SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGSEGV: write why the process dies and its Python stacks, and give the
 * signal back, with its siginfo, to the handler that was there before. The calling thread is given an alternate signal
 * stack, as by pyunw_crash_attach_thread(). Py_FatalError() writes its stacks itself: its SIGABRT is passed on. Where
 * two threads die at once the other waits until the first has written. Called again, it changes the options.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_SYSTEM, and errno says why; errors of pyunw_open_self().
 * Signal-safe: no. Allocates: the stack. Threads: one at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_faulthandler_enable(const pyunw_faulthandler_options *options);

/**
 * Give the signals back to the handlers that were there before.
 * @return 1; 0 where it was not enabled. Signal-safe: no. Threads: one at a time. Since: 0.1.
 */
PYUNW_API int pyunw_faulthandler_disable(void);

/** @return 1 or 0. Signal-safe: yes. Threads: any. Since: 0.1. */
PYUNW_API int pyunw_faulthandler_is_enabled(void);

/**
 * Write the Python stack of the calling thread, or of all threads of its interpreter.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_WRITE; errors of pyunw_open_self() and pyunw_write_text().
 * Signal-safe: no. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_faulthandler_dump_traceback(const pyunw_faulthandler_options *options);

/**
 * Write the C stack of the calling thread, without the frames of pyunwind.
 * @return 0; PYUNW_ERR_WRITE. Signal-safe: no. Allocates: perhaps. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_faulthandler_dump_c_stack(int fd);

/**
 * Write the Python stacks of all threads of the calling thread's interpreter when a time is over, from a thread of
 * pyunwind's own that Python does not know. Called again, it begins anew; in a child of fork() there is none.
 * @param options       all_threads is not used.
 * @param microseconds  1 or more.
 * @param repeat        Not 0: again each time that it is over.
 * @param exit          Not 0: then end the process by _exit(1).
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_SYSTEM where no thread can be started; errors of pyunw_open_self().
 * Signal-safe: no. Allocates: the thread. Threads: one at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_faulthandler_dump_traceback_later(const pyunw_faulthandler_options *options, uint64_t microseconds,
                                                      int repeat, int exit);

/**
 * End what pyunw_faulthandler_dump_traceback_later() began, and wait for its thread.
 * @return 0. Signal-safe: no. Threads: one at a time. Since: 0.1.
 */
PYUNW_API int pyunw_faulthandler_cancel_dump_traceback_later(void);

/**
 * Take a signal: write the Python stacks each time it comes, in several threads one after the other. The calling thread
 * is given an alternate signal stack. Called again for the same signal, it changes the options.
 * @param signum  None of those of pyunw_faulthandler_enable().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_SYSTEM, and errno says why; errors of pyunw_open_self().
 * Signal-safe: no. Allocates: the stack. Threads: one at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_faulthandler_register(int signum, const pyunw_faulthandler_options *options);

/**
 * Give a signal back to the handler that was there before.
 * @return 1; 0 where it was not registered; PYUNW_ERR_ARGUMENT. Signal-safe: no. Threads: one at a time. Since: 0.1.
 */
PYUNW_API int pyunw_faulthandler_unregister(int signum);

#define PYUNW_FAULTHANDLER_HIDDEN_MAX 64

/**
 * Say which code objects are the caller's own: their frames are left out of all that is written. Those of another
 * interpreter than the main one, which end with it, are not taken.
 * @param codes  Copied; they replace those of a call before. The code objects have to stay alive.
 * @param count  0 to PYUNW_FAULTHANDLER_HIDDEN_MAX.
 * @return 0; PYUNW_ERR_ARGUMENT; errors of pyunw_open_self().
 * Signal-safe: no. Threads: one at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_faulthandler_hide(const pyunw_addr *codes, int count);

/** Where the extension modules are, which a dying process names (3.10+). Set .size; all must be given. */
typedef struct {
    size_t size;            /* bytes of this structure, as the caller was compiled */
    pyunw_addr modules;     /* the dict sys.modules, which has to stay alive */
    pyunw_addr module_type; /* types.ModuleType; an object of another type is none */
    int type_offset;        /* bytes from an object to its type */
    int definition_offset;  /* bytes from a module to the address of its PyModuleDef */
    int methods_offset;     /* bytes from a PyModuleDef to m_methods, which extension modules have */
    const char *left_out;   /* names that are not told (sys.stdlib_module_names), each with a NUL, then an empty one */
} pyunw_faulthandler_modules;

/**
 * Say where the extension modules are.
 * @param modules  Copied, with its names; it replaces that of a call before. NULL: none are named.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_SYSTEM where there is no memory.
 * Signal-safe: no. Allocates: a copy of the names. Threads: one at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_faulthandler_name_modules(const pyunw_faulthandler_modules *modules);

#ifdef __cplusplus
}
#endif

#endif
