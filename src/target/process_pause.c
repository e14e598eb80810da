/*
 * Stop a process and let it run on (ptrace(2)). Only the thread that has seized another may let it go, and the kernel
 * does when that thread ends: so a thread of its own holds the process, and keeps to the limit whatever the caller
 * does. Signal-safe: no, but for reading.
 */
#include "process_pause.h"

#include "process_access.h"
#include "process_read.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct pyunw_pause {
    pid_t pid;
    const pyunw_options *options; /* until stopped is set: the caller's */
    struct timespec deadline;     /* CLOCK_MONOTONIC */
    pthread_t holder;
    pthread_mutex_t lock; /* for the six below */
    pthread_cond_t changed;
    bool stopped; /* or failed to: error says which */
    int error;
    bool resume;                      /* asked for */
    bool wants_registers;             /* asked for */
    struct task_registers *registers; /* once they were asked for: of each task */
    atomic_bool passed;               /* the limit has, and it runs on */
    pid_t *tasks;                     /* seized; the holder's own */
    size_t count;
    size_t room;
};

/* ---- Tasks ---- */

static bool is_held(const struct pyunw_pause *pause, pid_t task)
{
    for (size_t n = 0; n < pause->count; n++) {
        if (pause->tasks[n] == task)
            return true;
    }
    return false;
}

/*
 * Who is taken for ended is not waited for: that its file in /proc cannot be opened is not enough. Where a sandbox
 * forbids tgkill(2) too, one that has ended is waited for until the limit.
 */
static bool has_ended(const struct pyunw_pause *pause, pid_t task)
{
    struct process_status status;
    int err = pyunw_process_status_read(task, &status);
    if (err == PYUNW_ERR_NO_PROCESS)
        return syscall(SYS_tgkill, pause->pid, task, 0) != 0 && errno == ESRCH;
    return err == PYUNW_OK && (status.state == 'Z' || status.state == 'X');
}

/* The signal that a standing task is to go on with, mostly 0; -1: it does not stand. */
static int signal_of_stop(pid_t task)
{
    siginfo_t about;
    if (ptrace(PTRACE_GETSIGINFO, task, 0, &about) != 0)
        return -1;
    /* An event: PTRACE_INTERRUPT, or a group-stop (SIGSTOP and its like), to which it returns by itself. Else it was
     * stopped on its way to what the signal does, and that must not be lost. */
    bool is_event = about.si_code == (about.si_signo | PTRACE_EVENT_STOP << 8);
    return is_event ? 0 : about.si_signo;
}

static int refuse_seizing(const struct pyunw_pause *pause, pid_t task)
{
    struct process_status status;
    struct process_status tracer;
    int err = pyunw_process_status_read(task, &status);
    if (err < 0 || status.tracer == 0)
        return pyunw_refuse_permission(pause->options, pause->pid, status.user);
    /* The number may be that of a thread. */
    err = pyunw_process_status_read(status.tracer, &tracer);
    pid_t pid = err < 0 ? status.tracer : tracer.group;
    return pyunw_refuse(pause->options, PYUNW_ERR_PERMISSION,
                        "process %d is traced by process %d (%s), a debugger perhaps, and only one at a time can hold "
                        "it: read it without --pause, or end process %d",
                        (int)pause->pid, (int)pid, tracer.name, (int)pid);
}

/* 1: seized, and on its way to standing; 0: it has ended. */
static int seize(struct pyunw_pause *pause, pid_t task)
{
    if (pause->count == pause->room) {
        size_t more = pause->room == 0 ? 16 : pause->room * 2;
        pid_t *grown = realloc(pause->tasks, more * sizeof *grown);
        if (grown == NULL)
            return pyunw_refuse(pause->options, PYUNW_ERR_SYSTEM, "out of memory");
        pause->tasks = grown;
        pause->room = more;
    }
    if (ptrace(PTRACE_SEIZE, task, 0, 0) != 0)
        return errno == ESRCH || has_ended(pause, task) ? 0 : refuse_seizing(pause, task);
    pause->tasks[pause->count++] = task;
    (void)ptrace(PTRACE_INTERRUPT, task, 0, 0); /* fails where it has ended */
    return 1;
}

static int refuse_tasks(const struct pyunw_pause *pause, int error)
{
    if (error == ENOENT || error == ESRCH)
        return pyunw_refuse(pause->options, PYUNW_ERR_NO_PROCESS, "process %d has ended", (int)pause->pid);
    return pyunw_refuse(pause->options, PYUNW_ERR_SYSTEM, "the threads of process %d cannot be listed: %s",
                        (int)pause->pid, strerror(error));
}

/* How many there were that were not held. */
static int seize_new(struct pyunw_pause *pause)
{
    char path[64];
    int seized = 0;
    int result = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pause->pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return refuse_tasks(pause, errno);
    int error = 0;
    while (result >= 0) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        error = errno;
        if (entry == NULL)
            break;
        pid_t task = (pid_t)strtol(entry->d_name, NULL, 10);
        if (task <= 0 || is_held(pause, task))
            continue;
        result = seize(pause, task);
        seized += result;
    }
    (void)closedir(folder);
    if (result >= 0 && error != 0)
        return refuse_tasks(pause, error);
    return result < 0 ? result : seized;
}

/* The first that does not stand; 0: all do, or have ended. */
static pid_t first_running(const struct pyunw_pause *pause)
{
    for (size_t n = 0; n < pause->count; n++) {
        if (signal_of_stop(pause->tasks[n]) < 0 && !has_ended(pause, pause->tasks[n]))
            return pause->tasks[n];
    }
    return 0;
}

static bool is_late(const struct pyunw_pause *pause)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > pause->deadline.tv_sec ||
           (now.tv_sec == pause->deadline.tv_sec && now.tv_nsec >= pause->deadline.tv_nsec);
}

/* A task that has not stood yet may have started another: until all that were seen stand, and there are no others. */
static int stop_all(struct pyunw_pause *pause)
{
    static const struct timespec moment = {0, 50000};
    pid_t running = pause->pid;
    while (true) {
        int seized = seize_new(pause);
        if (seized < 0)
            return seized;
        if (seized == 0 && running == 0)
            return pause->count > 0
                       ? PYUNW_OK
                       : pyunw_refuse(pause->options, PYUNW_ERR_NO_PROCESS, "process %d has ended", (int)pause->pid);
        if (is_late(pause))
            return pyunw_refuse(pause->options, PYUNW_ERR_TORN,
                                "thread %d of process %d did not stop in time: it waits for a disk or a file system, "
                                "or the machine is busy. Read it without --pause, or try again",
                                (int)(running != 0 ? running : pause->pid), (int)pause->pid);
        running = first_running(pause);
        if (running != 0)
            (void)nanosleep(&moment, NULL);
    }
}

static void release_all(const struct pyunw_pause *pause)
{
    for (size_t n = 0; n < pause->count; n++) {
        int signal = signal_of_stop(pause->tasks[n]);
        if (signal >= 0) /* the others are let go when this thread ends */
            (void)ptrace(PTRACE_DETACH, pause->tasks[n], 0, (void *)(intptr_t)signal);
    }
}

/* ---- The thread that holds them ---- */

/* Only the thread that has seized a task may ask for them. */
static void read_registers(struct pyunw_pause *pause)
{
    pause->registers = calloc(pause->count + 1, sizeof *pause->registers);
    for (size_t n = 0; pause->registers != NULL && n < pause->count; n++) {
        struct task_registers *of = &pause->registers[n];
        struct iovec room = {&of->registers, sizeof of->registers};
        of->task = pause->tasks[n];
        of->known =
            ptrace(PTRACE_GETREGSET, of->task, (void *)NT_PRSTATUS, &room) == 0 && room.iov_len == sizeof of->registers;
    }
}

/* Until it is to run on. */
static void serve(struct pyunw_pause *pause)
{
    int late = 0;
    while (!pause->resume && late == 0) {
        if (pause->wants_registers && pause->registers == NULL) {
            read_registers(pause);
            pause->wants_registers = false;
            (void)pthread_cond_broadcast(&pause->changed);
        }
        late = pthread_cond_timedwait(&pause->changed, &pause->lock, &pause->deadline);
    }
}

static void *hold(void *argument)
{
    struct pyunw_pause *pause = argument;
    int err = stop_all(pause);
    (void)pthread_mutex_lock(&pause->lock);
    pause->error = err;
    pause->stopped = true;
    (void)pthread_cond_broadcast(&pause->changed);
    if (err == PYUNW_OK)
        serve(pause);
    /* Said before it is so: what was read before this is true. */
    if (err == PYUNW_OK && !pause->resume)
        atomic_store(&pause->passed, true);
    pause->wants_registers = false; /* nobody will fetch them any more */
    (void)pthread_cond_broadcast(&pause->changed);
    (void)pthread_mutex_unlock(&pause->lock);
    release_all(pause);
    return NULL;
}

/* Signals are the business of the caller's threads. */
static int start_holder(struct pyunw_pause *pause)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&pause->holder, NULL, hold, pause);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* ---- The handle ---- */

static struct pyunw_pause *make_pause(pid_t pid, int limit, const pyunw_options *options)
{
    pthread_condattr_t attributes;
    struct pyunw_pause *pause = calloc(1, sizeof *pause);
    if (pause == NULL)
        return NULL;
    pause->pid = pid;
    pause->options = options;
    (void)clock_gettime(CLOCK_MONOTONIC, &pause->deadline);
    int64_t nanoseconds = pause->deadline.tv_nsec + INT64_C(1000000) * (limit % 1000);
    pause->deadline.tv_sec += limit / 1000 + nanoseconds / 1000000000;
    pause->deadline.tv_nsec = nanoseconds % 1000000000;
    (void)pthread_mutex_init(&pause->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pause->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return pause;
}

static void free_pause(struct pyunw_pause *pause)
{
    (void)pthread_cond_destroy(&pause->changed);
    (void)pthread_mutex_destroy(&pause->lock);
    free(pause->tasks);
    free(pause->registers);
    free(pause);
}

static int start_pause(pid_t pid, int limit, pyunw_pause **result, const pyunw_options *options)
{
    struct pyunw_pause *pause = make_pause(pid, limit, options);
    if (pause == NULL)
        return pyunw_refuse(options, PYUNW_ERR_SYSTEM, "out of memory");
    int error = start_holder(pause);
    if (error != 0) {
        free_pause(pause);
        return pyunw_refuse(options, PYUNW_ERR_SYSTEM, "no thread could be started: %s", strerror(error));
    }
    (void)pthread_mutex_lock(&pause->lock);
    while (!pause->stopped)
        (void)pthread_cond_wait(&pause->changed, &pause->lock);
    int err = pause->error;
    (void)pthread_mutex_unlock(&pause->lock);
    if (err == PYUNW_OK) {
        *result = pause;
        return err;
    }
    (void)pyunw_resume_process(pause);
    /* Whatever went wrong, that it has ended meanwhile explains it. */
    struct process_status status;
    int alive = pyunw_check_alive(pid, &status, options);
    return alive < 0 ? alive : err;
}

int pyunw_pause_process(pid_t pid, int limit, pyunw_pause **pause, const pyunw_options *asked)
{
    static const pyunw_options defaults = {.size = sizeof defaults};
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    struct process_status status;
    if (pause == NULL)
        return PYUNW_ERR_ARGUMENT;
    *pause = NULL;
    if (options->size < offsetof(pyunw_options, room))
        return PYUNW_ERR_ARGUMENT;
    if (pid <= 0 || limit <= 0 || pid == getpid())
        return pyunw_refuse(options, PYUNW_ERR_ARGUMENT, "asked to pause process %d%s for %d ms at most", (int)pid,
                            pid == getpid() ? ", the own one," : "", limit);
    int err = pyunw_check_alive(pid, &status, options);
    if (err == PYUNW_OK)
        err = start_pause(pid, limit, pause, options);
    if (err == PYUNW_OK && options->message != NULL && options->message_size > 0)
        options->message[0] = '\0';
    return err;
}

int pyunw_resume_process(pyunw_pause *pause)
{
    if (pause == NULL)
        return PYUNW_OK;
    (void)pthread_mutex_lock(&pause->lock);
    pause->resume = true;
    (void)pthread_cond_broadcast(&pause->changed);
    (void)pthread_mutex_unlock(&pause->lock);
    (void)pthread_join(pause->holder, NULL);
    bool passed = atomic_load(&pause->passed);
    free_pause(pause);
    return passed ? PYUNW_ERR_TORN : PYUNW_OK;
}

/* ---- Reading ---- */

pid_t pyunw_pause_pid(const pyunw_pause *pause)
{
    return pause->pid;
}

void *pyunw_pause_context(const pyunw_pause *pause)
{
    return (void *)(uintptr_t)pause;
}

bool pyunw_pause_passed(const pyunw_pause *pause)
{
    return atomic_load(&pause->passed);
}

int pyunw_pause_registers(pyunw_pause *pause, const struct task_registers **registers, size_t *count)
{
    (void)pthread_mutex_lock(&pause->lock);
    pause->wants_registers = pause->registers == NULL && !atomic_load(&pause->passed);
    (void)pthread_cond_broadcast(&pause->changed);
    while (pause->wants_registers)
        (void)pthread_cond_wait(&pause->changed, &pause->lock);
    *registers = pause->registers;
    *count = pause->registers != NULL ? pause->count : 0;
    (void)pthread_mutex_unlock(&pause->lock);
    if (*registers != NULL)
        return PYUNW_OK;
    return atomic_load(&pause->passed) ? PYUNW_ERR_TORN : PYUNW_ERR_SYSTEM;
}

int pyunw_pause_read_image(void *context, pyunw_addr address, void *buffer, size_t size)
{
    const struct pyunw_pause *pause = context;
    int err = pyunw_process_read(pause->pid, address, buffer, size);
    return atomic_load(&pause->passed) ? PYUNW_ERR_TORN : err;
}
