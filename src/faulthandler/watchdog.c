/*
 * A thread that dumps the stacks of all others when a time is over. Python does not know it, and it needs no GIL.
 * Signal-safe: no.
 */
#include "faulthandler.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STACK_SIZE = 256 << 10 };

static struct {
    pid_t process; /* whose thread it is: a child of fork() has none; 0: none */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool cancelled;
    uint64_t microseconds;
    bool repeat;
    bool exit;
    struct dump dump;
    char header[64];
} watchdog;

static struct timespec time_from_now(uint64_t microseconds)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t nanoseconds = (uint64_t)time.tv_nsec + microseconds % 1000000 * 1000;
    time.tv_sec += (time_t)(microseconds / 1000000 + nanoseconds / 1000000000);
    time.tv_nsec = (long)(nanoseconds % 1000000000);
    return time;
}

/* False when it was cancelled. */
static bool wait_for_time(void)
{
    const struct timespec until = time_from_now(watchdog.microseconds);
    int result = 0;
    (void)pthread_mutex_lock(&watchdog.lock);
    while (!watchdog.cancelled && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&watchdog.wake, &watchdog.lock, &until);
    bool over = !watchdog.cancelled;
    (void)pthread_mutex_unlock(&watchdog.lock);
    return over;
}

static void write_header(void)
{
    const char *at = watchdog.header;
    size_t rest = strlen(at);
    while (rest > 0) {
        ssize_t n = write(watchdog.dump.fd, at, rest);
        if (n < 0 && errno != EINTR)
            return;
        at += n > 0 ? n : 0;
        rest -= n > 0 ? (size_t)n : 0;
    }
}

static void *watch(void *unused)
{
    int err = PYUNW_OK;
    while (wait_for_time()) {
        write_header();
        err = pyunw_faulthandler_write(&watchdog.dump, 0);
        if (watchdog.exit)
            _exit(1);
        /* A descriptor that cannot be written to is no reason to end, for CPython. */
        if (!watchdog.repeat || (err < 0 && err != PYUNW_ERR_WRITE))
            break;
    }
    return unused;
}

/* It is not to be the one that a signal comes to. */
static int start(void)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0)
        return PYUNW_ERR_SYSTEM;
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&watchdog.thread, &attributes, watch, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    watchdog.process = error == 0 ? getpid() : 0;
    errno = error;
    return error == 0 ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}

static void prepare(void)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watchdog.wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&watchdog.lock, NULL);
    watchdog.cancelled = false;
}

static void put_header(uint64_t microseconds)
{
    uint64_t seconds = microseconds / 1000000;
    uint64_t rest = microseconds % 1000000;
    char fraction[16] = "";
    if (rest != 0)
        (void)snprintf(fraction, sizeof fraction, ".%06" PRIu64, rest);
    (void)snprintf(watchdog.header, sizeof watchdog.header, "Timeout (%" PRIu64 ":%02u:%02u%s)!\n", seconds / 3600,
                   (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60), fraction);
}

int pyunw_faulthandler_cancel_dump_traceback_later(void)
{
    if (watchdog.process == getpid()) {
        (void)pthread_mutex_lock(&watchdog.lock);
        watchdog.cancelled = true;
        (void)pthread_cond_signal(&watchdog.wake);
        (void)pthread_mutex_unlock(&watchdog.lock);
        (void)pthread_join(watchdog.thread, NULL);
        (void)pthread_cond_destroy(&watchdog.wake);
        (void)pthread_mutex_destroy(&watchdog.lock);
    }
    watchdog.process = 0;
    return PYUNW_OK;
}

int pyunw_faulthandler_dump_traceback_later(const pyunw_faulthandler_options *options, uint64_t microseconds,
                                            int repeat, int exit)
{
    struct dump dump;
    if (microseconds == 0 || microseconds > INT64_MAX)
        return PYUNW_ERR_ARGUMENT;
    int err = pyunw_faulthandler_take_options(options, &dump);
    if (err < 0)
        return err;
    (void)pyunw_faulthandler_cancel_dump_traceback_later();
    prepare();
    put_header(microseconds);
    watchdog.dump = dump;
    watchdog.dump.all_threads = true;
    watchdog.microseconds = microseconds;
    watchdog.repeat = repeat != 0;
    watchdog.exit = exit != 0;
    return start();
}
