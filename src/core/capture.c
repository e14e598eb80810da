/*
 * Captures: a walk, and its description. Those of a thread that may run on meanwhile are in capture_running.c.
 * Signal-safe: yes.
 */
#include "capture_running.h"

/*
 * A chain that closes on itself after more frames than there is room for: the frame behind the last one was given
 * already. The nearest of that address tells the length of the cycle.
 */
static uint32_t find_cycle(const struct frame_array *array, int count, pyunw_addr beyond)
{
    for (int n = count - 1; n >= 0; n--) {
        if (raw_at(array, n)->frame == beyond)
            return (uint32_t)(count - n);
    }
    return 0;
}

static int take_all(struct walk *walk, const struct frame_array *array, pyunw_status *status)
{
    int count = pyunw_walk_take(walk, (pyunw_raw_frame *)(void *)array->begin, array->stride, array->max);
    pyunw_raw_frame beyond;
    beyond.frame = 0;
    int more = 0;
    /* An array that was filled exactly holds the whole stack. */
    if (count == array->max && !walk->ended)
        more = pyunw_walk_take(walk, &beyond, sizeof beyond, 1);
    pyunw_walk_status(walk, status);
    status->depth -= more;
    /* Plain loads are for stacks that are intact. */
    if (more == 1 && walk->memory.kind != MEMORY_DIRECT)
        walk->cycle = find_cycle(array, count, beyond.frame);
    if (more == 1 && walk->cycle > 0) {
        status->end = PYUNW_CORRUPT;
        status->address = beyond.frame;
    }
    int kept = pyunw_array_cut_cycle(walk, array, count);
    if (kept < count)
        status->depth = kept;
    pyunw_array_expect_texts(walk, array, kept);
    return pyunw_array_describe(walk, array, kept, status);
}

/*
 * A thread that stands still meanwhile: the calling one, or one of an image that does not change.
 * Not inlined, as pyunw_capture_running(): a walk takes much of the stack, and is not there while its thread is looked
 * for.
 */
__attribute__((noinline)) static int capture_still(const struct target *target, const struct memory *memory,
                                                   pyunw_addr tstate, const struct frame_array *array,
                                                   pyunw_status *status)
{
    enum { LATE = 64 }; /* frames before the first mark: a cycle among them is cut off again, if the array holds it */
    struct walk walk;
    int err = pyunw_walk_begin(&walk, target, memory, tstate, THREAD_STANDS);
    if (err < 0)
        return err;
    if (array->max >= 2 * LATE)
        walk.chain.mark_span = LATE / 2;
    pyunw_walk_expect(&walk);
    return take_all(&walk, array, status);
}

static int capture(const pyunw_target *handle, pyunw_addr tstate, const struct frame_array *array, pyunw_status *status)
{
    const struct target *target = open_target(handle);
    struct memory memory;
    pyunw_status unasked;
    bool still = false;
    if (target == NULL)
        return not_open(handle);
    if (array->max < 0 || (array->max > 0 && array->begin == NULL))
        return PYUNW_ERR_ARGUMENT;
    if (status == NULL)
        status = &unasked;
    *status = (pyunw_status){0};
    struct gil_moment before = {0};
    note_gil(target, &before);
    target_renew(target, PYUNW_FOR_FRAMES);
    int err = pyunw_walk_choose(target, &tstate, &memory, &still);
    if (err < 0)
        return err;
    if (!still)
        return pyunw_capture_running(target, &memory, tstate, &before, array, status);
    return capture_still(target, &memory, tstate, array, status);
}

int pyunw_walk(const pyunw_target *target, pyunw_addr tstate, pyunw_raw_frame *frames, int max, pyunw_status *status)
{
    struct frame_array array = {(uint8_t *)frames, sizeof *frames, max, false};
    return capture(target, tstate, &array, status);
}

int pyunw_capture(const pyunw_target *target, pyunw_addr tstate, pyunw_frame *frames, int max, pyunw_status *status)
{
    struct frame_array array = {(uint8_t *)frames, sizeof *frames, max, true};
    return capture(target, tstate, &array, status);
}

int pyunw_capture_current(const pyunw_target *target, pyunw_frame *frames, int max, pyunw_status *status)
{
    return pyunw_capture(target, 0, frames, max, status);
}
