/*
 * Signal handlers for test_subinterpreters.py: what runs in a sub-interpreter can raise a signal where it cannot load
 * ctypes. One handler captures all that there is to see; the other stays until it is let go.
 */
#include <errno.h>
#include <pyunwind.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

enum { MAX_THREADS = 16, MAX_FRAMES = 64 };

struct stack {
    pyunw_thread thread;
    pyunw_status status;
    int count;
    pyunw_frame frames[MAX_FRAMES];
};

/* All that is known at one moment. Counts below 0 are errors. */
struct evidence {
    int captures;
    int threads;
    pyunw_addr current;
    struct stack stacks[MAX_THREADS];
    struct stack own; /* of pyunw_capture_current() */
};

static struct {
    const pyunw_target *target;
    struct evidence *evidence;
    int ready;
    int go;
} handed;

static int list_threads(const pyunw_target *target, struct evidence *evidence)
{
    pyunw_thread_cursor cursor;
    int result = pyunw_threads_begin(target, &cursor);
    int count = 0;
    while (result >= 0 && count < MAX_THREADS &&
           (result = pyunw_threads_next(&cursor, &evidence->stacks[count].thread)) == 1)
        count++;
    return result < 0 ? result : count;
}

static void capture_all(int signal_number)
{
    (void)signal_number;
    const pyunw_target *target = handed.target;
    struct evidence *evidence = handed.evidence;
    int saved = errno;
    evidence->threads = list_threads(target, evidence);
    for (int n = 0; n < evidence->threads; n++) {
        struct stack *stack = &evidence->stacks[n];
        stack->count = pyunw_capture(target, stack->thread.tstate, stack->frames, MAX_FRAMES, &stack->status);
    }
    if (pyunw_current_thread(target, &evidence->current) < 0)
        evidence->current = 0;
    evidence->own.count = pyunw_capture_current(target, evidence->own.frames, MAX_FRAMES, &evidence->own.status);
    evidence->captures++;
    errno = saved;
}

static void stay(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    char byte = 'b';
    if (write(handed.ready, &byte, 1) == 1)
        while (read(handed.go, &byte, 1) < 0 && errno == EINTR)
            continue;
    errno = saved;
}

/* SIGUSR1 captures into evidence; SIGUSR2 says "b" on ready and stays until a byte comes on go. */
int install(const pyunw_target *target, struct evidence *evidence, int ready, int go)
{
    struct sigaction action = {.sa_handler = capture_all};
    handed.target = target;
    handed.evidence = evidence;
    handed.ready = ready;
    handed.go = go;
    if (sigaction(SIGUSR1, &action, NULL) != 0)
        return -1;
    action.sa_handler = stay;
    return sigaction(SIGUSR2, &action, NULL);
}
