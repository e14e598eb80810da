/*
 * The processes below the monitor, and what was seen of them while they lived: /proc forgets it with their memory.
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
    enum watched_trace trace;
    bool was_asked;     /* whether there is one, thoroughly */
    int64_t first_seen; /* seconds since 1970: it was not started later */
    struct process_info info;
    bool has_target;
    pyunw_target target; /* its interpreter, for its end: where memory is short even a file cannot be opened */
    json_t *figures;     /* fields of a report, as they were when it was last seen; NULL: none */
    /* Kills of its control group, when it was last seen and the time before; less than 0: not known. */
    int64_t oom_kills;
    int64_t oom_kills_before;
};

struct watched_list {
    struct watched **entries;
    size_t count;
};

/* Look at all processes below this one. added: is called for each that was not known before. */
void watched_look(struct watched_list *list, void (*added)(struct watched *watched, void *data), void *data);

/* Is it this command, as a sidecar that reads a crashed process? */
bool watched_is_command(pid_t pid);

/* Begin to watch a process, and look at it: NULL where it has ended, or memory is short. */
struct watched *watched_add(struct watched_list *list, pid_t pid);

/* Open its interpreter, where there is one. */
void watched_open(struct watched *watched);

/* Look at a process that stands before its end: has it become a Python since? */
void watched_look_at_end(struct watched *watched);

/* Of one that may have been looked at last before it had loaded its interpreter: is its name that of Python? */
void watched_judge_by_name(struct watched *watched);

/* A child that has ended before it was looked at: NULL where memory is short. */
struct watched *watched_add_zombie(struct watched_list *list, pid_t pid);

/* NULL: not known, or ended. */
struct watched *watched_find(const struct watched_list *list, pid_t pid);

void watched_remove(struct watched_list *list, struct watched *watched);
void watched_free(struct watched_list *list);

#endif
