/*
 * A list of processes, and what becomes of it by what was seen.
 */
#include "watched_list.h"

#include <stdlib.h>
#include <unistd.h>

enum { WATCHED_MAX = 4096 };

struct watched *watched_find(const struct watched_list *list, pid_t pid)
{
    for (size_t n = 0; n < list->count; n++) {
        if (list->entries[n]->pid == pid && !list->entries[n]->has_ended)
            return list->entries[n];
    }
    return NULL;
}

struct watched *watched_find_any(const struct watched_list *list, pid_t pid)
{
    struct watched *living = watched_find(list, pid);
    for (size_t n = 0; n < list->count && living == NULL; n++) {
        if (list->entries[n]->pid == pid)
            return list->entries[n];
    }
    return living;
}

void watched_remove(struct watched_list *list, struct watched *watched)
{
    for (size_t n = 0; n < list->count; n++) {
        if (list->entries[n] != watched)
            continue;
        list->entries[n] = list->entries[--list->count];
        watched_end(watched);
        return;
    }
}

void watched_free(struct watched_list *list)
{
    for (size_t n = 0; n < list->count; n++)
        watched_end(list->entries[n]);
    free(list->entries);
    *list = (struct watched_list){0};
}

struct watched *watched_put(struct watched_list *list, struct watched *watched)
{
    if (list->entries == NULL)
        list->entries = calloc(WATCHED_MAX, sizeof(struct watched *));
    if (watched != NULL && list->entries != NULL && list->count < WATCHED_MAX) {
        list->entries[list->count++] = watched;
        return watched;
    }
    if (watched != NULL)
        watched_end(watched);
    return NULL;
}

struct watched *watched_add(struct watched_list *list, pid_t pid)
{
    return watched_put(list, watched_begin(pid));
}

struct watched *watched_add_zombie(struct watched_list *list, pid_t pid)
{
    return watched_put(list, watched_make(pid));
}

/* ---- Take ---- */

/* Both are of the same process. */
static void take_over(struct watched *known, struct watched *news)
{
    struct process_info info = known->info;
    bool is_same = info.program == news->info.program;
    if (!is_same || news->has_target) {
        watched_close(known);
        known->target = news->target; /* what it refers to, it does by address and number alone */
        known->has_target = news->has_target;
        news->has_target = false;
    }
    known->info = news->info;
    news->info = info;
    known->inner_pid = news->inner_pid;
    known->is_python = news->is_python || (is_same && known->is_python);
    known->oom_kills = news->oom_kills;
    known->oom_kills_before = news->oom_kills_before;
    json_t *figures = known->figures;
    known->figures = news->figures;
    news->figures = figures;
    if (known->pidfd < 0) {
        known->pidfd = news->pidfd;
        news->pidfd = -1;
    }
}

/* One that has ended since it was seen: nobody tells any more how. */
static bool is_settled(const struct watched *news)
{
    return (news->pidfd < 0 || news->info.parent == getpid()) && !process_info_is_there(&news->info);
}

struct watched *watched_take(struct watched_list *list, struct watched *news)
{
    struct watched *known = watched_find(list, news->pid);
    bool forgotten = known != NULL && known->info.start == 0; /* its end is being told */
    if (known != NULL && !forgotten && known->info.start != news->info.start) {
        watched_remove(list, known);
        known = NULL;
    }
    if (known == NULL && !is_settled(news)) {
        news->has_ended = false;
        return watched_put(list, news);
    }
    bool had_pidfd = known != NULL && known->pidfd >= 0;
    if (known != NULL && !forgotten && !news->has_ended)
        take_over(known, news);
    watched_end(news);
    return known != NULL && !had_pidfd ? known : NULL;
}
