/*
 * Put native and Python frames into one order: each evaluation loop is replaced by the Python frames that it runs.
 * Pure: frames in, rows out.
 * Signal-safe: yes.
 */
#include "pyunwind_remote.h"

#include <stdbool.h>

static bool is_loop(const pyunw_native_frame *frame)
{
    return (frame->flags & PYUNW_NATIVE_EVALUATION_LOOP) != 0;
}

/* Where the parts of a loop end, whether or not the loop itself follows. */
static int behind_parts(const pyunw_native_frame *native, int count, int from)
{
    while (from < count && (native[from].flags & PYUNW_NATIVE_LOOP_PART) != 0)
        from++;
    return from;
}

static int count_loops(const pyunw_native_frame *native, int count)
{
    int loops = 0;
    for (int n = 0; n < count; n++)
        loops += is_loop(&native[n]);
    return loops;
}

static int count_entries(const pyunw_raw_frame *python, int count)
{
    int entries = 0;
    for (int n = 0; n < count; n++)
        entries += (python[n].flags & PYUNW_FRAME_ENTRY) != 0;
    return entries;
}

struct rows {
    pyunw_merged_frame *rows;
    int max;
    int count;
};

static bool add_row(struct rows *rows, int native, int python)
{
    if (rows->count == rows->max)
        return false;
    rows->rows[rows->count++] = (pyunw_merged_frame){native, python};
    return true;
}

/* The Python frames of one loop: up to and with the one that it was entered with. The next one, or -1: no room. */
static int add_python(struct rows *rows, const pyunw_raw_frame *python, int count, int from)
{
    for (int n = from; n < count; n++) {
        if (!add_row(rows, -1, n))
            return -1;
        if ((python[n].flags & PYUNW_FRAME_ENTRY) != 0)
            return n + 1;
    }
    return count;
}

int pyunw_native_merge(const pyunw_native_frame *native, int native_count, int native_end,
                       const pyunw_raw_frame *python, int python_count, const pyunw_status *status,
                       pyunw_merged_frame *rows, int max)
{
    bool has_arrays =
        (native != NULL || native_count == 0) && (python != NULL || python_count == 0) && (rows != NULL || max == 0);
    if (!has_arrays || native_count < 0 || python_count < 0 || max < 0 || status == NULL)
        return PYUNW_ERR_ARGUMENT;
    int loops = count_loops(native, native_count);
    int entries = count_entries(python, python_count);
    bool whole = status->end == PYUNW_COMPLETE || status->end == PYUNW_NO_FRAME;
    bool ends_with_entry = python_count == 0 || (python[python_count - 1].flags & PYUNW_FRAME_ENTRY) != 0;
    /* A loop that has just been entered, or is about to return, has no frame that shows: the innermost one. */
    int empty = loops - entries;
    if (!whole || !ends_with_entry || status->unconfirmed > 0 || empty < 0 || empty > 1 ||
        (empty == 1 && native_end != PYUNW_NATIVE_COMPLETE))
        return PYUNW_ERR_CORRUPT;
    struct rows made = {rows, max, 0};
    int next = 0;
    for (int n = 0; n < native_count; n++) {
        int loop = behind_parts(native, native_count, n);
        n = loop < native_count && is_loop(&native[loop]) ? loop : n;
        if (is_loop(&native[n]) && empty == 0)
            next = add_python(&made, python, python_count, next);
        else if (!add_row(&made, n, -1))
            next = -1;
        if (next < 0)
            return PYUNW_ERR_ARGUMENT;
        if (is_loop(&native[n]))
            empty = 0;
    }
    return made.count;
}
