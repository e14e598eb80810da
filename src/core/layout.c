/*
 * Choosing a layout: the row of offsets that the headers gave, and the row of behaviour that the sources gave.
 * Signal-safe: yes.
 */
#include "layout.h"

#include "layout_tables.h"
#include "pyunwind.h"

#include <stddef.h>

/* The bits of PyASCIIObject.state: up to 3.13, and all builds with the GIL. */
#define TEXT_BITS_PACKED .text_kind_shift = 2, .text_compact_bit = 5, .text_ascii_bit = 6
/* From 3.14 on, free-threaded builds give "interned" a byte of its own. */
#define TEXT_BITS_WIDE .text_kind_shift = 8, .text_compact_bit = 11, .text_ascii_bit = 12

static const struct layout_semantics semantics[] = {
    /* f_executing is 1 in a frame that runs. */
    {.minor = 8, .table_format = TABLE_LNOTAB, .instruction_scale = 1, .executing_value = 1, TEXT_BITS_PACKED,
     .text_ready_bit = 7},
    {.minor = 9, .table_format = TABLE_LNOTAB, .instruction_scale = 1, .executing_value = 1, TEXT_BITS_PACKED,
     .text_ready_bit = 7},
    /* f_lasti counts code units; f_state is FRAME_EXECUTING, 0. */
    {.minor = 10, .table_format = TABLE_LINETABLE, .instruction_scale = 2, .executing_value = 0, TEXT_BITS_PACKED,
     .text_ready_bit = 7, .text_collecting = 1, .text_no_frame = 1},
    {.minor = 11, .table_format = TABLE_LOCATIONS, .has_cframe = 1, .generator_owner = 1, .frame_specials = 9,
     TEXT_BITS_PACKED, .text_ready_bit = 7, .text_collecting = 1, .text_no_frame = 1},
    /* FRAME_OWNED_BY_CSTACK is 3. */
    {.minor = 12, .table_format = TABLE_LOCATIONS, .has_cframe = 1, .has_shims = 1, .generator_owner = 1,
     .hidden_owners = 1u << 3, .status_active = 1u << 4, TEXT_BITS_PACKED, .text_collecting = 1, .text_no_frame = 1},
    {.minor = 13, .table_format = TABLE_LOCATIONS, .has_shims = 1, .generator_owner = 1, .hidden_owners = 1u << 3,
     .status_active = 1u << 4, TEXT_BITS_PACKED, .text_collecting = 1, .text_no_frame = 1},
    /* FRAME_OWNED_BY_INTERPRETER is 3, FRAME_OWNED_BY_CSTACK 4; f_executable is a _PyStackRef. */
    {.minor = 14, .table_format = TABLE_LOCATIONS, .has_shims = 1, .generator_owner = 1,
     .hidden_owners = 1u << 3 | 1u << 4, .status_active = 1u << 4, .stackref_tags = 3, TEXT_BITS_PACKED,
     .text_collecting = 1, .text_thread_names = 1, .text_no_frame = 1},
    /* FRAME_EXECUTING is 4; a thread's bottom frame always exists. */
    {.minor = 15, .table_format = TABLE_LOCATIONS, .has_shims = 1, .generator_owner = 1, .generator_executing = 4,
     .hidden_owners = 1u << 3 | 1u << 4, .status_active = 1u << 4, .stackref_tags = 3, TEXT_BITS_PACKED,
     .text_collecting = 1, .text_thread_names = 1, .text_no_frame = 2},
};

enum { SEMANTICS_COUNT = sizeof semantics / sizeof semantics[0] };
_Static_assert(SEMANTICS_COUNT == LAYOUT_MINOR_LAST - LAYOUT_MINOR_FIRST + 1, "one row of semantics a minor version");

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
    layout->is = semantics[minor - LAYOUT_MINOR_FIRST];
    if (free_threaded && minor >= 14) {
        static const struct layout_semantics wide = {TEXT_BITS_WIDE};
        layout->is.text_kind_shift = wide.text_kind_shift;
        layout->is.text_compact_bit = wide.text_compact_bit;
        layout->is.text_ascii_bit = wide.text_ascii_bit;
    }
    return pyunw_layout_derive(layout);
}

int pyunw_layout_derive(struct layout *layout)
{
    const struct layout_thread *at = &layout->at.thread;
    const uint32_t read_fields[] = {at->prev,       at->next,      at->interp, at->frame,
                                    at->base_frame, at->status,    at->state,  at->thread_id,
                                    at->id,         at->native_thread_id, at->datastack_chunk, at->datastack_top};
    uint32_t span = 0;
    for (size_t n = 0; n < sizeof read_fields / sizeof read_fields[0]; n++) {
        if (read_fields[n] + 8 > span)
            span = read_fields[n] + 8;
    }
    layout->thread_span = span;
    bool fits = span <= LAYOUT_THREAD_SPAN_MAX && layout->at.frame.size <= LAYOUT_FRAME_SIZE_MAX &&
                layout->at.code.size <= LAYOUT_CODE_SIZE_MAX;
    return fits ? PYUNW_OK : PYUNW_ERR_LAYOUT;
}
