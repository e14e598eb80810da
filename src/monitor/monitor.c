/*
 * Wait for signals and for the ends of processes; look at those that live meanwhile.
 */
#include "monitor.h"

#include "crash_options.h"
#include "deaths.h"
#include "deliver.h"
#include "descendant.h"
#include "ending.h"
#include "job.h"
#include "looks.h"
#include "start.h"
#include "trace.h"
#include "watchdog.h"
#include "watched_list.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Milliseconds: a process is looked at soon after the program's start, then ever more seldom. */
enum { LOOK_FIRST = 5, LOOK_LAST = 1000, LOOK_COST = 100, LOOK_SELDOM = 5000, EVENTS = 64 };

/* The program has begun by then, so that there is something to read. */
enum { REHEARSAL = 40 };

struct monitor {
    const struct monitor_wish *wish;
    pid_t program;
    bool has_ended;
    int status;  /* of the program */
    int events;  /* epoll(7) */
    int signals; /* signalfd(2) */
    int asked;   /* for a look */
    int looks;   /* a look is done */
    struct watched_list watched;
    struct deaths deaths;
    bool is_looking;
    int64_t next_look;
    int64_t pause; /* until the next look */
    bool traces;   /* processes, so that one that is killed can be read */
    bool has_rehearsed;
};

/* ---- Look ---- */

/* What an event is called is the number of a process, which may be gone from the list when the event comes; or this. */
enum { EVENT_SIGNALS = 0, EVENT_LOOK = -1 };

static void wait_for_end(struct watched *watched, const struct monitor *monitor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)watched->pid};
    if (watched->pidfd >= 0)
        (void)epoll_ctl(monitor->events, EPOLL_CTL_ADD, watched->pidfd, &event);
}

static void trace_all(struct monitor *monitor)
{
    for (size_t n = 0; n < monitor->watched.count; n++) {
        struct watched *process = monitor->watched.entries[n];
        trace_begin(process);
        if (process->has_target && !monitor->has_rehearsed && monitor->pause >= REHEARSAL) {
            monitor->has_rehearsed = true;
            death_rehearse(process);
            trace_lock();
        }
    }
}

static void take_look(struct monitor *monitor)
{
    struct watched_list news = {0};
    int64_t work = 0;
    if (!looks_take(&news, &work))
        return;
    for (size_t n = 0; n < news.count; n++) {
        struct watched *watched = watched_take(&monitor->watched, news.entries[n]);
        if (watched != NULL)
            wait_for_end(watched, monitor);
    }
    news.count = 0; /* all have been taken */
    watched_free(&news);
    if (monitor->traces)
        trace_all(monitor);
    monitor->pause = monitor->pause * 2 < LOOK_LAST ? monitor->pause * 2 : LOOK_LAST;
    int64_t at_least = work * LOOK_COST < LOOK_SELDOM ? work * LOOK_COST : LOOK_SELDOM;
    monitor->next_look = deliver_now() + (monitor->pause > at_least ? monitor->pause : at_least);
    monitor->is_looking = false;
}

static void look_if_due(struct monitor *monitor)
{
    if (monitor->is_looking || deliver_now() < monitor->next_look)
        return;
    monitor->is_looking = true;
    looks_ask();
}

/* The program alone: where there are many processes, to look at them all takes longer than a small program runs. */
static void begin_watching(struct monitor *monitor)
{
    struct watched *process = watched_add(&monitor->watched, monitor->program);
    if (process != NULL)
        wait_for_end(process, monitor);
    if (process != NULL && monitor->traces)
        trace_begin(process);
    monitor->next_look = deliver_now() + LOOK_FIRST;
}

/* ---- Children ---- */

/* A zombie that nobody has looked at while it lived: what is left is its name. */
static struct watched *watched_or_new(struct monitor *monitor, pid_t pid)
{
    struct watched *process = watched_find(&monitor->watched, pid);
    return process != NULL ? process : watched_add_zombie(&monitor->watched, pid);
}

static void reap(struct monitor *monitor, pid_t pid)
{
    int status = 0;
    struct rusage usage;
    struct watched *process = watched_or_new(monitor, pid);
    if (process != NULL)
        watched_judge_by_name(process); /* a zombie has its name still */
    if (wait4(pid, &status, WNOHANG, &usage) != pid)
        return;
    bool is_teller = deaths_take_teller(&monitor->deaths, pid, status);
    if (is_teller && process != NULL)
        watched_remove(&monitor->watched, process);
    else if (process != NULL)
        deaths_take(&monitor->deaths, process, status, &usage);
    if (pid == monitor->program) {
        monitor->has_ended = true;
        monitor->status = status;
    }
    deaths_settle(&monitor->deaths);
}

/* ---- Stops ---- */

static void stop_job(struct monitor *monitor, int signal)
{
    /* Who is traced by a stopped process would wait for it at its next signal. */
    trace_let_all_go(&monitor->watched);
    watchdog_rest(true);
    job_stop(monitor->program, signal);
    watchdog_rest(false);
    monitor->next_look = 0;
}

static void on_trace_stop(struct monitor *monitor, pid_t pid, int stop)
{
    int how = 0;
    struct watched *process = watched_find(&monitor->watched, pid);
    if (process == NULL) {
        process = watched_add(&monitor->watched, pid);
        if (process != NULL)
            wait_for_end(process, monitor);
    }
    if (process == NULL) {
        (void)ptrace(PTRACE_DETACH, pid, 0L, stop >> 8 == 0 ? (long)stop : 0L);
        return;
    }
    switch (trace_take_stop(process, stop, &how)) {
    case TRACE_GOES_ON:
        break;
    case TRACE_STOPPED:
        if (pid == monitor->program)
            stop_job(monitor, how);
        break;
    case TRACE_ENDS:
        deaths_take_end(&monitor->deaths, process, how);
        break;
    }
}

static void on_stops(struct monitor *monitor)
{
    siginfo_t info = {0};
    const int what = WSTOPPED | WNOHANG | __WALL;
    while (waitid(P_ALL, 0, &info, what) == 0 && info.si_pid != 0) {
        if (info.si_code == CLD_TRAPPED)
            on_trace_stop(monitor, info.si_pid, info.si_status);
        else if (info.si_pid == monitor->program && !monitor->has_ended)
            stop_job(monitor, info.si_status);
        info.si_pid = 0;
    }
}

/* All that has become of children, and of those that are traced, since. */
static void on_children(struct monitor *monitor)
{
    siginfo_t info = {0};
    on_stops(monitor);
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
        /* Who is traced is told of when it stops, whether that is asked for or not (wait_task_stopped() in the kernel).
         */
        if (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED)
            on_stops(monitor);
        else
            reap(monitor, info.si_pid);
        info.si_pid = 0;
    }
}

/* ---- Events ---- */

/* A sidecar (src/cli/tracer.h) is to read a process that it is below, and has to trace it for that. */
static void on_request(const struct monitor *monitor, const struct signalfd_siginfo *info)
{
    enum { GENERATIONS = 4 };
    pid_t pid = process_parent((pid_t)info->ssi_pid);
    for (int n = 0; n < GENERATIONS && pid > 1; n++) {
        struct watched *process = watched_find(&monitor->watched, pid);
        if (process != NULL && process->inner_pid == info->ssi_int) {
            trace_let_go(process, true);
            return;
        }
        pid = process_parent(pid);
    }
}

static void on_signals(struct monitor *monitor)
{
    struct signalfd_siginfo info;
    bool children = false;
    ssize_t size = 0;
    while ((size = read(monitor->signals, &info, sizeof info)) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD && info.ssi_code == SI_QUEUE)
            on_request(monitor, &info);
        if (info.ssi_signo == SIGCHLD)
            children = true;
        else if (!monitor->has_ended && job_pass_on(monitor->program, &info))
            monitor->deaths.passed_on = (struct passed_on){
                .signal = (int)info.ssi_signo,
                .pid = (pid_t)info.ssi_pid,
                .uid = info.ssi_uid,
                .when = deliver_now(),
            };
    }
    /* Where signals cannot be read, what has become of children is asked for itself. */
    if (children || (size < 0 && errno != EAGAIN))
        on_children(monitor);
}

static void on_descendant(struct monitor *monitor, pid_t pid)
{
    int status = 0;
    bool may_come = false;
    struct watched *process = watched_find(&monitor->watched, pid);
    if (process == NULL || process_parent(pid) == getpid())
        return; /* SIGCHLD tells more */
    bool ended = descendant_ended(process, &status, &may_come);
    watched_judge_by_name(process); /* a zombie has its name still; what is known of another program is forgotten */
    if (ended) {
        deaths_take(&monitor->deaths, process, status, NULL);
    } else if (may_come) {
        struct epoll_event hang_up = {.events = 0, .data.u64 = (uint64_t)pid};
        (void)epoll_ctl(monitor->events, EPOLL_CTL_MOD, process->pidfd, &hang_up);
    } else {
        watched_remove(&monitor->watched, process);
    }
}

static void wait_for_events(struct monitor *monitor)
{
    struct epoll_event events[EVENTS];
    watchdog_beat();
    int64_t rest = monitor->is_looking ? watchdog_longest() : monitor->next_look - deliver_now();
    if (rest > watchdog_longest())
        rest = watchdog_longest();
    int count = epoll_wait(monitor->events, events, EVENTS, rest > 0 ? (int)rest : 0);
    if (count < 0 && errno != EINTR) {
        (void)poll(NULL, 0, LOOK_FIRST); /* a sandbox forbids it: then each moment anew */
        on_signals(monitor);
    }
    for (int n = 0; n < count; n++) {
        if ((pid_t)events[n].data.u64 == EVENT_SIGNALS)
            on_signals(monitor);
    }
    for (int n = 0; n < count; n++) {
        if ((pid_t)events[n].data.u64 > 0)
            on_descendant(monitor, (pid_t)events[n].data.u64);
    }
    if (monitor->is_looking)
        take_look(monitor);
    look_if_due(monitor);
}

/* A sidecar at work ends by itself, before long. */
static void wait_for_reports(struct monitor *monitor)
{
    const int moment = 10;
    while (deaths_in_work(&monitor->deaths)) {
        struct pollfd signals = {.fd = monitor->signals, .events = POLLIN};
        watchdog_beat();
        if (poll(&signals, 1, moment) > 0)
            on_signals(monitor);
        deaths_settle(&monitor->deaths);
    }
}

static bool open_events(struct monitor *monitor)
{
    sigset_t all;
    struct epoll_event signals = {.events = EPOLLIN, .data.u64 = (uint64_t)EVENT_SIGNALS};
    struct epoll_event look = {.events = EPOLLIN, .data.u64 = (uint64_t)EVENT_LOOK};
    (void)sigfillset(&all);
    monitor->events = epoll_create1(EPOLL_CLOEXEC);
    monitor->signals = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    return monitor->events >= 0 && monitor->signals >= 0 && looks_open(&monitor->asked, &monitor->looks) &&
           epoll_ctl(monitor->events, EPOLL_CTL_ADD, monitor->signals, &signals) == 0 &&
           epoll_ctl(monitor->events, EPOLL_CTL_ADD, monitor->looks, &look) == 0;
}

/* After the program's start: its number is the one that it has without. */
static void begin_tracing(struct monitor *monitor)
{
    trace_reserve();
    monitor->traces = true;
    (void)watchdog_begin();
}

int monitor_run(const struct monitor_wish *wish)
{
    struct monitor monitor = {.wish = wish, .pause = LOOK_FIRST};
    struct found found;
    int exit_status = MONITOR_FAILED;
    char message[256];
    if (wish->trace_kills && !trace_try(message, sizeof message)) {
        (void)fprintf(stderr, "pyunwind run: --trace-kills is not possible here: %s\n", message);
        return MONITOR_FAILED;
    }
    if (!start_prepare(&found) || !open_events(&monitor)) {
        (void)fprintf(stderr, "pyunwind run: the program cannot be monitored: %s\n", strerror(errno));
        return MONITOR_FAILED;
    }
    monitor.program = start_program(wish, &found, &exit_status);
    if (monitor.program < 0)
        return exit_status;
    monitor.deaths =
        (struct deaths){.wish = wish, .watched = &monitor.watched, .program = monitor.program, .last_teller = -1};
    int kept[] = {wish->folder, wish->output, monitor.events, monitor.signals, monitor.asked, monitor.looks};
    start_close_inherited(kept, sizeof kept / sizeof kept[0], crash_option_is_set("PYUNWIND_TEXT", false));
    if (wish->trace_kills)
        begin_tracing(&monitor);
    looks_begin(wish->trace_kills);
    begin_watching(&monitor);
    while (!monitor.has_ended)
        wait_for_events(&monitor);
    wait_for_reports(&monitor);
    watched_free(&monitor.watched);
    return ending_take(monitor.status);
}
