/*
 * A stack of any depth, frame by frame, for the writers.
 * Signal-safe: yes.
 */
#include "write_stack.h"

int pyunw_stack_begin(struct stack_stream *stream, const struct target *target, const struct memory *memory,
                      pyunw_addr tstate, bool still)
{
    stream->digest = (struct frame_digest){0};
    stream->has_changed = false;
    return pyunw_walk_begin(&stream->walk, target, memory, tstate, still ? THREAD_STANDS : THREAD_MAY_RUN);
}

int pyunw_stack_next(struct stack_stream *stream, pyunw_raw_frame *raw, struct code_fields *fields)
{
    struct walk *walk = &stream->walk;
    if (pyunw_walk_take(walk, raw, sizeof *raw, 1) == 0)
        return 0;
    digest_add(&stream->digest, raw);
    if (pyunw_code_read(walk->target, &walk->memory, raw->code, fields) == 0)
        return 1;
    walk->ended = true;
    walk->end = PYUNW_CORRUPT;
    walk->chain.next = 0;
    return 0;
}

enum pyunw_end pyunw_stack_end(struct stack_stream *stream)
{
    struct walk *walk = &stream->walk;
    enum pyunw_end end = (enum pyunw_end)walk->end;
    const struct target *target = walk->target;
    struct memory memory = walk->memory;
    if (stream->has_changed)
        return PYUNW_TORN;
    if (walk->still)
        return end;
    struct frame_digest again = {0};
    pyunw_raw_frame raw;
    if (pyunw_walk_begin(walk, target, &memory, walk->tstate, THREAD_MAY_RUN) < 0)
        return PYUNW_TORN;
    while (pyunw_walk_take(walk, &raw, sizeof raw, 1) == 1)
        digest_add(&again, &raw);
    return digest_equal(&again, &stream->digest) && walk->end == (uint8_t)end ? end : PYUNW_TORN;
}
