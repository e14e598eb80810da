/*
 * A task's registers as DWARF numbers them.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_REGISTERS_H
#define PYUNW_NATIVE_NATIVE_REGISTERS_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <sys/user.h>

/* The stack pointer's number. */
#if defined(__x86_64__)
enum { STACK_POINTER = 7 };
#else
enum { STACK_POINTER = 31 };
#endif

bool pyunw_native_registers_set(Dwfl_Thread *thread, const struct user_regs_struct *registers);

#endif
