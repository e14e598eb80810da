/*
 * Job control, and signals that are meant for the program.
 */
#include "job.h"

#include "process_info.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Stop and go on ---- */

bool job_is_stopped(pid_t pid)
{
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *text = read_whole_file(path, &size);
    const char *name_end = text != NULL ? strrchr(text, ')') : NULL;
    bool stopped = name_end != NULL && (name_end[1] == ' ' && name_end[2] == 'T');
    free(text);
    return stopped;
}

/*
 * A process beside the stopped monitor. Who has stopped the program alone continues it alone: it would run on, and its
 * parent never see its end.
 */
static void wake_with(pid_t program, pid_t monitor)
{
    const int moment = 20;
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0L, 0L, 0L);
    (void)prctl(PR_SET_NAME, "pyunwind-waker", 0L, 0L, 0L);
    while (getppid() == monitor && job_is_stopped(program))
        (void)poll(NULL, 0, moment);
    (void)kill(monitor, SIGCONT);
    _exit(0);
}

static void stop_by(int signal)
{
    sigset_t one;
    struct sigaction found = {0};
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    (void)sigemptyset(&one);
    (void)sigaddset(&one, signal);
    (void)sigaction(signal, &by_default, &found);
    (void)kill(getpid(), signal);
    (void)sigprocmask(SIG_UNBLOCK, &one, NULL); /* here it stops, unless there is no shell that could continue it */
    (void)sigprocmask(SIG_BLOCK, &one, NULL);
    (void)sigaction(signal, &found, NULL);
}

/* Who continued this process: a shell, which means the program too, or the one beside it, which has seen that run. */
static bool take_continue(pid_t waker)
{
    const struct timespec nothing = {0};
    siginfo_t info = {0};
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCONT);
    return sigtimedwait(&set, &info, &nothing) == SIGCONT && info.si_pid != waker;
}

/* What the terminal has sent to the whole job was met by the program, and has stopped it. */
static void forget_pending_stops(void)
{
    static const int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    const struct timespec nothing = {0};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t n = 0; n < sizeof stops / sizeof stops[0]; n++)
        (void)sigaddset(&set, stops[n]);
    while (sigtimedwait(&set, NULL, &nothing) > 0)
        continue;
}

void job_stop(pid_t program, int signal)
{
    pid_t monitor = getpid();
    forget_pending_stops();
    pid_t waker = fork();
    if (waker == 0)
        wake_with(program, monitor);
    if (waker < 0)
        return; /* without it the job might never end */
    stop_by(signal);
    (void)kill(waker, SIGKILL);
    (void)waitpid(waker, NULL, 0);
    if (take_continue(waker) && job_is_stopped(program))
        (void)kill(program, SIGCONT);
}

/* ---- Pass on ---- */

/* Is it the program, or below it? Signals that it sends to its parent or its group are meant to reach no further. */
static bool is_below(pid_t pid, pid_t program)
{
    enum { GENERATIONS = 64 };
    for (int n = 0; n < GENERATIONS && pid > 1; n++) {
        if (pid == program)
            return true;
        pid = process_parent(pid);
    }
    return false;
}

static bool is_for_program(pid_t program, const struct signalfd_siginfo *info)
{
    int signal = (int)info->ssi_signo;
    if (signal == SIGCHLD)
        return false;
    /* A terminal that hangs up tells the leader of the session, and nobody else. */
    if (info->ssi_code > 0)
        return signal == SIGHUP && getsid(0) == getpid();
    /* A shell continues the whole job; who continues this process alone means the program. */
    if (signal == SIGCONT)
        return job_is_stopped(program);
    return !is_below((pid_t)info->ssi_pid, program);
}

bool job_pass_on(pid_t program, const struct signalfd_siginfo *info)
{
    int signal = (int)info->ssi_signo;
    if (!is_for_program(program, info))
        return false;
    if (info->ssi_code == SI_QUEUE) {
        siginfo_t queued = {.si_signo = signal, .si_code = SI_QUEUE};
        queued.si_pid = (pid_t)info->ssi_pid;
        queued.si_uid = info->ssi_uid;
        queued.si_value.sival_ptr = (void *)(uintptr_t)info->ssi_ptr; // NOLINT(performance-no-int-to-ptr): as sent
        return syscall(SYS_rt_sigqueueinfo, program, signal, &queued) == 0;
    }
    return kill(program, signal) == 0;
}
