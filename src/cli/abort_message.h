/*
 * What the GNU C library said when it aborted a process: "free(): invalid pointer", a failed assertion.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_ABORT_MESSAGE_H
#define PYUNW_CLI_ABORT_MESSAGE_H

#include <pyunwind_remote.h>
#include <sys/types.h>

/* To be freed; NULL: it said nothing, or it is another C library. */
char *abort_message_read(pid_t pid, const pyunw_native_module *modules, int count);

#endif
