/*
 * A process below the monitor, and what was seen of it while it lived: /proc forgets it with its memory.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_WATCHED_H
#define PYUNW_MONITOR_WATCHED_H

#include "process_info.h"

#include <jansson.h>
#include <pyunwind_remote.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum watched_trace {
    TRACE_NONE,
    TRACE_ON,
    TRACE_LETTING_GO,          /* as soon as it stands */
    TRACE_LETTING_GO_FOR_GOOD, /* likewise */
    TRACE_LET_GO,              /* not to be traced again */
};

struct watched {
    pid_t pid;
    pid_t inner_pid; /* as the process numbers itself */
    int pidfd;       /* less than 0: none */
    bool is_python;  /* an interpreter was seen in it */
    bool has_ended;  /* it is only kept for its report */
    bool is_told;    /* its death is */
    bool teller_failed;
    pid_t teller; /* the process that tells of its death now (deaths.h); 0: none */
    enum watched_trace trace;
    bool was_asked;     /* whether there is one, thoroughly */
    bool was_told;      /* to the monitor, by who looks (looks.h) */
    int64_t first_seen; /* seconds since 1970: it was not started later */
    struct process_info info;
    bool has_target;
    bool gave_target;    /* likewise */
    pyunw_target target; /* its interpreter, for its end: where memory is short even a file cannot be opened */
    json_t *figures;     /* fields of a report, as they were when it was last seen; NULL: none */
    /* Kills of its control group, when it was last seen and the time before; less than 0: not known. */
    int64_t oom_kills;
    int64_t oom_kills_before;
};

/* NULL where memory is short. Nothing of it was seen yet, and it may have ended. */
struct watched *watched_make(pid_t pid);

/* Begin to watch a process, and see what it is: NULL where it has ended, or memory is short. */
struct watched *watched_begin(pid_t pid);

void watched_end(struct watched *watched);

/* Look at a process: what it is, if it has executed another program, and its figures. False: it has ended. */
bool watched_look_at(struct watched *watched);

/* Open its interpreter, where there is one; and close it. */
void watched_open(struct watched *watched);
void watched_close(struct watched *watched);

/*
 * Look at a process that stands before its end: has it become a Python since? True: it has executed another program
 * since it was looked at last.
 */
bool watched_look_at_end(struct watched *watched);

/* Of one that may have been looked at last before it had loaded its interpreter: is its name that of Python? */
void watched_judge_by_name(struct watched *watched);

/* Is it this command, as a sidecar that reads a crashed process? */
bool watched_is_command(pid_t pid);

#endif
