/*
 * The thread keeps a list of its own; what it has seen it gives away as copies. Two counters (eventfd(2)) hand the look
 * from one thread to the other and back, so that nothing is ever in the hands of both.
 */
#include "looks.h"

#include "process_info.h"
#include "tree.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { STACK_SIZE = 1 << 20 };

static struct {
    bool opens;
    bool has_thread;
    int asked;
    int done;
    struct watched_list seen;
    struct watched_list news;
    int64_t work;
} looks = {.asked = -1, .done = -1};

/* What the tracker has started, as hooks, is not of the program. Another monitor sees to its own. */
static bool is_left_out(pid_t pid)
{
    const struct watched *seen = watched_find_any(&looks.seen, pid);
    return pid != getpid() && (seen == NULL || !seen->is_python) && watched_is_command(pid);
}

static void forget_ended(const pid_t *pids, size_t count)
{
    for (size_t n = looks.seen.count; n-- > 0;) {
        struct watched *watched = looks.seen.entries[n];
        /* One that stays as a zombie is told once; its number may be given anew. */
        if (!tree_has(watched->pid, pids, count) || (watched->has_ended && !process_info_is_there(&watched->info)))
            watched_remove(&looks.seen, watched);
    }
}

/* Descriptor and target are given away. */
static struct watched *news_of(struct watched *seen)
{
    struct watched *news = watched_make(seen->pid);
    if (news == NULL || !process_info_copy(&seen->info, &news->info)) {
        free(news);
        return NULL;
    }
    news->inner_pid = seen->inner_pid;
    news->is_python = seen->is_python;
    news->has_ended = seen->has_ended;
    news->first_seen = seen->first_seen;
    news->oom_kills = seen->oom_kills;
    news->oom_kills_before = seen->oom_kills_before;
    news->figures = json_deep_copy(seen->figures);
    news->pidfd = seen->pidfd;
    news->target = seen->target;
    news->has_target = seen->has_target;
    seen->pidfd = -1;
    seen->gave_target = seen->gave_target || seen->has_target;
    seen->has_target = false;
    seen->was_told = true;
    return news;
}

static void look_at(pid_t pid)
{
    struct watched *seen = watched_find_any(&looks.seen, pid);
    if (seen == NULL)
        seen = watched_add(&looks.seen, pid);
    if (seen == NULL)
        return;
    seen->has_ended = !watched_look_at(seen);
    if (seen->has_ended && seen->was_told)
        return;
    if (looks.opens && seen->is_python && !seen->has_ended && !seen->gave_target)
        watched_open(seen);
    (void)watched_put(&looks.news, news_of(seen));
}

static int64_t work_done(void)
{
    struct timespec time = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void look(void)
{
    pid_t *pids = NULL;
    size_t count = 0;
    int64_t before = work_done();
    if (tree_find_but(getpid(), is_left_out, &pids, &count)) {
        forget_ended(pids, count);
        for (size_t n = 1; n < count; n++) /* the first is this process */
            look_at(pids[n]);
    }
    free(pids);
    looks.work = work_done() - before;
    (void)eventfd_write(looks.done, 1);
}

static void *look_ever_again(void *unused)
{
    eventfd_t asked = 0;
    while (eventfd_read(looks.asked, &asked) == 0)
        look();
    return unused;
}

bool looks_open(int *asked, int *done)
{
    *asked = looks.asked = eventfd(0, EFD_CLOEXEC);
    *done = looks.done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return *asked >= 0 && *done >= 0;
}

void looks_begin(bool opens)
{
    pthread_t thread;
    pthread_attr_t attributes;
    looks.opens = opens;
    if (pthread_attr_init(&attributes) != 0)
        return;
    /* It inherits that all signals are blocked. */
    looks.has_thread = pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0 &&
                       pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                       pthread_create(&thread, &attributes, look_ever_again, NULL) == 0;
    (void)pthread_attr_destroy(&attributes);
}

void looks_ask(void)
{
    if (looks.has_thread)
        (void)eventfd_write(looks.asked, 1);
    else
        look(); /* there may be a limit of threads */
}

bool looks_take(struct watched_list *news, int64_t *work)
{
    eventfd_t done = 0;
    if (eventfd_read(looks.done, &done) != 0)
        return false;
    *news = looks.news;
    *work = looks.work;
    looks.news = (struct watched_list){0};
    return true;
}
