/* Functions that lie between Python frames, or below and beside them. None is inlined, nor ends in a jump. */
#include <pthread.h>
#include <unistd.h>

#define FRAME __attribute__((noinline))

typedef long callback(long value);

FRAME long native_inner(callback *call, long value)
{
    long result = call(value);
    __asm__ volatile("");
    return result + 1;
}

FRAME long native_outer(callback *call, long value)
{
    long result = native_inner(call, value);
    __asm__ volatile("");
    return result + 1;
}

/* Says that it is there, and waits for what never comes; with a file that ends, until it does. */
FRAME long native_block(int ready, int from)
{
    char byte = 'r';
    long result = ready >= 0 ? write(ready, &byte, 1) : 0;
    result += read(from, &byte, 1);
    __asm__ volatile("");
    return result;
}

struct waiting {
    int ready;
    int from;
};

static void *native_thread_main(void *argument)
{
    const struct waiting *waiting = argument;
    long result = native_block(waiting->ready, waiting->from);
    __asm__ volatile("");
    return (void *)result;
}

/* A thread that Python does not know. */
int native_thread_start(int ready, int from)
{
    static struct waiting waiting;
    pthread_t thread;
    waiting = (struct waiting){ready, from};
    return pthread_create(&thread, NULL, native_thread_main, &waiting);
}
