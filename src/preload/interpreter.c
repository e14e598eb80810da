/*
 * An interpreter that comes later, by dlopen(3) or inside a program that does not show its symbols. dlopen() itself
 * cannot be stood before: it looks where its caller's own search path leads, and the caller would be this library. But
 * every CPython calls pthread_condattr_setclock() when it begins to be initialized (3.8 to 3.15, PyThread_init_thread,
 * Python/thread_pthread.h), and few others do.
 */
#include "preload.h"

#include <pthread.h>

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's are reserved names */
PRELOAD_API int pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t clock)
{
    static int (*next)(pthread_condattr_t *, clockid_t);
    if (next == NULL)
        *(void **)&next = preload_next("pthread_condattr_setclock");
    preload_find_interpreter_at(__builtin_return_address(0));
    return next(attributes, clock);
}
