/*
 * Bytes of another process, by system calls that leave it alone.
 * Signal-safe: yes. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_READ_H
#define PYUNW_TARGET_PROCESS_READ_H

#include "pyunwind.h"

#include <sys/types.h>

/*
 * Copy size bytes from address, all or nothing: 0; PYUNW_ERR_FAULT; PYUNW_ERR_PERMISSION; PYUNW_ERR_NO_PROCESS.
 * Leaves errno as it was.
 */
int pyunw_process_read(pid_t pid, pyunw_addr address, void *buffer, size_t size);

/* The same as a pyunw_read_function: the context is the pid itself, so that a target has nothing to free. */
int pyunw_process_read_image(void *context, pyunw_addr address, void *buffer, size_t size);

/* The context that pyunw_process_read_image() takes. */
static inline void *process_context(pid_t pid)
{
    return (void *)(intptr_t)pid;
}

#endif
