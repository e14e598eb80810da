/*
 * Start the sidecar, a process of the pyunwind command, and wait for its end.
 *
 * Two processes are made by clone(2) with the memory of this one and stacks of their own: that needs no memory,
 * whatever the size of the process, and runs no at-fork handler. The first has no exit signal, so that who waits for
 * any child does not see it. A program that is executed gets one again (de_thread() in the kernel's fs/exec.c): hence
 * the second, which is the sidecar, and a child of the first. Signal-safe: yes.
 */
#include "crash.h"
#include "text_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

enum { ARGUMENT_SIZE = 24 };

struct start {
    char pid[ARGUMENT_SIZE];
    char thread[ARGUMENT_SIZE];
    char journal[ARGUMENT_SIZE];
    char folder[ARGUMENT_SIZE];
    char output[ARGUMENT_SIZE];
    char standard_error[ARGUMENT_SIZE];
    char milliseconds[ARGUMENT_SIZE]; /* until it is to be done */
    const char *arguments[16];
    int inherited[4];
    int inherited_count;
    int64_t deadline; /* nanoseconds of CLOCK_MONOTONIC */
    int end;          /* enum sidecar_end, or an exit status: from the first process */
};

/* One at a time. */
static struct start start; /* shared by the three processes */

static void put_number(char text[ARGUMENT_SIZE], int64_t value)
{
    struct output output;
    text_begin(&output, text, ARGUMENT_SIZE);
    pyunw_output_decimal(&output, value);
    text_end(&output);
}

/* The number of a descriptor that the sidecar is to have; -1 for one that is not ours any more. */
static void put_file(char text[ARGUMENT_SIZE], const struct held_file *file)
{
    bool good = pyunw_crash_holds(file);
    put_number(text, good ? file->fd : -1);
    if (good)
        start.inherited[start.inherited_count++] = file->fd;
}

/* ---- In the second process, which shares the memory of this one until it executes the command ---- */

static bool is_inherited(int fd)
{
    for (int n = 0; n < start.inherited_count; n++) {
        if (start.inherited[n] == fd)
            return true;
    }
    return false;
}

/*
 * What the dynamic linker says where it cannot load the command is not to appear among what the program says. The new
 * process has a table of descriptors of its own.
 */
static void hide_streams(void)
{
    enum { STREAMS = 3 };
    for (int fd = 0; fd < STREAMS; fd++) {
        if (!is_inherited(fd))
            (void)raw_syscall3(SYS_close, fd, 0, 0);
    }
    for (int n = 0; n < STREAMS; n++) {
        long fd = raw_syscall4(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR, 0);
        if (fd < STREAMS)
            continue;
        (void)raw_syscall3(SYS_close, fd, 0, 0);
        break;
    }
}

static void execute(void *argument)
{
    struct crash_settings *settings = argument;
    /* It does not outlive who is to end it. */
    (void)raw_syscall6(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
    hide_streams();
    for (int n = 0; n < start.inherited_count; n++)
        (void)raw_syscall3(SYS_fcntl, start.inherited[n], F_SETFD, 0);
    if (pyunw_crash_holds(&settings->helper))
        (void)raw_syscall6(SYS_execveat, settings->helper.fd, (long)"", (long)start.arguments,
                           (long)settings->environment, AT_EMPTY_PATH, 0);
    (void)raw_syscall3(SYS_execve, (long)settings->helper_path, (long)start.arguments, (long)settings->environment);
    (void)raw_syscall3(SYS_exit_group, 127, 0, 0);
}

/* ---- In the first process, which shares the memory of this one until it ends ---- */

/* The result of wait4(2), or 0 when the time is over. What interrupts it has not ended the child. */
static long wait_until(long child, int *status, int64_t deadline)
{
    const int64_t shortest = 200000;
    const int64_t longest = 2000000;
    int64_t pause = shortest;
    for (;;) {
        long result = raw_syscall4(SYS_wait4, child, (long)status, WNOHANG | __WALL, 0);
        if (result == -EINTR)
            result = 0;
        if (result != 0 || pyunw_crash_now(CLOCK_MONOTONIC) > deadline)
            return result;
        pyunw_crash_sleep(pause);
        pause += pause < longest ? pause / 8 : 0;
    }
}

static int watch_over(long child)
{
    int status = 0;
    long result = wait_until(child, &status, start.deadline);
    if (result == 0) {
        (void)raw_syscall3(SYS_kill, child, SIGKILL, 0);
        (void)wait_until(child, &status, start.deadline + NANOSECONDS / 2);
        return SIDECAR_FAILED;
    }
    /* A sandbox that ends who executes a program. */
    if (result > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        return SIDECAR_NOT_STARTED;
    if (result < 0 || !WIFEXITED(status))
        return SIDECAR_FAILED;
    return WEXITSTATUS(status) == 127 ? SIDECAR_NOT_STARTED : WEXITSTATUS(status);
}

static void start_and_watch(void *argument)
{
    struct crash_settings *settings = argument;
    const struct kernel_sigaction by_default = {0};
    /* The program's handlers are not to run here, in the memory of all. The sidecar takes the block away. */
    uint64_t all = ~UINT64_C(0);
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof all);
    /* Where the program ignores it, how a child ended is not kept. */
    (void)raw_syscall4(SYS_rt_sigaction, SIGCHLD, (long)&by_default, 0, sizeof by_default.mask);
    char *top = settings->clone_stack_top - CLONE_STACK_SIZE / 2;
    long child = pyunw_crash_clone_on(CLONE_VM | CLONE_UNTRACED | SIGCHLD, top, execute, settings);
    start.end = child < 0 ? SIDECAR_NOT_STARTED : watch_over(child);
    (void)raw_syscall3(SYS_exit_group, 0, 0, 0);
}

/* ---- In this process ---- */

static void prepare(const struct crash_journal *journal, const struct crash_fault *fault, enum sidecar_task task)
{
    const struct crash_settings *settings = &pyunw_crash_settings;
    int64_t rest = fault->deadline - pyunw_crash_now(CLOCK_MONOTONIC);
    const char *arguments[] = {
        "pyunwind",
        "collect",
        task == SIDECAR_COLLECT ? "process" : "journal",
        start.pid,
        start.thread,
        start.journal,
        start.folder,
        start.output,
        start.standard_error,
        start.milliseconds,
        journal->name,
        pyunw_crash_fault_record(),
        NULL,
    };
    start.inherited_count = 0;
    put_number(start.pid, raw_syscall0(SYS_getpid));
    put_number(start.thread, fault->thread);
    put_number(start.milliseconds, rest > 0 ? rest / 1000000 : 0);
    put_file(start.journal, &journal->file);
    put_file(start.folder, &settings->folder);
    put_file(start.output, &settings->output);
    put_file(start.standard_error, &settings->standard_error);
    for (size_t n = 0; n < sizeof arguments / sizeof arguments[0]; n++)
        start.arguments[n] = arguments[n];
}

int pyunw_crash_run_sidecar(const struct crash_journal *journal, const struct crash_fault *fault,
                            enum sidecar_task task)
{
    int status = 0;
    prepare(journal, fault, task);
    start.deadline = fault->deadline;
    start.end = SIDECAR_FAILED;
    long child = pyunw_crash_clone_on(CLONE_VM | CLONE_UNTRACED, pyunw_crash_settings.clone_stack_top, start_and_watch,
                                      &pyunw_crash_settings);
    if (child < 0)
        return SIDECAR_NOT_STARTED;
    /* Yama lets the descendants of a process that is named read as well. */
    if (pyunw_crash_settings.is_restricted)
        (void)raw_syscall6(SYS_prctl, PR_SET_PTRACER, child, 0, 0, 0, 0);
    if (wait_until(child, &status, fault->deadline + NANOSECONDS) == 0) {
        (void)raw_syscall3(SYS_kill, child, SIGKILL, 0);
        (void)wait_until(child, &status, fault->deadline + 2 * (int64_t)NANOSECONDS);
    }
    if (pyunw_crash_settings.is_restricted)
        (void)raw_syscall6(SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0, 0);
    return start.end;
}
