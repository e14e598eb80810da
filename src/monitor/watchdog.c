/*
 * Both share a counter, in memory. The watchdog ends with the monitor.
 */
#include "watchdog.h"

#include "deliver.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Milliseconds. The longest that the monitor works on anything is the time that a hook is given (death.c). */
enum { PATIENCE = 30000, LOOKS = 8 };

struct shared {
    atomic_ulong beats;
    atomic_bool rests;
};

static struct shared *shared; /* NULL: there is no watchdog */

static int patience(void)
{
    const char *asked = getenv("PYUNWIND_TEST_PATIENCE");
    long milliseconds = asked != NULL ? strtol(asked, NULL, 10) : 0;
    return milliseconds > 0 && milliseconds < PATIENCE ? (int)milliseconds : PATIENCE;
}

static void keep_nothing(void)
{
    sigset_t all;
    (void)sigfillset(&all); /* it ends with the monitor, whatever a terminal sends */
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)syscall(SYS_close_range, 0U, ~0U, 0);
}

static void watch(pid_t monitor, int limit)
{
    unsigned long seen = atomic_load(&shared->beats);
    int64_t since = deliver_now();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0L, 0L, 0L);
    (void)prctl(PR_SET_NAME, "pyunwind-watch", 0L, 0L, 0L);
    keep_nothing();
    while (getppid() == monitor) {
        (void)poll(NULL, 0, limit / LOOKS);
        unsigned long beats = atomic_load(&shared->beats);
        int64_t now = deliver_now();
        if (beats != seen || atomic_load(&shared->rests)) {
            seen = beats;
            since = now;
        } else if (now - since > limit && getppid() == monitor) {
            (void)kill(monitor, SIGKILL);
        }
    }
    _exit(0);
}

bool watchdog_begin(void)
{
    const pid_t monitor = getpid();
    const int limit = patience();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        shared = NULL;
        return false;
    }
    pid_t child = fork();
    if (child == 0)
        watch(monitor, limit);
    return child > 0;
}

void watchdog_beat(void)
{
    if (shared != NULL)
        atomic_fetch_add(&shared->beats, 1);
}

int watchdog_longest(void)
{
    return patience() / 4;
}

void watchdog_rest(bool rests)
{
    if (shared != NULL)
        atomic_store(&shared->rests, rests);
}
