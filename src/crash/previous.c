/*
 * Put a handler behind ours that the program has set after our installation.
 * Signal-safe: no.
 */
#include "crash.h"

#include <string.h>

static void tell(const struct kernel_sigaction *from, struct sigaction *to)
{
    *to = (struct sigaction){.sa_flags = (int)from->flags};
    memcpy(&to->sa_handler, &from->handler, sizeof from->handler);
    memcpy(&to->sa_mask, &from->mask, sizeof from->mask);
}

int pyunw_crash_set_previous(int signal, const struct sigaction *action, struct sigaction *old)
{
    struct kernel_sigaction *previous = &pyunw_crash_previous[signal];
    struct kernel_sigaction next = {0};
    uint64_t all = UINT64_MAX;
    uint64_t mask = 0;
    if (action != NULL) {
        /* The way back from a handler, which libc knows, is that of ours. */
        (void)raw_syscall4(SYS_rt_sigaction, signal, 0, (long)&next, sizeof next.mask);
        memcpy(&next.handler, &action->sa_handler, sizeof next.handler);
        memcpy(&next.mask, &action->sa_mask, sizeof next.mask);
        next.flags = (unsigned)action->sa_flags | (next.flags & 0x04000000UL /* SA_RESTORER */);
    }
    /* Not half of one while it is called. */
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof all);
    const struct kernel_sigaction found = *previous;
    if (action != NULL) {
        *previous = next;
        pyunw_crash_settings.report_first |= signal_bit(signal);
    }
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask);
    if (old != NULL)
        tell(&found, old);
    return 0;
}
