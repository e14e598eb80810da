/*
 * Descriptors that were opened beforehand. A program may close all of its descriptors and use their numbers for files
 * of its own: before each use the number is seen to be open on the same file still.
 * Signal-safe: yes.
 */
#include "crash.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool read_status(int fd, struct stat *status)
{
    return raw_syscall4(SYS_newfstatat, fd, (long)"", (long)status, AT_EMPTY_PATH) == 0;
}

struct held_file pyunw_crash_hold_own(int fd)
{
    struct held_file file = pyunw_crash_hold(fd);
    if (file.fd < 0 && fd >= 0)
        (void)raw_syscall3(SYS_close, fd, 0, 0);
    return file;
}

struct held_file pyunw_crash_hold(int fd)
{
    struct stat status = {0};
    if (fd < 0 || !read_status(fd, &status))
        return (struct held_file){.fd = -1};
    return (struct held_file){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
}

bool pyunw_crash_holds(const struct held_file *file)
{
    struct stat status = {0};
    return file->fd >= 0 && read_status(file->fd, &status) && status.st_dev == file->device &&
           status.st_ino == file->inode;
}
