/*
 * Limits and memory figures of a process, and of its control group.
 * Include from: cli, monitor.
 */
#ifndef PYUNW_CLI_PROCESS_FIGURES_H
#define PYUNW_CLI_PROCESS_FIGURES_H

#include <jansson.h>
#include <sys/types.h>

/* "limits" and "memory" of a report (docs/crash.schema.json). null where the process cannot be asked any more. */
json_t *process_limits(pid_t pid);
json_t *process_memory(pid_t pid);

/* What the control group tells, which goes on when the process has ended; path: of control_group_read(), or NULL. */
json_t *control_group_memory(const char *path);

#endif
