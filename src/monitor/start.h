/*
 * Start the program.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_START_H
#define PYUNW_MONITOR_START_H

#include "monitor.h"

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

/* What the monitor has changed of itself, and the program is to have as it was. */
struct found {
    sigset_t mask;
    struct sigaction child; /* of SIGCHLD */
};

/* Block all signals, and be told of children and of orphans below them. False: errno says why. */
bool start_prepare(struct found *found);

/* The program's process; or -1, which was told on standard error, and the exit status is set. */
pid_t start_program(const struct monitor_wish *wish, const struct found *found, int *exit_status);

/* Let go of all that was inherited, for which others may wait: all but these, which are put into order. */
void start_close_inherited(int *kept, size_t count, bool with_standard_error);

#endif
