/* The half of a call, made by the program that holds it, with the descriptors and the memory of the one that asked. */
#include "half.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 1 << 16, VECTORS = 256 };

static char bytes[ROOM];

static size_t half_of(size_t size)
{
    return size < 2 ? 1 : size / 2 > ROOM ? ROOM : size / 2;
}

static int64_t result_of(ssize_t done)
{
    return done < 0 ? -errno : done;
}

static int64_t half_of_file_call(const struct seccomp_notif *call, pid_t owner)
{
    const uint64_t *arguments = (const uint64_t *)call->data.args;
    struct iovec here = {bytes, half_of((size_t)arguments[2])};
    struct iovec there = {(void *)(uintptr_t)arguments[1], here.iov_len};
    int pidfd = (int)syscall(SYS_pidfd_open, owner, 0);
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)arguments[0], 0);
    ssize_t done;
    close(pidfd);
    if (fd < 0)
        return -errno;
    struct pollfd ready = {.fd = fd, .events = call->data.nr == SYS_write ? POLLOUT : POLLIN};
    if (poll(&ready, 1, 0) == 0) {
        close(fd);
        return NO_HALF;
    }
    if (call->data.nr == SYS_write) {
        done = process_vm_readv((pid_t)call->pid, &here, 1, &there, 1, 0);
        if (done > 0)
            done = write(fd, bytes, (size_t)done);
    } else {
        done = call->data.nr == SYS_read ? read(fd, bytes, here.iov_len)
                                         : pread(fd, bytes, here.iov_len, (off_t)arguments[3]);
        here.iov_len = there.iov_len = done > 0 ? (size_t)done : 0;
        if (done > 0)
            done = process_vm_writev((pid_t)call->pid, &here, 1, &there, 1, 0);
    }
    int64_t result = result_of(done);
    close(fd);
    return result;
}

/* The vectors that the call was given: how many, or -1. */
static int copy_vectors(pid_t caller, uint64_t address, uint64_t count, struct iovec vectors[VECTORS])
{
    size_t size = (size_t)count * sizeof *vectors;
    struct iovec here = {vectors, size};
    struct iovec there = {(void *)(uintptr_t)address, size};
    if (count > VECTORS || process_vm_readv(caller, &here, 1, &there, 1, 0) != (ssize_t)size)
        return -1;
    return (int)count;
}

static size_t size_of(const struct iovec *vectors, int count)
{
    size_t size = 0;
    for (int n = 0; n < count; n++)
        size += vectors[n].iov_len;
    return size;
}

/* Leave so many bytes of them: the count of vectors. */
static int shorten(struct iovec *vectors, int count, size_t size)
{
    int n = 0;
    for (; n < count && size > 0; n++) {
        if (vectors[n].iov_len > size)
            vectors[n].iov_len = size;
        size -= vectors[n].iov_len;
    }
    return n;
}

static int64_t half_of_memory(const struct seccomp_notif *call)
{
    struct iovec to[VECTORS];
    struct iovec from[VECTORS];
    int to_count = copy_vectors((pid_t)call->pid, call->data.args[1], call->data.args[2], to);
    int from_count = copy_vectors((pid_t)call->pid, call->data.args[3], call->data.args[4], from);
    if (to_count < 0 || from_count < 0)
        return -EFAULT;
    struct iovec here = {bytes, half_of(size_of(to, to_count))};
    from_count = shorten(from, from_count, here.iov_len);
    ssize_t done = process_vm_readv((pid_t)call->data.args[0], &here, 1, from, (unsigned long)from_count, 0);
    if (done <= 0)
        return result_of(done);
    here.iov_len = (size_t)done;
    to_count = shorten(to, to_count, here.iov_len);
    return result_of(process_vm_writev((pid_t)call->pid, &here, 1, to, (unsigned long)to_count, 0));
}

int64_t do_half(const struct seccomp_notif *call, pid_t owner)
{
    return call->data.nr == SYS_process_vm_readv ? half_of_memory(call) : half_of_file_call(call, owner);
}
