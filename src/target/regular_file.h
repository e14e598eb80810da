/*
 * Open a file whose name somebody else chose: a process that is read, a core file. Since the name was written, a pipe,
 * a device or a folder may have taken it, and to open such a thing may wait for ever, or do something (a watchdog
 * starts). Signal-safe: no. Include from: target, native.
 */
#ifndef PYUNW_TARGET_REGULAR_FILE_H
#define PYUNW_TARGET_REGULAR_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is it one? Else errno says what it is, as far as an errno can: EISDIR, ENXIO. */
static inline bool regular_file_check(int fd)
{
    struct stat about;
    if (fstat(fd, &about) < 0)
        return false;
    if (!S_ISREG(about.st_mode))
        errno = S_ISDIR(about.st_mode) ? EISDIR : ENXIO;
    return S_ISREG(about.st_mode);
}

/* As open(2), for reading; -1, too, where it is no regular file. */
static inline int regular_file_open(const char *path)
{
    /* O_NONBLOCK: it ends a wait for the holder of a lease, too. */
    enum { FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };
    char found[32];
    int place = open(path, O_PATH | O_CLOEXEC); /* it is looked at, and not opened */
    if (place < 0)
        return -1;
    int fd = -1;
    if (regular_file_check(place)) {
        (void)snprintf(found, sizeof found, "/proc/self/fd/%d", place);
        fd = open(found, FLAGS);
        if (fd < 0 && errno == ENOENT) /* without /proc, where only a core file can be read */
            fd = open(path, FLAGS);
    }
    int error = errno;
    (void)close(place);
    errno = error;
    if (fd < 0 || regular_file_check(fd))
        return fd;
    error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

#endif
