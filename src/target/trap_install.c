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

/*
 * Handlers that were put in front of ours may hand faults on to it for ever. While one may stand there, ours is not put
 * in front of it: the two would call each other. Captures use guarded reads meanwhile.
 */
static bool may_be_behind[TRAP_COUNT];

static bool calls_nobody(const struct kernel_sigaction *action)
{
    return action->handler == (void *)SIG_DFL || action->handler == (void *)SIG_IGN;
}

/* How the kernel is to call ours: as it would have called the one before, which then is called by ours. */
static int flags_like(const struct kernel_sigaction *previous)
{
    const unsigned long copied = (unsigned long)SA_ONSTACK | (unsigned long)SA_RESTART;
    unsigned long flags = calls_nobody(previous) ? copied : previous->flags & copied;
    /* SA_NODEFER: what the previous handler is to have blocked, it gets from call_previous() in core/trap.c. */
    return SA_SIGINFO | SA_NODEFER | (int)flags;
}

static int install(int which)
{
    int signal = trap_signal(which);
    struct kernel_sigaction current = {0};
    if (query(signal, &current) < 0)
        return PYUNW_ERR_SYSTEM;
    if (is_ours(&current))
        return PYUNW_OK;
    bool as_before = current.handler == pyunw_trap_previous[which].handler;
    if (may_be_behind[which] && !calls_nobody(&current) && !as_before)
        return PYUNW_OK;
    pyunw_trap_previous[which] = current;
    struct sigaction ours = {.sa_flags = flags_like(&current)};
    ours.sa_sigaction = pyunw_trap_handler;
    sigemptyset(&ours.sa_mask);
    may_be_behind[which] = true;
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
    may_be_behind[which] = false;
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
    atomic_store(&pyunw_trap_installed, true);
    return PYUNW_OK;
}

int pyunw_trap_remove(void)
{
    int result = PYUNW_OK;
    if (!atomic_exchange(&pyunw_trap_installed, false))
        return PYUNW_OK;
    for (int which = 0; which < TRAP_COUNT; which++) {
        if (restore(which) < 0)
            result = PYUNW_ERR_SYSTEM;
    }
    return result;
}
