/*
 * What the program asks of the signals that are ours. A handler that it sets for one that is to be kept first comes
 * behind ours; and where it only asks what is set, it is told what it would be without this library, as Python's
 * signal.getsignal() does.
 */
#include "preload.h"

#include <errno.h>
#include <string.h>

typedef int sigaction_function(int signal, const struct sigaction *action, struct sigaction *old);

static sigaction_function *next_sigaction(void)
{
    static sigaction_function *next;
    if (next == NULL)
        *(void **)&next = preload_next("sigaction");
    return next;
}

static bool has(uint64_t signals, int signal)
{
    return preload_is_installed() && signal >= 1 && signal <= SIGNAL_COUNT && (signals & signal_bit(signal)) != 0;
}

static bool is_ours(const struct sigaction *action)
{
    return action != NULL && action->sa_sigaction == pyunw_crash_handler;
}

static int query(int signal, struct sigaction *old)
{
    int result = next_sigaction()(signal, NULL, old);
    if (result == 0 && is_ours(old))
        (void)pyunw_crash_set_previous(signal, NULL, old);
    return result;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's are reserved names */
PRELOAD_API int sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    if (!has(pyunw_crash_settings.signals, signal) || is_ours(action))
        return next_sigaction()(signal, action, old);
    if (action == NULL)
        return old != NULL ? query(signal, old) : 0;
    if (has(preload_kept_first(), signal))
        return pyunw_crash_set_previous(signal, action, old);
    return next_sigaction()(signal, action, old);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's are reserved names */
PRELOAD_API sighandler_t signal(int number, sighandler_t handler)
{
    static sighandler_t (*next)(int, sighandler_t);
    if (next == NULL)
        *(void **)&next = preload_next("signal");
    if (!has(preload_kept_first(), number))
        return next(number, handler);
    struct sigaction old;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, number);
    return pyunw_crash_set_previous(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}
