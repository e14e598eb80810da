/*
 * Choosing a layout: the row of offsets that the headers gave, and the row of behaviour that the sources gave.
 * Signal-safe: yes.
 */
#include "layout.h"

#include "layout_semantics.h"
#include "layout_tables.h"
#include "pyunwind.h"

#include <stddef.h>
#include <string.h>

enum { LAYOUT_SEMANTICS_COUNT = sizeof layout_semantics / sizeof layout_semantics[0] };
_Static_assert(LAYOUT_SEMANTICS_COUNT == LAYOUT_MINOR_LAST - LAYOUT_MINOR_FIRST + 1,
               "one row of semantics a minor version");

static const struct layout_offsets *find_offsets(uint32_t minor, bool free_threaded)
{
    for (size_t n = 0; n < sizeof layout_tables / sizeof layout_tables[0]; n++) {
        if (layout_tables[n].minor == minor && (layout_tables[n].free_threaded != 0) == free_threaded)
            return &layout_tables[n];
    }
    return NULL;
}

int pyunw_layout_select(struct layout *layout, uint32_t version, bool free_threaded)
{
    uint32_t major = version >> 24;
    uint32_t minor = version >> 16 & 0xffu;
    if (major != 3 || minor < LAYOUT_MINOR_FIRST || minor > LAYOUT_MINOR_LAST)
        return PYUNW_ERR_UNSUPPORTED;
    const struct layout_offsets *offsets = find_offsets(minor, free_threaded);
    if (offsets == NULL)
        return PYUNW_ERR_UNSUPPORTED;
    layout->at = *offsets;
    layout->is = layout_semantics[minor - LAYOUT_MINOR_FIRST];
    if (free_threaded)
        layout->is.managed_dict = 1;
    if (free_threaded && minor >= 14) {
        static const struct layout_semantics wide = {TEXT_BITS_WIDE};
        layout->is.text_kind_shift = wide.text_kind_shift;
        layout->is.text_compact_bit = wide.text_compact_bit;
        layout->is.text_ascii_bit = wide.text_ascii_bit;
    }
    return pyunw_layout_derive(layout);
}

/* The row whose frames and code objects are exactly this layout's, or LAYOUT_NO_ROW. */
static uint8_t find_row(const struct layout *layout)
{
    const struct layout_offsets *row = find_offsets(layout->at.minor, layout->at.free_threaded != 0);
    if (row == NULL || memcmp(&row->frame, &layout->at.frame, sizeof row->frame) != 0 ||
        memcmp(&row->code, &layout->at.code, sizeof row->code) != 0 ||
        memcmp(&row->object, &layout->at.object, sizeof row->object) != 0)
        return LAYOUT_NO_ROW;
    return (uint8_t)(row - layout_tables);
}

int pyunw_layout_derive(struct layout *layout)
{
    const struct layout_thread *at = &layout->at.thread;
    const uint32_t read_fields[] = {at->prev,       at->next,   at->interp,          at->frame,
                                    at->base_frame, at->status, at->state,           at->gil_requested,
                                    at->thread_id,  at->id,     at->native_thread_id};
    uint32_t span = 0;
    for (size_t n = 0; n < sizeof read_fields / sizeof read_fields[0]; n++) {
        if (read_fields[n] + 8 > span)
            span = read_fields[n] + 8;
    }
    layout->thread_span = span;
    layout->plain_text =
        1u << layout->is.text_kind_shift | 1u << layout->is.text_compact_bit | 1u << layout->is.text_ascii_bit;
    if (layout->is.text_ready_bit != 0)
        layout->plain_text |= 1u << layout->is.text_ready_bit;
    layout->row = find_row(layout);
    bool fits = span <= LAYOUT_THREAD_SPAN_MAX && layout->at.frame.size <= LAYOUT_FRAME_SIZE_MAX &&
                layout->at.code.size <= LAYOUT_CODE_SIZE_MAX;
    return fits ? PYUNW_OK : PYUNW_ERR_LAYOUT;
}
