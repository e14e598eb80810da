/*
 * An alternate signal stack for each thread of a process with Python, so that the overflow of its own can be reported.
 */
#include "preload.h"

#include <pthread.h>
#include <stdlib.h>

typedef int create_function(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                            void *argument);

struct thread_start {
    void *(*start)(void *argument);
    void *argument;
};

static void detach(void *unused)
{
    (void)unused;
    (void)pyunw_crash_detach_thread();
}

static void *run(void *given)
{
    const struct thread_start begun = *(struct thread_start *)given;
    void *result = NULL;
    free(given);
    (void)pyunw_crash_attach_thread();
    /* Also where the thread ends by pthread_exit(3), or is cancelled. */
    pthread_cleanup_push(detach, NULL);
    result = begun.start(begun.argument);
    pthread_cleanup_pop(1);
    return result;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's are reserved names */
PRELOAD_API int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                               void *argument)
{
    static create_function *next;
    if (next == NULL)
        *(void **)&next = preload_next("pthread_create");
    struct thread_start *given = preload_is_installed() ? malloc(sizeof *given) : NULL;
    if (given == NULL)
        return next(thread, attributes, start, argument);
    *given = (struct thread_start){start, argument};
    int error = next(thread, attributes, run, given);
    if (error != 0)
        free(given);
    return error;
}
