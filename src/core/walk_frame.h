/*
 * The words of an interpreter frame (3.8-3.10: of a frame object), as the walk reads them.
 * Signal-safe: yes. Include from: the files of the walk.
 */
#ifndef PYUNW_CORE_WALK_FRAME_H
#define PYUNW_CORE_WALK_FRAME_H

#include "walk.h"

struct frame_fields {
    pyunw_addr executable;
    pyunw_addr previous;
    uint64_t instruction;
    int32_t tlbc_index;
    uint8_t owner;
    bool is_entry;
    bool runs; /* 3.8-3.10: is being executed */
};

ALWAYS_INLINE bool owner_is_hidden(const struct layout_semantics *is, uint8_t owner)
{
    return owner < 32 && (is->hidden_owners >> owner & 1u) != 0;
}

/* 0 thread, 1 generator; 2, a frame object, never stands in a running chain. */
ALWAYS_INLINE bool owner_is_python(uint8_t owner)
{
    return owner <= 1;
}

/* Read the words of a frame; false where they cannot be read. */
ALWAYS_INLINE bool read_frame_as(enum load_kind how, const struct layout_frame *at, const struct layout_semantics *is,
                                 struct walk *walk, pyunw_addr frame, struct frame_fields *fields)
{
    const uint8_t *view = walk->frame_scratch;
    int fault = 0;
    if (!plausible_address(frame))
        return false;
    if (how != LOAD_COPY) {
        view = (const uint8_t *)(uintptr_t)frame;
    } else if (walk->frame_in_scratch != frame) {
        walk->frame_in_scratch = 0;
        if (pyunw_read(&walk->memory, frame, walk->frame_scratch, at->size) < 0)
            return false;
        walk->frame_in_scratch = frame;
    }
    fields->executable = load_u64(how, view + at->executable, &fault) & ~(uint64_t)is->stackref_tags;
    fields->previous = load_u64(how, view + at->previous, &fault);
    fields->owner = 0;
    fields->is_entry = true;
    fields->runs = true;
    fields->tlbc_index = 0;
    if (is->instruction_scale != 0) {
        fields->instruction = load_u32(how, view + at->instruction, &fault);
        fields->runs = (int8_t)load_u8(how, view + at->executing, &fault) == is->executing_value;
        return fault == 0;
    }
    fields->instruction = load_u64(how, view + at->instruction, &fault);
    fields->owner = load_u8(how, view + at->owner, &fault);
    if (at->is_entry != 0)
        fields->is_entry = load_u8(how, view + at->is_entry, &fault) != 0;
    if (at->tlbc_index != 0)
        fields->tlbc_index = (int32_t)load_u32(how, view + at->tlbc_index, &fault);
    return fault == 0;
}

static inline bool read_frame(struct walk *walk, pyunw_addr frame, struct frame_fields *fields)
{
    const struct layout *layout = &walk->target->layout;
    switch (load_kind_of(&walk->memory)) {
    case LOAD_DIRECT:
        return read_frame_as(LOAD_DIRECT, &layout->at.frame, &layout->is, walk, frame, fields);
    case LOAD_TRAPPED:
        return read_frame_as(LOAD_TRAPPED, &layout->at.frame, &layout->is, walk, frame, fields);
    case LOAD_COPY:
        return read_frame_as(LOAD_COPY, &layout->at.frame, &layout->is, walk, frame, fields);
    }
    return false;
}

#endif
