/*
 * Exit data of a pidfd (PIDFD_GET_INFO of Linux 6.13, its PIDFD_INFO_EXIT of 6.15), and of a zombie in /proc.
 */
#include "descendant.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* As in <linux/pidfd.h> of 6.15, which is not there where this is compiled. */
struct exit_info {
    uint64_t mask;
    uint64_t cgroup_id;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};

enum { EXIT_INFO_SIZE = 64, EXIT_INFO_WANTED = 1 << 3 };

_Static_assert(sizeof(struct exit_info) <= 72, "the kernel's structure has 64 bytes at first");

static bool read_exit_info(int pidfd, int *status)
{
    struct exit_info info = {.mask = EXIT_INFO_WANTED};
    const unsigned long request = _IOC(_IOC_READ | _IOC_WRITE, 0xFF, 11, sizeof info);
    if (pidfd < 0 || ioctl(pidfd, request, &info) != 0 || (info.mask & EXIT_INFO_WANTED) == 0)
        return false;
    *status = info.exit_code;
    return true;
}

/* Fields 3 and 52 of /proc/PID/stat: is it a zombie, and how has it ended? */
static bool read_zombie(const struct watched *watched, int *status, bool *is_there)
{
    enum { START_FIELD = 22, EXIT_FIELD = 52 };
    char path[64];
    size_t size = 0;
    uint64_t start = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)watched->pid);
    char *text = read_whole_file(path, &size);
    const char *at = text != NULL ? strrchr(text, ')') : NULL;
    bool zombie = at != NULL && at[1] == ' ' && (at[2] == 'Z' || at[2] == 'X');
    for (int field = 2; at != NULL && field < EXIT_FIELD; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && field + 1 == START_FIELD)
            start = strtoull(at, NULL, 10);
    }
    *is_there = start == watched->info.start;
    bool good = zombie && at != NULL && *is_there;
    if (good)
        *status = (int)strtol(at, NULL, 10);
    free(text);
    /* 0 stands also where it is not to be told: then the pidfd says it later. */
    return good && *status != 0;
}

bool descendant_ended(const struct watched *watched, int *status, bool *may_come)
{
    *may_come = false;
    if (read_exit_info(watched->pidfd, status) || read_zombie(watched, status, may_come))
        return true;
    /* Its parent may have waited for it between the two. */
    return !*may_come && read_exit_info(watched->pidfd, status);
}
