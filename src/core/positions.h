/*
 * Decode CPython's line and location tables: instruction offset in, source position out.
 * Pure but for where the bytes come from. Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_POSITIONS_H
#define PYUNW_CORE_POSITIONS_H

#include "layout.h"
#include "memory.h"

/* The bytes of a table: in place where plain loads will do, else fetched a buffer at a time. */
struct byte_stream {
    const uint8_t *next;
    const uint8_t *end;
    const struct memory *memory;
    pyunw_addr at; /* of the bytes to be fetched next */
    uint64_t left; /* bytes that follow those in the buffer */
    int error;     /* 0, or why the stream ended early */
    uint8_t buffer[128];
};

static const pyunw_position NO_POSITION = {-1, -1, -1, -1};

/*
 * Find the position of an instruction.
 * offset: bytes; negative means before the first instruction, which is the first line's.
 * 0, also where the table says that there is none; PYUNW_ERR_CORRUPT for a table that breaks its own rules;
 * PYUNW_ERR_FAULT.
 */
int pyunw_position_decode(enum table_format format, struct byte_stream *table, int32_t firstlineno, int32_t offset,
                          pyunw_position *position);

#endif
