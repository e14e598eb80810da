/*
 * Find the processes below one by what each says of its parent: /proc/PID/task/TID/children is not in every kernel, and
 * may leave out some while others end (proc(5)).
 */
#include "tree.h"

#include "process_info.h"

#include <dirent.h>
#include <stdlib.h>

struct family {
    pid_t pid;
    pid_t parent;
};

struct families {
    struct family *list;
    size_t count;
    size_t room;
};

static bool add_family(struct families *families, pid_t pid, pid_t parent)
{
    if (families->count == families->room) {
        size_t more = families->room == 0 ? 256 : families->room * 2;
        struct family *grown = realloc(families->list, more * sizeof *grown);
        if (grown == NULL)
            return false;
        families->list = grown;
        families->room = more;
    }
    families->list[families->count++] = (struct family){pid, parent};
    return true;
}

static int by_parent(const void *left, const void *right)
{
    const struct family *one = left;
    const struct family *other = right;
    if (one->parent != other->parent)
        return one->parent < other->parent ? -1 : 1;
    return one->pid < other->pid ? -1 : one->pid > other->pid;
}

static bool read_families(struct families *families)
{
    DIR *folder = opendir("/proc");
    bool good = folder != NULL;
    for (struct dirent *entry = good ? readdir(folder) : NULL; entry != NULL && good; entry = readdir(folder)) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        pid_t parent = pid > 0 ? process_parent(pid) : -1;
        good = parent < 0 || add_family(families, pid, parent);
    }
    if (folder != NULL)
        (void)closedir(folder);
    if (families->count > 0)
        qsort(families->list, families->count, sizeof *families->list, by_parent);
    return good;
}

/* Where the children of a process begin. */
static size_t first_child(const struct families *families, pid_t parent)
{
    size_t low = 0;
    size_t high = families->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (families->list[middle].parent < parent)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool tree_has(pid_t pid, const pid_t *pids, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        if (pids[n] == pid)
            return true;
    }
    return false;
}

/*
 * From a stack of those that are still to come, the next child on top. The families were read one after the other, so
 * that numbers given anew could make a circle: a process is taken once.
 */
static size_t walk_tree(const struct families *families, pid_t pid, bool (*is_left_out)(pid_t pid), pid_t *pids,
                        pid_t *coming)
{
    size_t count = 0;
    size_t height = 0;
    coming[height++] = pid;
    while (height > 0) {
        pid_t next = coming[--height];
        if (tree_has(next, pids, count) || (is_left_out != NULL && is_left_out(next)))
            continue;
        pids[count++] = next;
        size_t first = first_child(families, next);
        size_t end = first;
        while (end < families->count && families->list[end].parent == next)
            end++;
        while (end > first)
            coming[height++] = families->list[--end].pid;
    }
    return count;
}

bool tree_find_but(pid_t pid, bool (*is_left_out)(pid_t pid), pid_t **pids, size_t *count)
{
    struct families families = {0};
    *pids = NULL;
    *count = 0;
    bool good = read_families(&families);
    /* Each process is below one other, and so on the stack once; and the first is. */
    pid_t *coming = good ? calloc(families.count + 1, sizeof *coming) : NULL;
    *pids = good ? calloc(families.count + 1, sizeof **pids) : NULL;
    good = coming != NULL && *pids != NULL;
    if (good)
        *count = walk_tree(&families, pid, is_left_out, *pids, coming);
    free(coming);
    free(families.list);
    return good;
}

bool tree_find(pid_t pid, pid_t **pids, size_t *count)
{
    return tree_find_but(pid, NULL, pids, count);
}
