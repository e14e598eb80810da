/*
 * The fault handler behind trapped loads. The core holds the handler and asks whether it is in force;
 * target/trap_install.c, which may call libc, installs and removes it.
 * Signal-safe: yes. Include from: core, target.
 */
#ifndef PYUNW_CORE_TRAP_H
#define PYUNW_CORE_TRAP_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "syscalls.h"

enum { TRAP_SEGV, TRAP_BUS, TRAP_COUNT };

static inline int trap_signal(int which)
{
    return which == TRAP_SEGV ? SIGSEGV : SIGBUS;
}

/* What was installed before. Written by target/trap_install.c before the handler is in place, read by the handler. */
extern struct kernel_sigaction pyunw_trap_previous[TRAP_COUNT];
extern atomic_bool pyunw_trap_installed;

void pyunw_trap_handler(int signal, siginfo_t *info, void *context);

/* May trapped loads be used at this moment? Installed, not displaced, and neither signal blocked in this thread. */
bool pyunw_trap_usable(void);

#endif
