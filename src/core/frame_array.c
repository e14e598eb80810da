/*
 * Captured frames: order them, describe them.
 * Signal-safe: yes.
 */
#include "frame_array.h"
#include "code.h"

void pyunw_array_move_to_front(const struct frame_array *array, int first, int count)
{
    if (first > 0 && count > 0) {
        uint8_t *from = array->begin + (size_t)first * array->stride;
        for (int n = 0; n < count; n++, from += array->stride)
            memcpy(array->begin + (size_t)n * array->stride, from, array->stride);
    }
}

int pyunw_array_cut_cycle(const struct walk *walk, const struct frame_array *array, int count)
{
    int length = (int)walk->cycle;
    for (int n = 0; length > 0 && n + length < count; n++) {
        if (raw_at(array, n)->frame == raw_at(array, n + length)->frame)
            return n + length;
    }
    return count;
}

void pyunw_array_expect_texts(const struct walk *walk, const struct frame_array *array, int count)
{
    enum { LOOK_AHEAD = 256 };
    if (!array->described || !memory_takes_hints(&walk->memory))
        return;
    for (int n = 0; n < count && n < LOOK_AHEAD; n++)
        pyunw_code_expect(walk->target, &walk->memory, raw_at(array, n)->code);
}

int pyunw_array_count_undescribed(const struct frame_array *array, int count)
{
    enum {
        UNREADABLE =
            PYUNW_FILENAME_UNREADABLE | PYUNW_NAME_UNREADABLE | PYUNW_QUALNAME_UNREADABLE | PYUNW_POSITION_UNREADABLE
    };
    int undescribed = 0;
    for (int n = 0; array->described && n < count; n++)
        undescribed += (frame_at(array, n)->flags & UNREADABLE) != 0;
    return undescribed;
}

int pyunw_array_describe(const struct walk *walk, const struct frame_array *array, int count, pyunw_status *status)
{
    int done = 0;
    for (; array->described && done < count; done++) {
        pyunw_frame *frame = frame_at(array, done);
        if (pyunw_code_describe(walk->target, &walk->memory, &frame->raw, frame) < 0) {
            status->end = PYUNW_CORRUPT;
            status->depth = done;
            status->address = frame->raw.code;
            count = done;
        }
    }
    status->undescribed = pyunw_array_count_undescribed(array, count);
    return count;
}
