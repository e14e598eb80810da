/*
 * The files of a report folder, and which of them go.
 */
#include "report_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Open ---- */

static bool add_entry(struct report_folder *folder, size_t *room, const char *file)
{
    struct report_name name;
    if (!report_name_parse(file, &name))
        return true;
    if (folder->count == *room) {
        size_t more = *room == 0 ? 64 : *room * 2;
        struct report_entry *grown = realloc(folder->entries, more * sizeof *grown);
        if (grown == NULL)
            return false;
        folder->entries = grown;
        *room = more;
    }
    char *copy = strdup(file);
    if (copy == NULL)
        return false;
    struct report_entry *entry = &folder->entries[folder->count++];
    entry->file = copy;
    entry->name = name;
    return true;
}

static int compare_entries(const void *left, const void *right)
{
    const struct report_name *one = &((const struct report_entry *)left)->name;
    const struct report_name *other = &((const struct report_entry *)right)->name;
    if (one->seconds != other->seconds)
        return one->seconds > other->seconds ? -1 : 1;
    if (one->pid != other->pid)
        return one->pid > other->pid ? -1 : 1;
    if (one->number != other->number)
        return one->number > other->number ? -1 : 1;
    return (int)one->kind - (int)other->kind;
}

static bool read_entries(struct report_folder *folder)
{
    size_t room = 0;
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL)
        return false;
    bool good = true;
    errno = 0;
    for (const struct dirent *entry; good && (entry = readdir(stream)) != NULL;)
        good = add_entry(folder, &room, entry->d_name);
    int error = errno;
    (void)closedir(stream);
    errno = error;
    return good && error == 0;
}

bool report_folder_open(const char *path, bool may_be_missing, struct report_folder *folder)
{
    *folder = (struct report_folder){.path = strdup(path), .fd = -1};
    if (folder->path == NULL)
        return false;
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0 && errno == ENOENT && may_be_missing)
        return true;
    if (folder->fd < 0 || !read_entries(folder)) {
        int error = errno;
        report_folder_close(folder);
        errno = error;
        return false;
    }
    if (folder->count > 0)
        qsort(folder->entries, folder->count, sizeof *folder->entries, compare_entries);
    return true;
}

void report_folder_close(struct report_folder *folder)
{
    for (size_t n = 0; n < folder->count; n++)
        free(folder->entries[n].file);
    free(folder->entries);
    free(folder->path);
    if (folder->fd >= 0)
        (void)close(folder->fd);
    *folder = (struct report_folder){.fd = -1};
}

/* ---- Prune ---- */

/* A report is finished long before. */
enum { IN_WORK_SECONDS = 5 * 60, DAY_SECONDS = 24 * 60 * 60 };

static bool is_old(const struct report_name *name, const struct prune_wish *wish, time_t now)
{
    return wish->has_days && difftime(now, name->seconds) > wish->days * DAY_SECONDS;
}

/* rank: how many reports are newer. */
static bool is_to_go(const struct report_entry *entry, size_t rank, const struct prune_wish *wish, time_t now)
{
    /* What somebody has left behind while writing: no report. */
    if (entry->name.kind == REPORT_TEMPORARY)
        return true;
    return (wish->has_keep && rank >= wish->keep) || is_old(&entry->name, wish, now);
}

/* Is it a regular file of this user, which nobody works on? */
static bool is_ours(const struct report_entry *entry, const struct stat *about, time_t now)
{
    if (!S_ISREG(about->st_mode) || about->st_uid != geteuid())
        return false;
    return entry->name.kind == REPORT_FINISHED || difftime(now, about->st_mtime) > IN_WORK_SECONDS;
}

/* 0; an errno: it should go, and stays. One that is gone is as it should be. */
static int remove_entry(FILE *out, const struct report_folder *folder, const struct report_entry *entry, time_t now)
{
    struct stat about;
    if (fstatat(folder->fd, entry->file, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!is_ours(entry, &about, now))
        return 0;
    if (unlinkat(folder->fd, entry->file, 0) != 0)
        return errno == ENOENT ? 0 : errno;
    (void)fprintf(out, "removed %s\n", entry->file);
    return 0;
}

bool report_folder_prune(FILE *out, const struct report_folder *folder, const struct prune_wish *wish,
                         report_complain *complain)
{
    time_t now = time(NULL);
    size_t rank = 0;
    bool good = true;
    for (size_t n = 0; n < folder->count; n++) {
        const struct report_entry *entry = &folder->entries[n];
        int error = is_to_go(entry, rank, wish, now) ? remove_entry(out, folder, entry, now) : 0;
        rank += entry->name.kind != REPORT_TEMPORARY;
        if (error != 0)
            complain(entry->file, strerror(error));
        good = good && error == 0;
    }
    return good;
}
