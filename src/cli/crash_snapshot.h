/*
 * All that a report tells of a crashed process, which waits in its handler, read once and then owned.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CRASH_SNAPSHOT_H
#define PYUNW_CLI_CRASH_SNAPSHOT_H

#include "snapshot.h"

#include <pyunwind_remote.h>

struct crash_wish {
    pid_t thread;       /* which crashed, or asked for the report */
    pyunw_addr context; /* where the signal interrupted it; 0: nowhere */
    bool crashed;       /* else the process goes on */
    bool native;
    bool locals;
    int limit; /* milliseconds that it may stand */
    /* Of a process that ends: its interpreter, where that is open already; NULL: it is to be opened. And the pthread_t
     * of its main thread; 0: not known. */
    const pyunw_target *target;
    uint64_t thread_pointer;
};

struct crash_snapshot {
    struct snapshot snapshot;
    bool has_python;   /* there is an interpreter, perhaps not initialized or finalized */
    int python_error;  /* 0, or why its threads could not be read: enum pyunw_err */
    int is_finalizing; /* 1 or 0; less than 0: not known */
    int has_exception; /* the thread that crashed: 1 or 0; less than 0: why it is not known, enum pyunw_err */
    pyunw_exception_text exception;
    char *maps;           /* /proc/PID/maps; NULL: not known */
    char *abort_message;  /* what the C library said when it aborted the process; NULL: nothing */
    char why_native[512]; /* why there are no native stacks; "": there are, or they are not wanted */
    bool native_of_one;   /* of the others none was asked for */
    pyunw_native_module *modules;
    int module_count;
};

/*
 * Read a process: 0; or why it could not even be stopped, with a message. PYUNW_ERR_PERMISSION: it is not allowed. What
 * was read is to be freed, also then.
 */
int crash_snapshot_read(pid_t pid, const struct crash_wish *wish, struct crash_snapshot *crash, char *message,
                        size_t message_size);

/*
 * Read the native stack of the thread that crashed, where the process may not be stopped: it waits in its handler. Of
 * other threads nothing. 0, or why not. What was read is to be freed, also then.
 */
int crash_snapshot_read_crashed(pid_t pid, const struct crash_wish *wish, struct crash_snapshot *crash);

/*
 * Read a process that stands before its end, held by the caller: all Python stacks, and by wish->context the native one
 * of its main thread. Its other threads may be gone. What was read is to be freed.
 */
void crash_snapshot_read_ending(pid_t pid, const struct crash_wish *wish, struct crash_snapshot *crash);

/* The part of it that needs the process no more, and takes the longer time. */
void crash_snapshot_describe_ending(struct crash_snapshot *crash);

void crash_snapshot_free(struct crash_snapshot *crash);

#endif
