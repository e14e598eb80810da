/*
 * Time by raw system calls.
 * Signal-safe: yes.
 */
#include "crash.h"

#include <time.h>

int64_t pyunw_crash_now(int clock)
{
    struct timespec now = {0, 0};
    (void)raw_syscall3(SYS_clock_gettime, clock, (long)&now, 0);
    return (int64_t)now.tv_sec * NANOSECONDS + now.tv_nsec;
}

void pyunw_crash_sleep(int64_t nanoseconds)
{
    const struct timespec time = {nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS};
    (void)raw_syscall3(SYS_nanosleep, (long)&time, 0, 0);
}
