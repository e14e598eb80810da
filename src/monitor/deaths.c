/*
 * Tell of deaths, each once.
 */
#include "deaths.h"

#include "deliver.h"
#include "trace.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Milliseconds. */
enum { SIDECAR_PATIENCE = 15000 };

/* ---- Tellers ---- */

/* Of two that write to the same descriptor the other waits, whatever the first one's hook takes of its time. */
static void wait_for_last(const struct deaths *deaths)
{
    struct pollfd last = {.fd = deaths->last_teller, .events = POLLIN};
    if (last.fd >= 0)
        (void)poll(&last, 1, -1);
}

/* In a process of its own, if one can be made. crash may be NULL. */
static void tell(struct deaths *deaths, const struct death *death, struct watched *process,
                 struct crash_snapshot *crash)
{
    pid_t teller = fork();
    if (teller == 0)
        wait_for_last(deaths);
    if (teller > 0) {
        process->teller = teller;
        if (deaths->last_teller >= 0)
            (void)close(deaths->last_teller);
        deaths->last_teller = (int)syscall(SYS_pidfd_open, teller, 0);
        return;
    }
    bool good = crash != NULL ? death_tell_read(deaths->wish, death, crash) : death_tell(deaths->wish, death);
    if (teller == 0)
        _exit(good ? 0 : 1);
    process->is_told = good;
}

bool deaths_take_teller(struct deaths *deaths, pid_t pid, int status)
{
    for (size_t n = 0; n < deaths->watched->count; n++) {
        struct watched *process = deaths->watched->entries[n];
        if (process->teller != pid)
            continue;
        process->teller = 0;
        process->is_told = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        process->teller_failed = !process->is_told;
        return true;
    }
    return false;
}

/* ---- Deaths ---- */

static struct death death_of(const struct deaths *deaths, const struct watched *process, int signal)
{
    return (struct death){
        .process = process,
        .signal = signal,
        .passed_on = process->pid == deaths->program ? &deaths->passed_on : NULL,
    };
}

static bool is_settled(struct deaths *deaths, const struct unsettled *of)
{
    struct watched *process = of->process;
    struct death death = death_of(deaths, process, of->signal);
    if (process->teller > 0 || process->is_told)
        return process->is_told;
    if (of->has_usage)
        death.usage = &of->usage;
    switch (death_told(&death)) {
    case DEATH_IS_TOLD:
        return true;
    case DEATH_IN_WORK:
        if (deliver_now() - of->since <= SIDECAR_PATIENCE)
            return false;
        break;
    case DEATH_UNTOLD:
        break;
    }
    if (process->teller_failed) {
        (void)death_tell(deaths->wish, &death);
        return true;
    }
    tell(deaths, &death, process, NULL);
    return process->teller <= 0;
}

void deaths_settle(struct deaths *deaths)
{
    int kept = 0;
    for (int n = 0; n < deaths->count; n++) {
        struct unsettled *of = &deaths->unsettled[n];
        if (is_settled(deaths, of))
            watched_remove(deaths->watched, of->process);
        else
            deaths->unsettled[kept++] = *of;
    }
    deaths->count = kept;
}

bool deaths_in_work(const struct deaths *deaths)
{
    bool told_now = false;
    for (size_t n = 0; n < deaths->watched->count; n++)
        told_now = told_now || deaths->watched->entries[n]->teller > 0;
    return told_now || deaths->count > 0;
}

void deaths_take(struct deaths *deaths, struct watched *process, int status, const struct rusage *usage)
{
    struct unsettled of = {
        .process = process, .since = deliver_now(), .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0};
    if (usage != NULL) {
        of.usage = *usage;
        of.has_usage = true;
    }
    /* Where there are too many its teller goes on, and what that cannot write is lost. */
    if (of.signal == 0 || is_settled(deaths, &of) || deaths->count == UNSETTLED_MAX) {
        watched_remove(deaths->watched, process);
        return;
    }
    /* It is no process any more that another of the same number could be taken for. */
    process->has_ended = true;
    deaths->unsettled[deaths->count++] = of;
}

void deaths_take_end(struct deaths *deaths, struct watched *process, int status)
{
    const struct death death = death_of(deaths, process, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    struct crash_snapshot crash;
    bool good = false;
    bool had_target = process->has_target;
    if (death.signal != 0 && !had_target)
        (void)watched_look_at_end(process);
    if (death.signal != 0)
        good = death_read(&death, &crash);
    /* Which program that was is asked only now: the answer may have to wait for memory, as the stacks would. */
    if (death.signal != 0 && had_target && watched_look_at_end(process)) {
        if (good)
            crash_snapshot_free(&crash);
        good = death_read(&death, &crash);
    }
    trace_end(process);
    if (!good)
        return;
    tell(deaths, &death, process, &crash);
    crash_snapshot_free(&crash);
}
