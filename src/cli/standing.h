/*
 * A process that is stopped while it is read.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_STANDING_H
#define PYUNW_CLI_STANDING_H

#include "process_info.h"

#include <pyunwind_remote.h>

struct standing {
    pyunw_pause *pause;         /* NULL: it does not stand */
    bool native;                /* native stacks are wanted, too */
    struct process_info before; /* what its threads did until then; empty where it was not to be stopped */
};

/*
 * 0; or an enum pyunw_err with a message of why: it does not stand, and may have been let go a moment ago. Then there
 * is nothing to end, but what its threads did before to be freed (process_info_free()).
 */
int standing_begin(pid_t pid, struct standing *standing, char *message, size_t message_size);

/* The same, for a time of one's own: milliseconds. */
int standing_begin_within(pid_t pid, int limit, struct standing *standing, char *message, size_t message_size);

/* Let it run on. False where it did so by itself before: what was read of it is not all. */
bool standing_end(struct standing *standing, char *message, size_t message_size);

/* The state of each task that we have stopped, or that goes on since we have let it go, is the one before. */
void standing_tell_states(const struct standing *standing, struct process_info *info);

#endif
