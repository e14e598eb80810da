/*
 * Captures of a thread that recurses without pause, one after the other, each held against what its stack can be: any
 * number of frames of one function, and what called it first.
 */
#include "pyunwind.h"

#include <stddef.h>

enum { ROOM = 256, ENDS = PYUNW_NO_FRAME + 1 };

struct stack_shape {
    pyunw_addr recursive; /* the code object that calls itself */
    uint64_t deepest;     /* frames of it at the most */
    uint64_t fixed_count; /* frames outward of them, always the same */
    pyunw_addr fixed[ROOM];
};

struct captures {
    uint64_t taken;
    uint64_t changes; /* of those: another depth than the one before, so the thread ran meanwhile */
    uint64_t ended[ENDS];
    uint64_t errors;
    uint64_t wrong;       /* stacks that cannot be */
    pyunw_status corrupt; /* the last of that end */
    int32_t wrong_count;  /* frames of the last wrong one */
    pyunw_status wrong_status;
};

static pyunw_frame frames[ROOM];

static int is_possible(const struct stack_shape *shape, int count)
{
    uint64_t recursions = 0;
    while (recursions < (uint64_t)count && frames[recursions].raw.code == shape->recursive)
        recursions++;
    if (recursions > shape->deepest || (uint64_t)count - recursions > shape->fixed_count)
        return 0;
    /* The frames that are given end with the root. */
    const pyunw_addr *fixed = shape->fixed + shape->fixed_count - ((uint64_t)count - recursions);
    if (recursions > 0 && fixed != shape->fixed)
        return 0;
    for (uint64_t n = 0; n < (uint64_t)count - recursions; n++) {
        if (frames[recursions + n].raw.code != fixed[n])
            return 0;
    }
    return 1;
}

/* At least rounds captures, and as many more as it takes to see so many changes, up to most. shape: NULL: any. */
void capture_often(const pyunw_target *target, pyunw_addr tstate, const struct stack_shape *shape, uint64_t rounds,
                   uint64_t changes, uint64_t most, struct captures *captures)
{
    int before = -1;
    while (captures->taken < rounds || (captures->changes < changes && captures->taken < most)) {
        pyunw_status status;
        int count = pyunw_capture(target, tstate, frames, ROOM, &status);
        captures->taken++;
        captures->changes += count != before;
        before = count;
        if (count < 0 || status.end < 0 || status.end >= ENDS) {
            captures->errors++;
            continue;
        }
        captures->ended[status.end]++;
        if (status.end == PYUNW_CORRUPT)
            captures->corrupt = status;
        if (shape != NULL && !is_possible(shape, count)) {
            captures->wrong++;
            captures->wrong_count = count;
            captures->wrong_status = status;
        }
    }
}
