/*
 * The clock of the storm: a native thread, unknown to Python, that sends a signal to one thread of the process after
 * the other, and every other time to the one that holds the GIL. It holds back while the handlers are busy, and
 * leaves the program half of the time where a handler takes longer than the clock's period.
 */
#include "storm.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HANDLERS = 4, MAX_TIDS = 1200, MAX_TIMERS = 16, TICKS_A_LISTING = 8 };

static struct sender_options options;
static pthread_t thread;
static _Atomic bool stopping;
static _Atomic int busy[MAX_HANDLERS];
static _Atomic int busy_count;
static _Atomic uint64_t program_until; /* until then it is the program's turn */

static pid_t tids[MAX_TIDS];
static int tid_count;

static timer_t timers[MAX_TIMERS];
static int timer_count;

uint64_t sender_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool sender_enter(int *slot)
{
    if (atomic_load(&stopping))
        return false;
    atomic_fetch_add(&busy_count, 1);
    for (int n = 0; n < options.handlers; n++) {
        int free = 0;
        if (atomic_compare_exchange_strong(&busy[n], &free, 1)) {
            *slot = n;
            return true;
        }
    }
    atomic_fetch_sub(&busy_count, 1);
    return false;
}

void sender_leave(int slot, uint64_t entered)
{
    uint64_t now = sender_now();
    atomic_store(&program_until, now + (now - entered));
    atomic_store(&busy[slot], 0);
    atomic_fetch_sub(&busy_count, 1);
}

void sender_wait_idle(void)
{
    while (atomic_load(&busy_count) != 0)
        usleep(200);
}

static void list_tids(pid_t self)
{
    DIR *folder = opendir("/proc/self/task");
    tid_count = 0;
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && tid_count < MAX_TIDS;) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid > 0 && tid != self)
            tids[tid_count++] = tid;
    }
    closedir(folder);
}

static pid_t find_gil_holder(void)
{
    pyunw_thread_cursor cursor;
    pyunw_thread found;
    if (options.target == NULL || pyunw_threads_begin(options.target, &cursor) < 0)
        return 0;
    while (pyunw_threads_next(&cursor, &found) == 1) {
        if ((found.flags & PYUNW_THREAD_HOLDS_GIL) != 0)
            return (pid_t)found.native_id;
    }
    return 0;
}

static void send_one(uint64_t tick, pid_t self)
{
    if (atomic_load(&busy_count) >= options.handlers || sender_now() < atomic_load(&program_until)) {
        count_up(STORM_held_back);
        return;
    }
    if (tick % TICKS_A_LISTING == 0 || tid_count == 0)
        list_tids(self);
    pid_t tid = tick % 2 == 0 ? find_gil_holder() : 0;
    if (tid == 0 && tid_count > 0)
        tid = tids[tick / 2 % (uint64_t)tid_count];
    if (tid > 0 && tid != self && syscall(SYS_tgkill, getpid(), tid, options.signal_number) == 0)
        count_up(STORM_sent);
}

static void *run(void *unused)
{
    uint64_t period = 1000000000u / (unsigned)options.signals_per_second;
    uint64_t next = sender_now();
    pid_t self = (pid_t)syscall(SYS_gettid);
    (void)unused;
    prctl(PR_SET_TIMERSLACK, 1000);
    for (uint64_t tick = 0; !atomic_load(&stopping); tick++) {
        next += period;
        uint64_t now = sender_now();
        if (now > next + 20 * period)
            next = now; /* what a busy machine delayed is not made up for by a burst */
        struct timespec until = {(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL); /* its signals are blocked: never cut short */
        count_up(STORM_ticks);
        send_one(tick, self);
    }
    return NULL;
}

/* Of the threads that are there now: one that has ended meanwhile has none. */
static int start_timers(void)
{
    list_tids(0);
    int count = tid_count < MAX_TIMERS ? tid_count : MAX_TIMERS;
    int64_t period = (int64_t)1000000000 * count / options.signals_per_second;
    const struct timespec each = {period / 1000000000, period % 1000000000};
    const struct itimerspec when = {each, each};
    timer_count = 0;
    for (int n = 0; n < count; n++) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = options.signal_number};
        event._sigev_un._tid = tids[n];
        if (timer_create(CLOCK_MONOTONIC, &event, &timers[timer_count]) != 0) {
            if (errno == EINVAL && syscall(SYS_tgkill, getpid(), tids[n], 0) < 0 && errno == ESRCH)
                continue;
            return errno;
        }
        if (timer_settime(timers[timer_count++], 0, &when, NULL) != 0)
            return errno;
    }
    return timer_count > 0 ? 0 : ESRCH;
}

void sender_forget(void)
{
    for (int n = 0; n < MAX_HANDLERS; n++)
        atomic_store(&busy[n], 0);
    atomic_store(&busy_count, 0);
}

int sender_start(const struct sender_options *wanted)
{
    sigset_t all;
    sigset_t before;
    options = *wanted;
    if (options.handlers > MAX_HANDLERS || options.signals_per_second < 1)
        return EINVAL;
    atomic_store(&stopping, false);
    if (options.by_timers)
        return start_timers();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

void sender_stop(void)
{
    atomic_store(&stopping, true);
    if (!options.by_timers)
        pthread_join(thread, NULL);
    while (timer_count > 0)
        timer_delete(timers[--timer_count]);
}
