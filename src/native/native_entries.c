/*
 * Which native frame is the evaluation loop that a Python frame was entered with. From 3.12 on the loop keeps a frame
 * of its own, the entry frame, in a local variable (_PyEval_EvalFrameDefault: entry_frame), to which the first frame
 * that it runs links: what that link points to lies in the loop's part of the C stack.
 * Signal-safe: no.
 */
#include "native.h"

/* _PyInterpreterFrame.previous: in 3.12 to 3.15 behind the executable. */
enum { OFFSET_OF_PREVIOUS = 8 };

/* Entry frames lie the higher the further outward: from is where the search for the next one begins. -1: none. */
static int find_holder(const pyunw_native_frame *frames, int count, int from, pyunw_addr address)
{
    for (int n = from; n + 1 < count && frames[n].stack <= address; n++) {
        if (frames[n].stack != 0 && address < frames[n + 1].stack)
            return n;
    }
    return -1;
}

int pyunw_native_find_entries(pyunw_native *native, const pyunw_target *target, const pyunw_raw_frame *python,
                              int python_count, pyunw_native_frame *frames, int count)
{
    pyunw_target_info about;
    bool has_arrays = (python != NULL || python_count == 0) && (frames != NULL || count == 0);
    if (native == NULL || !has_arrays || python_count < 0 || count < 0)
        return PYUNW_ERR_ARGUMENT;
    int err = pyunw_target_describe(target, &about);
    if (err < 0)
        return err;
    for (int n = 0; n < count; n++)
        frames[n].entry = 0;
    if (about.version < 0x030c0000)
        return 0;
    int found = 0;
    int from = 0;
    for (int n = 0; n < python_count; n++) {
        Dwarf_Word entry_frame = 0;
        if ((python[n].flags & PYUNW_FRAME_ENTRY) == 0 ||
            !native->read_word(native->dwfl, python[n].frame + OFFSET_OF_PREVIOUS, &entry_frame, native->source))
            continue;
        int holder = find_holder(frames, count, from, entry_frame);
        if (holder < 0)
            continue;
        frames[holder].entry = python[n].frame;
        from = holder + 1;
        found++;
    }
    return found;
}
