/*
 * The public cursor: a walk in the caller's memory, one frame a call.
 * Signal-safe: yes.
 */
#include "walk.h"

_Static_assert(sizeof(struct walk) <= sizeof(pyunw_frame_cursor), "walk outgrew its public size");

int pyunw_frames_begin(const pyunw_target *handle, pyunw_addr tstate, pyunw_frame_cursor *cursor)
{
    const struct target *target = open_target(handle);
    struct memory memory;
    bool still = false;
    if (target == NULL)
        return not_open(handle);
    if (cursor == NULL)
        return PYUNW_ERR_ARGUMENT;
    struct walk *walk = (struct walk *)(void *)cursor;
    walk->magic = 0;
    target_renew(target, PYUNW_FOR_FRAMES);
    int err = pyunw_walk_choose(target, &tstate, &memory, &still);
    return err < 0 ? err : pyunw_walk_begin(walk, target, &memory, tstate, still ? THREAD_STANDS : THREAD_MAY_RUN);
}

int pyunw_frames_next(pyunw_frame_cursor *cursor, pyunw_raw_frame *frame)
{
    struct walk *walk = (struct walk *)(void *)cursor;
    if (cursor == NULL || frame == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (walk->magic != WALK_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    int result = pyunw_walk_take(walk, frame, sizeof *frame, 1);
    if (result == 1)
        frame->reserved = 0;
    return result;
}

int pyunw_frames_end(const pyunw_frame_cursor *cursor, pyunw_status *status)
{
    const struct walk *walk = (const struct walk *)(const void *)cursor;
    if (cursor == NULL || status == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (walk->magic != WALK_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    pyunw_walk_status(walk, status);
    return PYUNW_OK;
}
