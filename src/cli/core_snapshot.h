/*
 * All that a dump tells of the process that a core file is of.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CORE_SNAPSHOT_H
#define PYUNW_CLI_CORE_SNAPSHOT_H

#include "snapshot.h"

#include <pyunwind_remote.h>

/*
 * Read a core file, the variables of its frames where that is wanted: true, or false with a message of why, and what
 * could be done. What was read is to be freed, also after false. The thread that crashed comes first.
 */
bool core_snapshot_read(const pyunw_core *core, bool with_locals, struct snapshot *snapshot, char *message,
                        size_t message_size);

#endif
