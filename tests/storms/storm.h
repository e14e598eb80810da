/*
 * What the parts of the storm share: its counters, and the frames of one capture.
 */
#ifndef PYUNW_TESTS_STORMS_STORM_H
#define PYUNW_TESTS_STORMS_STORM_H

#include "pyunwind.h"

#include <stdatomic.h>
#include <stdbool.h>

enum mode {
    MODE_OWN,  /* the handler captures the thread that it interrupted */
    MODE_ALL,  /* ... all threads */
    MODE_DUMP, /* ... calls the handler that was there before: the interpreter's own dump */
};

/* Counted for the interrupted thread's own stacks and for those of other threads, apart. */
#define GROUP_COUNTERS(X)                                                                                              \
    X(captures) /* asked for */                                                                                        \
    X(frames)   /* given */                                                                                            \
    X(complete)                                                                                                        \
    X(truncated)                                                                                                       \
    X(torn)                                                                                                            \
    X(corrupt)                                                                                                         \
    X(no_frame)                                                                                                        \
    X(no_thread)   /* a thread that Python does not know (yet, any more) */                                            \
    X(gone)        /* a thread that ended between the list and the capture */                                          \
    X(error)       /* any other error */                                                                               \
    X(unconfirmed) /* stacks of which innermost frames are left out */                                                 \
    X(wrong)       /* unmarked stacks with any of the following */                                                     \
    X(unknown)                                                                                                         \
    X(wrong_line)                                                                                                      \
    X(stale_line)                                                                                                      \
    X(illegal)                                                                                                         \
    X(cut)                                                                                                             \
    X(damaged)                                                                                                         \
    X(lost)         /* no frame or no thread, of one that has frames all the time */                                   \
    X(wrong_marked) /* torn or corrupt stacks, of whose frames a pair or a line is wrong */

#define STORM_COUNTERS(X)                                                                                              \
    X(ticks)     /* of the clock that sends the signals */                                                             \
    X(held_back) /* ticks without a signal: the handlers were busy, or it was the program's turn */                    \
    X(sent)                                                                                                            \
    X(arrived)                                                                                                         \
    X(handled)   /* handlers that ran to their end */                                                                  \
    X(lists)     /* walks over all threads */                                                                          \
    X(list_torn) /* ... that did not reach the end */                                                                  \
    X(missing)   /* threads that were alive all the time, but not told */                                              \
    X(told_twice)                                                                                                      \
    X(nested) /* handlers that interrupted another one of the same thread */

enum counter {
#define NAME_OWN(name) OWN_##name,
#define NAME_OTHER(name) OTHER_##name,
#define NAME_STORM(name) STORM_##name,
    GROUP_COUNTERS(NAME_OWN) GROUP_COUNTERS(NAME_OTHER) STORM_COUNTERS(NAME_STORM) COUNTERS
};
enum { GROUP_SIZE = OTHER_captures - OWN_captures };

/* In a file that outlives a crash. */
extern _Atomic uint64_t *storm_counters;

static inline void count_up(int counter)
{
    atomic_fetch_add_explicit(&storm_counters[counter], 1, memory_order_relaxed);
}

enum { ROOM = 700 }; /* frames: the deepest stack of the program has fewer */

/* ---- evidence.c: the first stacks that were wrong, or marked, kept as text; signal-safe ---- */

enum evidence { EVIDENCE_WRONG, EVIDENCE_MARKED, EVIDENCE_KINDS };

void evidence_keep(enum evidence kind, bool own, pyunw_addr tstate, int verdict, int where, const pyunw_frame *frames,
                   int count, const pyunw_status *status);
/* A walk over the threads that left one out. */
void evidence_keep_list(pyunw_addr missing, const pyunw_thread *threads, int count);
/* Not signal-safe. */
void evidence_print(int fd, enum evidence kind);

/* ---- sender.c: a native thread that sends the signals ---- */

struct sender_options {
    const pyunw_target *target; /* asked who holds the GIL; NULL: nobody asks */
    int signal_number;
    int signals_per_second;
    int handlers;   /* at a time, at the most */
    bool by_timers; /* of the kernel (timer_create(2)), one a thread, and not by a thread */
};

int sender_start(const struct sender_options *wanted);
void sender_stop(void);
/* Called by the handler: the first says whether there is room for it. */
bool sender_enter(int *slot);
void sender_leave(int slot, uint64_t entered);
uint64_t sender_now(void); /* nanoseconds; signal-safe */
void sender_wait_idle(void);
/* In a child after fork(2): nobody is in a handler any more. */
void sender_forget(void);

#endif
