/*
 * A foreign library, as Python programs call it by ctypes.CDLL: without the GIL. One function has a bug.
 */
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

struct bag {
    int grams;
};

/* Tell the reader of one descriptor that this thread is here, and stay until the other has no writer any more. */
int stand_still(int ready, int release)
{
    char byte = 0;
    if (write(ready, &byte, 1) != 1)
        return -1;
    while (read(release, &byte, 1) > 0)
        continue;
    return 0;
}

/* The name that the kernel shows for the calling thread; CPython sets it by itself from 3.14 on. */
int name_thread(const char *name)
{
    return pthread_setname_np(pthread_self(), name);
}

/* The bug: a caller without a bag. */
int weigh(const struct bag *bag)
{
    return bag->grams;
}
