/*
 * The C parts of the tests of stacks: what has to block, walk or capture without a Python frame of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <pyunwind.h>
#include <string.h>
#include <unistd.h>

/* Say on ready that the calling thread is in here, and stay until a byte comes on go. 0, or an errno. */
int meet(int ready, int go)
{
    char byte = 'b';
    ssize_t done;
    do
        done = write(ready, &byte, 1);
    while (done < 0 && errno == EINTR);
    if (done != 1)
        return errno;
    do
        done = read(go, &byte, 1);
    while (done < 0 && errno == EINTR);
    return done == 1 ? 0 : errno != 0 ? errno : EPIPE;
}

/* pyunw_walk(), made of the cursor's three functions. */
int walk_by_cursor(const pyunw_target *target, pyunw_addr tstate, pyunw_raw_frame *frames, int max,
                   pyunw_status *status)
{
    pyunw_frame_cursor cursor;
    int result = pyunw_frames_begin(target, tstate, &cursor);
    if (result < 0)
        return result;
    int count = 0;
    while (count < max && (result = pyunw_frames_next(&cursor, &frames[count])) == 1)
        count++;
    if (result < 0)
        return result;
    pyunw_raw_frame beyond;
    if (count == max && pyunw_frames_next(&cursor, &beyond) == 1)
        return PYUNW_ERR_ARGUMENT; /* max was too small for the test */
    result = pyunw_frames_end(&cursor, status);
    return result < 0 ? result : count;
}

/* ---- In a thread that Python does not know ---- */

struct native_call {
    int (*function)(struct native_call *call);
    const pyunw_target *target;
    pyunw_addr tstate;
    pyunw_frame *frames;
    int max;
    pyunw_status *status;
    int result;
};

static void *run_native_call(void *context)
{
    struct native_call *call = context;
    call->result = call->function(call);
    return NULL;
}

static int in_native_thread(struct native_call *call)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_native_call, call) != 0 || pthread_join(thread, NULL) != 0)
        return PYUNW_ERR_SYSTEM;
    return call->result;
}

static int call_capture(struct native_call *call)
{
    return pyunw_capture(call->target, call->tstate, call->frames, call->max, call->status);
}

static int call_current_thread(struct native_call *call)
{
    return pyunw_current_thread(call->target, &call->tstate);
}

int capture_from_native_thread(const pyunw_target *target, pyunw_addr tstate, pyunw_frame *frames, int max,
                               pyunw_status *status)
{
    struct native_call call = {call_capture, target, tstate, frames, max, status, 0};
    return in_native_thread(&call);
}

int current_thread_from_native_thread(const pyunw_target *target)
{
    struct native_call call = {.function = call_current_thread, .target = target};
    return in_native_thread(&call);
}
