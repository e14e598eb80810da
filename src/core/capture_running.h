/*
 * Captures of a thread that may run on meanwhile.
 * Signal-safe: yes. Include from: capture.c, capture_running.c.
 */
#ifndef PYUNW_CORE_CAPTURE_RUNNING_H
#define PYUNW_CORE_CAPTURE_RUNNING_H

#include "frame_array.h"

/* 3.8-3.10 use a frame again at once for the next call of its function: of an image two walks may meet it so. */
static inline bool reuses_frames(const struct target *target)
{
    return is_image(target) && target->image.may_change && target->layout.is.instruction_scale != 0;
}

/* Asked before what a try reads is read anew. */
static inline void note_gil(const struct target *target, struct gil_moment *moment)
{
    if (reuses_frames(target)) {
        struct memory memory = pyunw_safe_memory(target);
        pyunw_read_gil_moment(target, &memory, moment);
    }
}

/* before: of note_gil(). The count of frames, or errors of pyunw_walk_begin(). */
int pyunw_capture_running(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                          const struct gil_moment *before, const struct frame_array *array, pyunw_status *status);

#endif
