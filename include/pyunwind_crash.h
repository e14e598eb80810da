/*
 * pyunwind: a report of how the process died.
 *
 * pyunw_crash_install() takes the fatal signals. When the process is about to die of one, the handler writes what can
 * be written safely, at once: the signal, the registers, the Python stack of the thread; then it starts a clean process
 * (the pyunwind command), which reads the stacks of all threads, Python's and native ones, and completes the report.
 * Then the process dies as it would have died: the handlers that were there before run, or the signal's default action
 * is taken, with the exit status, the core file and the siginfo that it would have had.
 *
 * docs/crash.md tells what is in a report; `pyunwind report` shows it. `pyunwind run` does all of this for a program
 * that knows nothing of pyunwind. Closing words of each comment: as in pyunwind.h.
 */
#ifndef PYUNWIND_CRASH_H
#define PYUNWIND_CRASH_H

#include "pyunwind.h"

#ifdef __cplusplus
extern "C" {
#endif

enum pyunw_crash_flags {
    PYUNW_CRASH_NO_NATIVE = 1,    /* Python frames only */
    PYUNW_CRASH_NO_COMMAND = 2,   /* leave the command line out of the report, which may hold secrets */
    PYUNW_CRASH_LOCALS = 4,       /* tell arguments and local variables, which may hold secrets */
    PYUNW_CRASH_ONLY_CRASHED = 8, /* the thread that crashed, not the others */
    PYUNW_CRASH_TEXT = 16,        /* write the report for people to standard error, too */
};

/** Options of pyunw_crash_install(). Set .size = sizeof(pyunw_crash_options), leave the rest zero for the defaults. */
typedef struct {
    size_t size; /* bytes of this structure, as the caller was compiled */
    /* Folder for the reports, made with mode 0700 where it is missing. NULL: PYUNWIND_REPORT_DIR of the environment,
     * else $XDG_STATE_HOME/pyunwind, else ~/.local/state/pyunwind. */
    const char *report_dir;
    /* The pyunwind command, which completes reports. NULL: PYUNWIND_HELPER of the environment, else where the library
     * was installed from, else the one that PATH leads to. */
    const char *helper;
    uint64_t signals;     /* bit n - 1 for signal n; 0: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP */
    int time_limit;       /* milliseconds from the fault until the process dies, whatever hangs; 0: 10,000 */
    uint32_t flags;       /* enum pyunw_crash_flags */
    const char *hook;     /* command for /bin/sh, run on each finished report, whose path is $1; NULL: none */
    uint64_t report_size; /* bytes of a report at most; 0: 16 MiB */
    int reports_kept;     /* the newest of a folder that are kept; 0: 100; less than 0: all */
    int report_fd;        /* 3 or more: an open descriptor, which reports are written to as well; 0: none */
    int report_signal;    /* a signal that asks for a report of the process, which goes on; 0: none */
    char *message;        /* out, may be NULL: why it failed, in words, with names and numbers */
    size_t message_size;  /* bytes of room in message, the end included */
} pyunw_crash_options;

/**
 * Take the fatal signals, from now on, in every thread and in children that fork() makes.
 *
 * The handlers that are there are remembered, and called as they would have been: one that recovers from its faults
 * goes on to do so, and leaves no report. One that is installed later is in front, and calls this one where it passes
 * signals on (docs/crash.md). Three descriptors above 200 are opened, close-on-exec; the calling thread is given an
 * alternate signal stack where it has none. Called again, it changes the options.
 * @param options  NULL for the defaults. options->message says why when it fails, but for a size that is too small.
 * @return 0, also where there is no Python yet: the sidecar finds one that comes later, the handler does when it is
 *         installed again;
 *         PYUNW_ERR_ARGUMENT; PYUNW_ERR_PERMISSION where the report folder is not to be written to, or another's;
 *         PYUNW_ERR_SYSTEM where it, the helper or a stack is not to be had.
 * Signal-safe: no. Allocates: stacks. Threads: one at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_crash_install(const pyunw_crash_options *options);

/**
 * Give the signals back to the handlers that were there before, where ours is still the current one, and close what was
 * opened.
 * @return 0, also if it is not installed; PYUNW_ERR_SYSTEM. Signal-safe: no. Threads: one at a time. Since: 0.1.
 */
PYUNW_API int pyunw_crash_remove(void);

/**
 * Give the calling thread an alternate signal stack with a guard page, so that an overflow of its own stack can be
 * reported. One that has an alternate stack already keeps it.
 * @return 0; PYUNW_ERR_SYSTEM. Signal-safe: no. Allocates: by mmap(2). Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_crash_attach_thread(void);

/**
 * Take away what pyunw_crash_attach_thread() gave, before the thread ends.
 * @return 0, also where there is nothing to take; PYUNW_ERR_SYSTEM. Signal-safe: no. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_crash_detach_thread(void);

/**
 * Write a report of the process as it is now, without a signal; it goes on.
 * @return 0; PYUNW_ERR_NOT_OPEN where nothing is installed; PYUNW_ERR_SYSTEM where no report came about before the time
 *         limit. Signal-safe: yes. Allocates: no. Threads: any; one report at a time. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_crash_report_now(void);

#ifdef __cplusplus
}
#endif

#endif
