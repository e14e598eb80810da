/*
 * Tell a memory that takes hints what a walk is about to read, so that it brings all of it at once.
 * Signal-safe: yes.
 */
#include "walk_frame.h"

enum { LOOK_AHEAD = 256 }; /* frames */

/* 3.8-3.10: each code object's bytecode is an object of its own, whose size is looked at. */
static void expect_bytecode(struct walk *walk, pyunw_addr code)
{
    const struct layout_offsets *at = &walk->target->layout.at;
    pyunw_addr bytecode = 0;
    if (read_word(walk, code + at->code.bytecode_object, &bytecode) && plausible_address(bytecode))
        memory_expect(&walk->memory, bytecode, at->bytes.data);
}

static void expect_codes(struct walk *walk, bool bytecode)
{
    struct frame_fields fields;
    pyunw_addr frame = walk->chain.next;
    for (int n = 0; n < LOOK_AHEAD && read_frame(walk, frame, &fields); n++, frame = fields.previous) {
        if (!plausible_address(fields.executable))
            continue;
        if (bytecode)
            expect_bytecode(walk, fields.executable);
        else
            memory_expect(&walk->memory, fields.executable, walk->target->layout.at.code.size);
    }
}

void pyunw_walk_expect(struct walk *walk)
{
    if (!memory_takes_hints(&walk->memory))
        return;
    expect_codes(walk, false);
    if (walk->target->layout.is.instruction_scale != 0)
        expect_codes(walk, true);
    pyunw_expect_thread_behind(walk->target, &walk->memory, walk->tstate);
}
