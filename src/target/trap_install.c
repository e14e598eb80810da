/*
 * Install and remove the fault handler behind trapped loads.
 * Signal-safe: no.
 */
#include "trap.h"

#include "memory.h"
#include "syscalls.h"

static int query(int signal, struct kernel_sigaction *action)
{
    long result = raw_syscall4(SYS_rt_sigaction, signal, 0, (long)action, sizeof action->mask);
    return result < 0 ? PYUNW_ERR_SYSTEM : PYUNW_OK;
}

static bool is_ours(const struct kernel_sigaction *action)
{
    return action->handler == (void *)(uintptr_t)&pyunw_trap_handler;
}

static int install(int which)
{
    int signal = trap_signal(which);
    struct kernel_sigaction current = {0};
    if (query(signal, &current) < 0)
        return PYUNW_ERR_SYSTEM;
    if (is_ours(&current))
        return PYUNW_OK;
    pyunw_trap_previous[which] = current;
    /* SA_NODEFER: what the previous handler is to have blocked, it gets from call_previous() in core/trap.c. */
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    ours.sa_sigaction = pyunw_trap_handler;
    sigemptyset(&ours.sa_mask);
    return sigaction(signal, &ours, NULL) < 0 ? PYUNW_ERR_SYSTEM : PYUNW_OK;
}

static int restore(int which)
{
    int signal = trap_signal(which);
    struct kernel_sigaction current = {0};
    if (query(signal, &current) < 0)
        return PYUNW_ERR_SYSTEM;
    if (!is_ours(&current))
        return PYUNW_OK;
    /* Back by the kernel's own call, so that flags and restorer are exactly those that were found. */
    long result = raw_syscall4(SYS_rt_sigaction, signal, (long)&pyunw_trap_previous[which], 0, sizeof current.mask);
    return result < 0 ? PYUNW_ERR_SYSTEM : PYUNW_OK;
}

int pyunw_trap_install(void)
{
    for (int which = 0; which < TRAP_COUNT; which++) {
        if (install(which) < 0) {
            pyunw_trap_remove();
            return PYUNW_ERR_SYSTEM;
        }
    }
    pyunw_trap_installed = 1;
    return PYUNW_OK;
}

int pyunw_trap_remove(void)
{
    int result = PYUNW_OK;
    if (!pyunw_trap_installed)
        return PYUNW_OK;
    pyunw_trap_installed = 0;
    for (int which = 0; which < TRAP_COUNT; which++) {
        if (restore(which) < 0)
            result = PYUNW_ERR_SYSTEM;
    }
    return result;
}
