/*
 * Has a thread of another process moved since it was looked at? What its stack is told to be cannot say so: where a
 * thread stands at a moment that cannot be read, every answer is the same.
 */
#ifndef PYUNW_TESTS_DUMP_MOMENTS_H
#define PYUNW_TESTS_DUMP_MOMENTS_H

#include <pyunwind_remote.h>
#include <sys/types.h>

/* A number that changes as the thread moves, and stays as long as it stands. 0: there is nothing to read. */
uint64_t moment_of(pid_t pid, const pyunw_target *target, pyunw_addr tstate);

#endif
