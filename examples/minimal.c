/*
 * Which Python code sends what over the network? Here C code asks for the Python stack as data. It runs inside
 * send(), where CPython has released the GIL; the same call may stand in a signal handler (demo/handler.c).
 *
 *     cc -shared -fPIC -o minimal.so minimal.c $(pkg-config --cflags --libs pyunwind)
 *     LD_PRELOAD=$PWD/minimal.so python3 program.py
 */
#include <pyunwind.h>
#include <stdio.h>
#include <sys/socket.h>

static pyunw_target target;

__attribute__((constructor)) static void start(void)
{
    pyunw_open_self(&target, NULL);
}

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    pyunw_frame frames[64];
    for (int i = 0, count = pyunw_capture_current(&target, frames, 64, NULL); i < count; i++)
        dprintf(2, "%s:%d: %s\n", frames[i].filename, frames[i].position.lineno, frames[i].qualname);
    return sendto(fd, buf, n, flags, NULL, 0);
}
