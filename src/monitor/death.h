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

/*
 * See that there is a report: one that the process has written itself, or its unfinished one is made into one, or one
 * is written of what was seen of it. Nothing for a death that the program chose, nor where there was no Python. False
 * where the report is in work still (the sidecar lives): ask again when a child has ended.
 */
bool death_report(const struct monitor_wish *wish, const struct death *death, bool last_chance);

/*
 * Read a process that stands before its end (trace.h): all Python stacks, and the native one of its main thread. False
 * where no report is wanted, or there is one already. What was read is to be freed.
 */
bool death_read(const struct death *death, struct crash_snapshot *crash);

/* Write the report of what was read. The process may have ended. */
void death_report_read(const struct monitor_wish *wish, const struct death *death, struct crash_snapshot *crash);

/*
 * Read a process that goes on, for nothing but what that leaves in this one: all memory that it takes, so that none has
 * to be had when there is none.
 */
void death_rehearse(const struct watched *process);

#endif
