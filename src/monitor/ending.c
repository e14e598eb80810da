/*
 * The monitor's own end tells what the program's told: it exits likewise, or dies of the same signal.
 */
#include "ending.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The program has left its own core file, where it was to leave one. */
static void leave_no_core(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L);
}

int ending_take(int status)
{
    enum { DIED = 128 };
    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    int signal = WTERMSIG(status);
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t one;
    leave_no_core();
    (void)sigemptyset(&one);
    (void)sigaddset(&one, signal);
    (void)sigaction(signal, &by_default, NULL);
    (void)kill(getpid(), signal);
    (void)sigprocmask(SIG_UNBLOCK, &one, NULL);
    /* The first process of a pid namespace cannot end itself so (pid_namespaces(7)). */
    return DIED + signal;
}
