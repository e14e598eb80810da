/*
 * A process that stands still.
 * Signal-safe: see each. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_PAUSE_H
#define PYUNW_TARGET_PROCESS_PAUSE_H

#include "pyunwind_remote.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/user.h>

pid_t pyunw_pause_pid(const pyunw_pause *pause);

/* A pyunw_read_function of the process: PYUNW_ERR_TORN for what was read when it was running again. Signal-safe. */
int pyunw_pause_read_image(void *context, pyunw_addr address, void *buffer, size_t size);

/* Has its limit passed, and does the process run on? Signal-safe. */
bool pyunw_pause_passed(const pyunw_pause *pause);

/* The context that pyunw_pause_read_image() takes. */
void *pyunw_pause_context(const pyunw_pause *pause);

/* The registers of a task as it stands (NT_PRSTATUS). */
struct task_registers {
    pid_t task;
    bool known; /* false: it has ended */
    struct user_regs_struct registers;
};

/*
 * The registers of all tasks, read at the first call, the pause's own: 0; PYUNW_ERR_TORN where the limit has passed
 * before they were read; PYUNW_ERR_SYSTEM where memory is short.
 */
int pyunw_pause_registers(pyunw_pause *pause, const struct task_registers **registers, size_t *count);

#endif
