/*
 * All that a dump tells of the process that a core file is of.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CORE_SNAPSHOT_H
#define PYUNW_CLI_CORE_SNAPSHOT_H

#include "snapshot.h"

#include <pyunwind_remote.h>

/* What is wanted of it beside the Python stacks. */
struct core_wish {
    bool locals; /* the variables of the frames */
    bool native; /* the native stacks, and the threads that Python does not know */
};

/*
 * Read a core file: true, or false with a message of why, and what could be done. What was read is to be freed, also
 * after false, before the core is unloaded. The thread that crashed comes first.
 */
bool core_snapshot_read(const pyunw_core *core, const struct core_wish *wish, struct snapshot *snapshot, char *message,
                        size_t message_size);

#endif
