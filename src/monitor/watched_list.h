/*
 * The processes below the monitor.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_WATCHED_LIST_H
#define PYUNW_MONITOR_WATCHED_LIST_H

#include "watched.h"

struct watched_list {
    struct watched **entries;
    size_t count;
};

/* NULL: not known. One that has ended is found where no other has its number. */
struct watched *watched_find_any(const struct watched_list *list, pid_t pid);

/* NULL: not known, or ended. */
struct watched *watched_find(const struct watched_list *list, pid_t pid);

/* Begin to watch a process, and look at it: NULL where it has ended, or memory is short. */
struct watched *watched_add(struct watched_list *list, pid_t pid);

/* A child that has ended before it was looked at: NULL where memory is short. */
struct watched *watched_add_zombie(struct watched_list *list, pid_t pid);

/* The list owns it from now on; NULL: it is full, and the process is watched no more. */
struct watched *watched_put(struct watched_list *list, struct watched *watched);

/*
 * What another list has to tell of a process: of one that is known it takes the place of what was. It is owned, and
 * used up. The process, if its end can be waited for (pidfd) from now on; else NULL.
 */
struct watched *watched_take(struct watched_list *list, struct watched *news);

void watched_remove(struct watched_list *list, struct watched *watched);
void watched_free(struct watched_list *list);

#endif
