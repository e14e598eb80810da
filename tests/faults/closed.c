/* What is closed, and whether it is closed again. */
#include "closed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CLOSED_MAX = 1024 };

struct closed {
    pid_t owner; /* 0: none any more */
    int fd;
};

static int mark = -1;
static size_t closed_count;
static struct closed closed[CLOSED_MAX];

bool prepare_closing(const char *log)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.closed", log);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    close(file);
    mark = open(path, O_ACCMODE | O_CLOEXEC); /* for neither reading nor writing (open(2)): they say EBADF of it */
    return mark >= 0;
}

bool is_open_descriptor(pid_t task, int fd)
{
    char path[64];
    char target[8];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)task, fd);
    return readlink(path, target, sizeof target) >= 0;
}

bool do_close(int listener, const struct seccomp_notif *call, pid_t owner)
{
    struct seccomp_notif_addfd in_its_place = {
        .id = call->id,
        .flags = SECCOMP_ADDFD_FLAG_SETFD,
        .srcfd = (uint32_t)mark,
        .newfd = (uint32_t)call->data.args[0],
        .newfd_flags = O_CLOEXEC,
    };
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &in_its_place) < 0)
        return errno == ENOENT || errno == EINPROGRESS; /* it has been killed meanwhile */
    size_t at = 0;
    while (at < closed_count && closed[at].owner != 0)
        at++;
    if (at == CLOSED_MAX)
        return false;
    closed_count += at == closed_count;
    closed[at] = (struct closed){owner, (int)call->data.args[0]};
    return true;
}

bool closed_twice(pid_t owner, const struct seccomp_data *call)
{
    bool is_exec = call->nr == SYS_execve || call->nr == SYS_execveat;
    bool is_dup = call->nr == SYS_dup3;
#if defined(SYS_dup2)
    is_dup = is_dup || call->nr == SYS_dup2;
#endif
    for (size_t n = 0; n < closed_count; n++) {
        if (closed[n].owner != owner)
            continue;
        if (call->nr == SYS_close && closed[n].fd == (int)call->args[0])
            return true;
        bool in_range = call->nr == SYS_close_range && (unsigned)closed[n].fd >= (unsigned)call->args[0] &&
                        (unsigned)closed[n].fd <= (unsigned)call->args[1];
        if (is_exec || in_range || (is_dup && closed[n].fd == (int)call->args[1])) /* it is gone, or another is there */
            closed[n].owner = 0;
    }
    return false;
}
