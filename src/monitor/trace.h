/*
 * Trace processes, so that each stands once more before it ends, with its memory: ptrace(2), PTRACE_O_TRACEEXIT.
 * One thread only: to the kernel it is the tracer.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_TRACE_H
#define PYUNW_MONITOR_TRACE_H

#include "watched_list.h"

#include <pyunwind_remote.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Does a process that is killed stand before its memory is gone, and can it be read? ptrace(2) warns that the kernel
 * may change that, and a sandbox may forbid it: so it is tried, on a child. False: the message says why not.
 */
bool trace_try(char *message, size_t size);

/*
 * Have memory in store. Who reads a process that the kernel kills for want of memory is in the same control group,
 * perhaps, and would wait for its next page until the dead one's are taken.
 */
void trace_reserve(void);

/* Keep what this process has in memory: its own code, too, is taken from it where memory is short. */
void trace_lock(void);

/* Trace a process by its main thread, and what that forks. Where it may not be traced, or is stopped, it is not. */
void trace_begin(struct watched *process);

/* Trace a child before it executes its program, and until that is watched, pass on what it is stopped by. */
void trace_begin_pid(pid_t pid);
void trace_pass_stops(pid_t pid);

/* Let it go as soon as it stands. for_good: it is not to be traced again. */
void trace_let_go(struct watched *process, bool for_good);

/* The same for all of them, and wait until they are, for a second at most. */
void trace_let_all_go(const struct watched_list *list);

/* What a traced process stands for. */
enum trace_stop {
    TRACE_GOES_ON, /* it was let run on */
    TRACE_STOPPED, /* by job control: it was let go, since only so it is stopped for others as well */
    TRACE_ENDS,    /* it waits for trace_end() */
};

/* stop: si_status of waitid(2). how: out, the signal that has stopped it, or its status as of waitpid(2). */
enum trace_stop trace_take_stop(struct watched *process, int stop, int *how);

/* Let a process end. */
void trace_end(struct watched *process);

/*
 * Put the registers of the main thread, which stands, into its memory, below its stack: as a signal's context, for
 * pyunw_native_walk_context(). 0 where that cannot be done. Only for one that ends. thread_pointer: out, its pthread_t;
 * 0: not known.
 */
pyunw_addr trace_save_registers(pid_t pid, uint64_t *thread_pointer);

#endif
