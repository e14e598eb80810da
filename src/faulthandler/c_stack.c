/*
 * The C stack as text, as CPython 3.14 writes it (Python/traceback.c, _Py_DumpStack()).
 * Signal-safe: no; at a crash it runs in a copy of the process.
 */
#include "faulthandler.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 1024 };

static int write_frame(int fd, void *address)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || info.dli_fname == NULL ||
        info.dli_fname[0] == '\0')
        return dprintf(fd, "  Binary file '<unknown>' [%p]\n", address);
    uint64_t at = (uint64_t)(uintptr_t)address;
    uint64_t base = map != NULL ? (uint64_t)map->l_addr : (uint64_t)(uintptr_t)info.dli_fbase;
    uint64_t symbol = info.dli_sname != NULL ? (uint64_t)(uintptr_t)info.dli_saddr : base;
    if (info.dli_sname == NULL && symbol == 0)
        return dprintf(fd, "  Binary file \"%s\" [%p]\n", info.dli_fname, address);
    return dprintf(fd, "  Binary file \"%s\", at %s%c0x%" PRIx64 " [%p]\n", info.dli_fname,
                   info.dli_sname != NULL ? info.dli_sname : "", at >= symbol ? '+' : '-',
                   at >= symbol ? at - symbol : symbol - at, address);
}

static int write_frames(int fd, void *const *frames, int count)
{
    int result = count > 0 ? 0 : dprintf(fd, "  <system returned no stack trace>\n");
    for (int n = 0; n < count && result >= 0; n++)
        result = write_frame(fd, frames[n]);
    return result < 0 ? PYUNW_ERR_WRITE : PYUNW_OK;
}

void pyunw_faulthandler_write_c_stack(int fd, uint64_t pc)
{
    static void *frames[DEPTH_MAX]; /* in a copy of the process, whose stack may be a small one */
    int count = backtrace(frames, DEPTH_MAX);
    int first = 0;
    while (first < count && (uint64_t)(uintptr_t)frames[first] != pc)
        first++;
    if (first == count)
        first = 0;
    (void)write_frames(fd, frames + first, count - first);
}

void pyunw_faulthandler_prepare_c_stack(void)
{
    void *frame[1];
    (void)backtrace(frame, 1);
}

/* pyunwind, and what brings a call of Python's to it. */
static bool is_own(void *address)
{
    Dl_info own;
    Dl_info info;
    if (dladdr((void *)(uintptr_t)&pyunw_faulthandler_dump_c_stack, &own) == 0 || dladdr(address, &info) == 0 ||
        info.dli_fname == NULL)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    const char *name = slash != NULL ? slash + 1 : info.dli_fname;
    return own.dli_fbase == info.dli_fbase || strncmp(name, "libffi.", 7) == 0 || strncmp(name, "_ctypes.", 8) == 0;
}

int pyunw_faulthandler_dump_c_stack(int fd)
{
    void *frames[DEPTH_MAX];
    int count = backtrace(frames, DEPTH_MAX);
    int first = 0;
    while (first < count && is_own(frames[first]))
        first++;
    if (dprintf(fd, "Current thread's C stack trace (most recent call first):\n") < 0)
        return PYUNW_ERR_WRITE;
    return write_frames(fd, frames + first, count - first);
}
