/*
 * Deaths by a signal, until somebody has told of each. A process of its own, a teller, writes a report and runs its
 * hook: so neither has a signal to wait that is passed on, nor has the monitor an end of its own by what it reads.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_DEATHS_H
#define PYUNW_MONITOR_DEATHS_H

#include "death.h"
#include "monitor.h"
#include "watched_list.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* A death that nobody has told of yet. */
struct unsettled {
    struct watched *process;
    int signal;
    struct rusage usage;
    bool has_usage;
    int64_t since;
};

enum { UNSETTLED_MAX = 64 };

struct deaths {
    const struct monitor_wish *wish;
    struct watched_list *watched;
    pid_t program;
    struct passed_on passed_on; /* to the program */
    struct unsettled unsettled[UNSETTLED_MAX];
    int count;
    int last_teller; /* a pidfd; less than 0: none. They write one after the other */
};

/* One that stands before its end is read once more, if nobody has told of its death yet; and let go. */
void deaths_take_end(struct deaths *deaths, struct watched *process, int status);

/* One has died: it is not watched any more, and owned until it is told of. usage may be NULL. */
void deaths_take(struct deaths *deaths, struct watched *process, int status, const struct rusage *usage);

/* Was that child, which has ended, a teller? */
bool deaths_take_teller(struct deaths *deaths, pid_t pid, int status);

/* See which of them have been told of. */
void deaths_settle(struct deaths *deaths);

/* Is one still to be told of, or a teller at work? */
bool deaths_in_work(const struct deaths *deaths);

#endif
