/*
 * The kernel's name for a thread of the own process, read where pthread_getname_np(3) reads it.
 * Signal-safe: yes.
 */
#include "thread.h"

#include <fcntl.h>

/* "/proc/self/task/<tid>/comm" */
static void write_path(uint64_t native_id, char path[48])
{
    static const char before[] = "/proc/self/task/";
    static const char after[] = "/comm";
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + native_id % 10);
        native_id /= 10;
    } while (native_id > 0);
    size_t count = sizeof digits - first;
    memcpy(path, before, sizeof before - 1);
    memcpy(path + sizeof before - 1, digits + first, count);
    memcpy(path + sizeof before - 1 + count, after, sizeof after);
}

size_t pyunw_read_thread_name(uint64_t native_id, char name[PYUNW_THREAD_NAME_SIZE])
{
    char path[48];
    if (native_id == 0)
        return 0;
    write_path(native_id, path);
    long fd = raw_syscall4(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    /* A line: what has no end is not all of it. */
    size_t size = 0;
    long count = 1;
    while (count > 0 && size < PYUNW_THREAD_NAME_SIZE && (size == 0 || name[size - 1] != '\n')) {
        count = raw_syscall3(SYS_read, fd, (long)(name + size), (long)(PYUNW_THREAD_NAME_SIZE - size));
        size += count > 0 ? (size_t)count : 0;
    }
    raw_syscall3(SYS_close, fd, 0, 0);
    return size > 0 && name[size - 1] == '\n' ? size - 1 : 0;
}
