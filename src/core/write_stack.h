/*
 * What the writers have in common: a stack of any depth, frame by frame, without an array. The stack of a thread that
 * runs on meanwhile is walked again when it was written; where the two walks differ it is called torn. So is one with a
 * text that has changed while it was written.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_WRITE_STACK_H
#define PYUNW_CORE_WRITE_STACK_H

#include "code.h"
#include "digest.h"
#include "walk.h"

struct stack_stream {
    struct walk walk;
    struct frame_digest digest;
    bool has_changed; /* a text could be read, and then not be written */
};

/* Begin; errors of pyunw_walk_begin(). */
int pyunw_stack_begin(struct stack_stream *stream, const struct target *target, const struct memory *memory,
                      pyunw_addr tstate, bool still);

/* 1 for one more frame with the words of its code; 0 at the end. */
int pyunw_stack_next(struct stack_stream *stream, pyunw_raw_frame *raw, struct code_fields *fields);

/* How it ended; TORN where it is not the same stack any more. */
enum pyunw_end pyunw_stack_end(struct stack_stream *stream);

#endif
