/*
 * The native stacks of all tasks of a process that stands, or of a core file, and the Python frames among them.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_NATIVE_STACKS_H
#define PYUNW_CLI_NATIVE_STACKS_H

#include "snapshot.h"

/* Walk the native stack of every task by snapshot->native, and add those that Python does not know to the threads: 0;
 * PYUNW_ERR_SYSTEM where memory is short. */
int native_stacks_read(const pyunw_target *target, struct snapshot *snapshot);

/* Describe and merge what was read. The process may run again. */
void native_stacks_describe(struct snapshot *snapshot);

void native_stack_free(struct native_stack *stack);

/* Does the thread wait for the GIL? 3.15 tells; of others their native frames do, where the function has a symbol. */
bool waits_for_gil(const struct thread *thread);

#endif
