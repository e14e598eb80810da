/*
 * Decode CPython's line and location tables (Objects/lnotab_notes.txt, Objects/locations.md, PEP 626, PEP 657).
 * Each decoder reads forward to the entry that covers the offset, and never past the end of the table.
 * Signal-safe: yes.
 */
#include "positions.h"

/* The next byte, or -1 at the end. */
static int refill(struct byte_stream *stream)
{
    if (stream->left == 0 || stream->error < 0)
        return -1;
    size_t part = stream->left < sizeof stream->buffer ? (size_t)stream->left : sizeof stream->buffer;
    int err = pyunw_read(stream->memory, stream->at, stream->buffer, part);
    if (err < 0) {
        stream->error = err;
        return -1;
    }
    stream->at += part;
    stream->left -= part;
    stream->next = stream->buffer + 1;
    stream->end = stream->buffer + part;
    return stream->buffer[0];
}

ALWAYS_INLINE int next_byte(struct byte_stream *stream)
{
    return __builtin_expect(stream->next < stream->end, 1) ? *stream->next++ : refill(stream);
}

/* Line arithmetic on foreign numbers wraps instead of overflowing. */
ALWAYS_INLINE int32_t add_line(int32_t line, int64_t delta)
{
    return (int32_t)((uint32_t)line + (uint32_t)delta);
}

/* ---- 3.8, 3.9: co_lnotab, pairs of address and line increments ---- */

static int decode_lnotab(struct byte_stream *table, int32_t line, int32_t offset, pyunw_position *position)
{
    int32_t address = 0;
    for (;;) {
        int length = next_byte(table);
        int delta = length < 0 ? -1 : next_byte(table);
        if (delta < 0)
            break;
        address += length;
        if (address > offset)
            break;
        line = add_line(line, (int8_t)delta);
    }
    position->lineno = line;
    return table->error;
}

/* ---- 3.10: co_linetable of PEP 626, pairs of range length and line increment ---- */

static int decode_linetable(struct byte_stream *table, int32_t line, int32_t offset, pyunw_position *position)
{
    enum { NO_LINE = -128 };
    int32_t end = 0;
    for (;;) {
        int length = next_byte(table);
        int delta = length < 0 ? -1 : next_byte(table);
        if (delta < 0)
            return table->error;
        bool has_line = (int8_t)delta != NO_LINE;
        if (has_line)
            line = add_line(line, (int8_t)delta);
        end += length;
        if (offset < end) {
            position->lineno = has_line ? line : -1;
            return PYUNW_OK;
        }
    }
}

/* ---- 3.11+: the location table of PEP 657 ---- */

/* Six bits a byte, least significant first; 0x40 says that more follow. Negative at the end or past 32 bits. */
ALWAYS_INLINE int64_t next_varint(struct byte_stream *table)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 32; shift += 6) {
        int byte = next_byte(table);
        if (byte < 0)
            return -1;
        value |= (uint64_t)((unsigned)byte & 63u) << shift;
        if ((byte & 64) == 0)
            return (int64_t)value;
    }
    return -1;
}

enum location_code {
    LOCATION_ONE_LINE = 10, /* up to 12: the line advances by code - 10; below 10: same line, short form */
    LOCATION_NO_COLUMNS = 13,
    LOCATION_LONG = 14,
    LOCATION_NONE = 15,
};

struct location_entry {
    unsigned code;
    int units;
    int64_t line_delta;
    int64_t end_line_delta;
    int64_t column; /* as the table has them: -1 unknown */
    int64_t end_column;
};

ALWAYS_INLINE int64_t signed_of(int64_t value)
{
    return (value & 1) != 0 ? -(value >> 1) : value >> 1;
}

/* Read one entry: 1, 0 at the end of the table, or PYUNW_ERR_CORRUPT. */
ALWAYS_INLINE int next_entry(struct byte_stream *table, struct location_entry *entry)
{
    int first = next_byte(table);
    if (first < 0)
        return table->error < 0 ? table->error : 0;
    if ((first & 0x80) == 0)
        return PYUNW_ERR_CORRUPT;
    entry->code = (unsigned)first >> 3 & 15u;
    entry->units = (first & 7) + 1;
    entry->line_delta = 0;
    entry->end_line_delta = 0;
    entry->column = -1;
    entry->end_column = -1;
    if (entry->code == LOCATION_NONE)
        return 1;
    if (entry->code < LOCATION_ONE_LINE) {
        int byte = next_byte(table);
        entry->column = 8 * (int64_t)entry->code + (byte >> 4);
        entry->end_column = entry->column + (byte & 15);
        return byte >= 0 ? 1 : PYUNW_ERR_CORRUPT;
    }
    if (entry->code < LOCATION_NO_COLUMNS) {
        entry->line_delta = (int64_t)entry->code - LOCATION_ONE_LINE;
        entry->column = next_byte(table);
        entry->end_column = next_byte(table);
        return entry->end_column >= 0 ? 1 : PYUNW_ERR_CORRUPT;
    }
    int64_t delta = next_varint(table);
    if (delta < 0)
        return PYUNW_ERR_CORRUPT;
    entry->line_delta = signed_of(delta);
    if (entry->code == LOCATION_NO_COLUMNS)
        return 1;
    entry->end_line_delta = next_varint(table);
    int64_t column = next_varint(table);
    int64_t end_column = next_varint(table);
    if (entry->end_line_delta < 0 || column < 0 || end_column < 0)
        return PYUNW_ERR_CORRUPT;
    entry->column = column - 1;
    entry->end_column = end_column - 1;
    return 1;
}

static int decode_locations(struct byte_stream *table, int32_t line, int32_t offset, pyunw_position *position)
{
    int64_t end = 0;
    for (;;) {
        struct location_entry entry;
        int result = next_entry(table, &entry);
        if (result <= 0)
            return result;
        line = add_line(line, entry.line_delta);
        end += 2 * (int64_t)entry.units;
        if (offset >= end)
            continue;
        if (entry.code == LOCATION_NONE)
            return PYUNW_OK;
        position->lineno = line;
        position->end_lineno = add_line(line, entry.end_line_delta);
        position->colno = (int32_t)entry.column;
        position->end_colno = (int32_t)entry.end_column;
        return PYUNW_OK;
    }
}

int pyunw_position_decode(enum table_format format, struct byte_stream *table, int32_t firstlineno, int32_t offset,
                          pyunw_position *position)
{
    *position = NO_POSITION;
    if (offset < 0) {
        position->lineno = firstlineno;
        return PYUNW_OK;
    }
    switch (format) {
    case TABLE_LNOTAB:
        return decode_lnotab(table, firstlineno, offset, position);
    case TABLE_LINETABLE:
        return decode_linetable(table, firstlineno, offset, position);
    case TABLE_LOCATIONS:
        return decode_locations(table, firstlineno, offset, position);
    }
    return PYUNW_ERR_UNSUPPORTED;
}
