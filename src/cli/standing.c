/*
 * Stop a process, remember what its threads did before, and let it run on.
 */
#include "standing.h"

#include <signal.h>
#include <stdio.h>

enum { LIMIT_SECONDS = 5 };

/*
 * Who is stopped himself lets nobody go: what Ctrl-Z sends waits until all that stand run again. (SIGSTOP cannot be
 * made to.)
 */
static int standing_count;
static sigset_t mask_before;

static void hold_off_stops(void)
{
    sigset_t stops;
    if (standing_count++ > 0)
        return;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTSTP);
    (void)sigaddset(&stops, SIGTTIN);
    (void)sigaddset(&stops, SIGTTOU);
    (void)sigprocmask(SIG_BLOCK, &stops, &mask_before);
}

static void let_stops_through(void)
{
    if (--standing_count == 0)
        (void)sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

int standing_begin_within(pid_t pid, int limit, struct standing *standing, char *message, size_t message_size)
{
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = message_size};
    *standing = (struct standing){0};
    message[0] = '\0';
    (void)process_info_read(pid, &standing->before); /* where that fails, the pause says why */
    hold_off_stops();
    int err = pyunw_pause_process(pid, limit, &standing->pause, &options);
    if (err < 0 && message[0] == '\0')
        (void)snprintf(message, message_size, "%s", pyunw_strerror(err));
    if (err < 0)
        let_stops_through();
    return err;
}

int standing_begin(pid_t pid, struct standing *standing, char *message, size_t message_size)
{
    return standing_begin_within(pid, LIMIT_SECONDS * 1000, standing, message, message_size);
}

bool standing_end(struct standing *standing, char *message, size_t message_size)
{
    pid_t pid = standing->before.pid;
    process_info_free(&standing->before);
    int err = pyunw_resume_process(standing->pause);
    let_stops_through();
    if (err == 0)
        return true;
    (void)snprintf(message, message_size, "process %d could not be read within %d s, and runs on: try without --pause",
                   (int)pid, LIMIT_SECONDS);
    return false;
}

void standing_tell_states(const struct standing *standing, struct process_info *info)
{
    char stirred = standing->pause != NULL ? 't' : 'R';
    for (size_t n = 0; n < info->task_count; n++) {
        struct task *task = &info->tasks[n];
        const struct task *before = process_info_task(&standing->before, (uint64_t)task->inner_id);
        if (task->state != stirred)
            continue;
        /* One that was just started runs. Where not all could be looked at before, it may be one of these. */
        task->state = standing->before.error == 0 && !standing->before.lost_tasks ? 'R' : '\0';
        if (before != NULL)
            task->state = before->state;
    }
}
