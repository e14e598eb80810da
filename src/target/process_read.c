/*
 * Bytes of another process: process_vm_readv(2), or /proc/PID/mem where a sandbox refuses that call.
 * Signal-safe: yes.
 */
#include "process_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

static int err_from_errno(int error)
{
    switch (error) {
    case EPERM:
    case EACCES:
        return PYUNW_ERR_PERMISSION;
    case ESRCH:
    case ENOENT:
        return PYUNW_ERR_NO_PROCESS;
    default:
        return PYUNW_ERR_FAULT;
    }
}

/* "/proc/PID/mem", put together without stdio: captures may be made in signal handlers. */
static void mem_path(pid_t pid, char path[32])
{
    static const char begin[] = "/proc/";
    static const char end[] = "/mem";
    char digits[12];
    size_t count = 0;
    size_t at = 0;
    for (unsigned rest = (unsigned)pid; count == 0 || rest > 0; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    for (const char *from = begin; *from != '\0'; from++)
        path[at++] = *from;
    while (count > 0)
        path[at++] = digits[--count];
    for (size_t n = 0; n < sizeof end; n++)
        path[at++] = end[n];
}

static int read_proc_mem(pid_t pid, pyunw_addr address, uint8_t *out, size_t size)
{
    char path[32];
    mem_path(pid, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int err = PYUNW_OK;
    while (size > 0 && err == PYUNW_OK) {
        ssize_t n = pread(fd, out, size, (off_t)address);
        if (n < 0)
            err = err_from_errno(errno);
        else if (n == 0) /* the process has ended, and its memory with it */
            err = PYUNW_ERR_FAULT;
        else {
            out += n;
            address += (pyunw_addr)n;
            size -= (size_t)n;
        }
    }
    close(fd);
    return err;
}

static int read_any_way(pid_t pid, pyunw_addr address, void *buffer, size_t size)
{
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);
    if (n == (ssize_t)size)
        return PYUNW_OK;
    if (n < 0 && (errno == EPERM || errno == ENOSYS))
        return read_proc_mem(pid, address, buffer, size);
    return n < 0 ? err_from_errno(errno) : PYUNW_ERR_FAULT;
}

int pyunw_process_read(pid_t pid, pyunw_addr address, void *buffer, size_t size)
{
    int saved = errno;
    int err = read_any_way(pid, address, buffer, size);
    errno = saved;
    return err;
}

int pyunw_process_read_image(void *context, pyunw_addr address, void *buffer, size_t size)
{
    return pyunw_process_read((pid_t)(intptr_t)context, address, buffer, size);
}
