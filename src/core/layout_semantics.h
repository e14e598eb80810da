/*
 * How each version's fields are to be understood: one row a minor version, from its sources.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_LAYOUT_SEMANTICS_H
#define PYUNW_CORE_LAYOUT_SEMANTICS_H

#include "layout.h"

/* The bits of PyASCIIObject.state: up to 3.13, and all builds with the GIL. */
#define TEXT_BITS_PACKED .text_kind_shift = 2, .text_compact_bit = 5, .text_ascii_bit = 6
/* From 3.14 on, free-threaded builds give "interned" a byte of its own. */
#define TEXT_BITS_WIDE .text_kind_shift = 8, .text_compact_bit = 11, .text_ascii_bit = 12

static const struct layout_semantics layout_semantics[] = {
    /* f_executing is 1 in a frame that runs. */
    {.minor = 8,
     .table_format = TABLE_LNOTAB,
     .instruction_scale = 1,
     .executing_value = 1,
     TEXT_BITS_PACKED,
     .text_ready_bit = 7},
    {.minor = 9,
     .table_format = TABLE_LNOTAB,
     .instruction_scale = 1,
     .executing_value = 1,
     TEXT_BITS_PACKED,
     .text_ready_bit = 7},
    /* f_lasti counts code units; f_state is FRAME_EXECUTING, 0. */
    {.minor = 10,
     .table_format = TABLE_LINETABLE,
     .instruction_scale = 2,
     .executing_value = 0,
     TEXT_BITS_PACKED,
     .text_ready_bit = 7,
     .text_collecting = 1,
     .text_no_frame = 1},
    {.minor = 11,
     .attribute_format = ATTRIBUTES_VALUES,
     .managed_dict = 3,
     .table_format = TABLE_LOCATIONS,
     .has_cframe = 1,
     .generator_owner = 1,
     .frame_specials = 9,
     TEXT_BITS_PACKED,
     .text_ready_bit = 7,
     .text_collecting = 1,
     .text_no_frame = 1},
    /* FRAME_OWNED_BY_CSTACK is 3. */
    {.minor = 12,
     .attribute_format = ATTRIBUTES_TAGGED,
     .managed_dict = 3,
     .table_format = TABLE_LOCATIONS,
     .has_cframe = 1,
     .has_shims = 1,
     .generator_owner = 1,
     .hidden_owners = 1u << 3,
     .status_active = 1u << 4,
     TEXT_BITS_PACKED,
     .text_collecting = 1,
     .text_no_frame = 1},
    {.minor = 13,
     .attribute_format = ATTRIBUTES_INLINE,
     .managed_dict = 3,
     .table_format = TABLE_LOCATIONS,
     .has_shims = 1,
     .generator_owner = 1,
     .hidden_owners = 1u << 3,
     .status_active = 1u << 4,
     TEXT_BITS_PACKED,
     .text_collecting = 1,
     .text_no_frame = 1},
    /* FRAME_OWNED_BY_INTERPRETER is 3, FRAME_OWNED_BY_CSTACK 4; f_executable is a _PyStackRef. */
    {.minor = 14,
     .attribute_format = ATTRIBUTES_INLINE,
     .managed_dict = 3,
     .table_format = TABLE_LOCATIONS,
     .has_shims = 1,
     .generator_owner = 1,
     .hidden_owners = 1u << 3 | 1u << 4,
     .status_active = 1u << 4,
     .stackref_tags = 3,
     TEXT_BITS_PACKED,
     .text_collecting = 1,
     .text_thread_names = 1,
     .text_no_frame = 1},
    /* FRAME_EXECUTING is 4; a thread's bottom frame always exists. */
    {.minor = 15,
     .attribute_format = ATTRIBUTES_INLINE,
     .managed_dict = 3,
     .table_format = TABLE_LOCATIONS,
     .has_shims = 1,
     .generator_owner = 1,
     .generator_executing = 4,
     .hidden_owners = 1u << 3 | 1u << 4,
     .status_active = 1u << 4,
     .stackref_tags = 3,
     TEXT_BITS_PACKED,
     .text_collecting = 1,
     .text_thread_names = 1,
     .text_no_frame = 2},
};

#endif
