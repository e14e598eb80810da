/*
 * Put native and Python frames into one order: each evaluation loop is replaced by the Python frames that it runs.
 * Pure: frames in, rows out.
 * Signal-safe: yes.
 */
#include "pyunwind_remote.h"

#include <stdbool.h>

struct stacks {
    const pyunw_native_frame *native;
    int native_count;
    const pyunw_raw_frame *python;
    int python_count;
    bool by_entry; /* each entry's loop was found; else loops are told by name */
    int empty;     /* by name: innermost loops without a frame, 0 or 1 */
    pyunw_merged_frame *rows;
    int max;
    int count;
};

static bool is_entry(const pyunw_raw_frame *frame)
{
    return (frame->flags & PYUNW_FRAME_ENTRY) != 0;
}

static bool is_named_loop(const pyunw_native_frame *frame)
{
    return (frame->flags & PYUNW_NATIVE_EVALUATION_LOOP) != 0;
}

static bool is_loop(const struct stacks *stacks, const pyunw_native_frame *frame)
{
    return stacks->by_entry ? frame->entry != 0 : is_named_loop(frame);
}

static int count_entries(const struct stacks *stacks)
{
    int entries = 0;
    for (int n = 0; n < stacks->python_count; n++)
        entries += is_entry(&stacks->python[n]);
    return entries;
}

static int count_loops(const struct stacks *stacks)
{
    int loops = 0;
    for (int n = 0; n < stacks->native_count; n++)
        loops += is_loop(stacks, &stacks->native[n]);
    return loops;
}

/* Has the loop of each entry been found, in the same order? */
static bool has_all_entries(const struct stacks *stacks)
{
    int at = 0;
    for (int n = 0; n < stacks->python_count; n++) {
        if (!is_entry(&stacks->python[n]))
            continue;
        while (at < stacks->native_count && stacks->native[at].entry != stacks->python[n].frame)
            at++;
        if (at++ >= stacks->native_count)
            return false;
    }
    return count_entries(stacks) > 0;
}

/* Is it certain which Python frames each loop runs? */
static bool fit(struct stacks *stacks, bool native_whole)
{
    const pyunw_raw_frame *last = stacks->python_count > 0 ? &stacks->python[stacks->python_count - 1] : NULL;
    if (last != NULL && !is_entry(last))
        return false;
    stacks->by_entry = has_all_entries(stacks);
    if (stacks->by_entry)
        return true;
    stacks->empty = count_loops(stacks) - count_entries(stacks);
    return stacks->empty == 0 || (stacks->empty == 1 && native_whole);
}

static bool add_row(struct stacks *stacks, int native, int python)
{
    if (stacks->count == stacks->max)
        return false;
    stacks->rows[stacks->count++] = (pyunw_merged_frame){native, python};
    return true;
}

/* The Python frames of one loop: up to and with the one that it was entered with. The next one, or -1: no room. */
static int add_python(struct stacks *stacks, int from)
{
    for (int n = from; n < stacks->python_count; n++) {
        if (!add_row(stacks, -1, n))
            return -1;
        if (is_entry(&stacks->python[n]))
            return n + 1;
    }
    return stacks->python_count;
}

/* A part of a loop that gives way goes with it. */
static bool is_part(const struct stacks *stacks, int at)
{
    const pyunw_native_frame *native = stacks->native;
    if ((native[at].flags & PYUNW_NATIVE_LOOP_PART) == 0 || native[at].entry != 0)
        return false;
    while (at < stacks->native_count && (native[at].flags & PYUNW_NATIVE_LOOP_PART) != 0)
        at++;
    return at < stacks->native_count && is_loop(stacks, &native[at]) && stacks->empty == 0;
}

static int make_rows(struct stacks *stacks)
{
    int next = 0;
    for (int n = 0; n < stacks->native_count; n++) {
        bool loop = is_loop(stacks, &stacks->native[n]);
        if (is_part(stacks, n))
            continue;
        if (loop && stacks->empty == 0)
            next = add_python(stacks, next);
        else if (!add_row(stacks, n, -1))
            next = -1;
        if (next < 0)
            return PYUNW_ERR_ARGUMENT;
        if (loop)
            stacks->empty = 0;
    }
    return stacks->count;
}

int pyunw_native_merge(const pyunw_native_frame *native, int native_count, int native_end,
                       const pyunw_raw_frame *python, int python_count, const pyunw_status *status,
                       pyunw_merged_frame *rows, int max)
{
    struct stacks stacks = {
        .native = native,
        .native_count = native_count,
        .python = python,
        .python_count = python_count,
        .rows = rows,
        .max = max,
    };
    bool has_arrays =
        (native != NULL || native_count == 0) && (python != NULL || python_count == 0) && (rows != NULL || max == 0);
    if (!has_arrays || native_count < 0 || python_count < 0 || max < 0 || status == NULL)
        return PYUNW_ERR_ARGUMENT;
    bool whole = (status->end == PYUNW_COMPLETE || status->end == PYUNW_NO_FRAME) && status->unconfirmed == 0;
    if (!whole || !fit(&stacks, native_end == PYUNW_NATIVE_COMPLETE))
        return PYUNW_ERR_CORRUPT;
    return make_rows(&stacks);
}
