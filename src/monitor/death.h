/*
 * What a process leaves behind that died of a signal: a report, whoever has to write it.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_DEATH_H
#define PYUNW_MONITOR_DEATH_H

#include "crash_snapshot.h"
#include "monitor.h"
#include "watched.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* A signal that the monitor has passed on to the program. */
struct passed_on {
    int signal; /* 0: none yet */
    pid_t pid;  /* who sent it */
    uid_t uid;
    int64_t when; /* milliseconds of CLOCK_MONOTONIC */
};

struct death {
    const struct watched *process;
    int signal;
    const struct rusage *usage;        /* NULL: not known */
    const struct passed_on *passed_on; /* to the program, if the process is that; else NULL */
};

/* Who has told of a death? Nobody has to of one that the program chose, nor where there was no Python. */
enum death_told {
    DEATH_IS_TOLD,
    DEATH_IN_WORK, /* its own sidecar lives: ask again when a child has ended */
    DEATH_UNTOLD,
};

enum death_told death_told(const struct death *death);

/* Make an unfinished report into one, or write one of what was seen of the process. False: it could not be written. */
bool death_tell(const struct monitor_wish *wish, const struct death *death);

/*
 * Read a process that stands before its end (trace.h): all Python stacks, and the native one of its main thread. False
 * where no report is wanted, or there is one already. What was read is to be freed.
 */
bool death_read(const struct death *death, struct crash_snapshot *crash);

/* Write the report of what was read. The process may have ended. False: it could not be written. */
bool death_tell_read(const struct monitor_wish *wish, const struct death *death, struct crash_snapshot *crash);

/*
 * Read a process that goes on, for nothing but what that leaves in this one: all memory that it takes, so that none has
 * to be had when there is none.
 */
void death_rehearse(const struct watched *process);

#endif
