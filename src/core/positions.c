/*
 * Decode CPython's line and location tables (Objects/lnotab_notes.txt, Objects/locations.md, PEP 626, PEP 657).
 * Each decoder reads forward to the entry that covers the offset, and never past the end of the table.
 * Signal-safe: yes.
 */
#include "positions.h"

/* The longest entry of any table: a first byte and four varints of six bytes. */
enum { LONGEST_ENTRY = 32 };

/* Fetch more behind what is left in the buffer. */
static void refill(struct byte_stream *stream)
{
    uint8_t kept[LONGEST_ENTRY];
    size_t have = (size_t)(stream->end - stream->next);
    size_t room = sizeof stream->buffer - have;
    size_t part = stream->left < room ? (size_t)stream->left : room;
    memcpy(kept, stream->next, have);
    memcpy(stream->buffer, kept, have);
    stream->error = pyunw_read(stream->memory, stream->at, stream->buffer + have, part);
    if (stream->error < 0)
        part = 0;
    stream->at += part;
    stream->left = stream->error < 0 ? 0 : stream->left - part;
    stream->next = stream->buffer;
    stream->end = stream->buffer + have + part;
}

/* See that the next entry lies in one piece, as far as the table goes. False at the end. */
ALWAYS_INLINE bool next_entry_ready(struct byte_stream *stream)
{
    if (__builtin_expect(stream->end - stream->next < LONGEST_ENTRY && stream->left > 0, 0))
        refill(stream);
    return stream->next < stream->end && stream->error == PYUNW_OK;
}

/* Line arithmetic on foreign numbers wraps instead of overflowing. */
ALWAYS_INLINE int32_t add_line(int32_t line, int64_t delta)
{
    return (int32_t)((uint32_t)line + (uint32_t)delta);
}

/* ---- 3.8, 3.9: co_lnotab, pairs of address and line increments ---- */

static int decode_lnotab(struct byte_stream *table, int32_t line, int32_t offset, pyunw_position *position)
{
    int64_t address = 0;
    while (next_entry_ready(table) && table->end - table->next >= 2) {
        address += table->next[0];
        if (address > offset)
            break;
        line = add_line(line, (int8_t)table->next[1]);
        table->next += 2;
    }
    if (table->error == PYUNW_OK)
        position->lineno = line;
    return table->error;
}

/* ---- 3.10: co_linetable of PEP 626, pairs of range length and line increment ---- */

static int decode_linetable(struct byte_stream *table, int32_t line, int32_t offset, pyunw_position *position)
{
    enum { NO_LINE = -128 };
    int64_t end = 0;
    while (next_entry_ready(table) && table->end - table->next >= 2) {
        int8_t delta = (int8_t)table->next[1];
        if (delta != NO_LINE)
            line = add_line(line, delta);
        end += table->next[0];
        table->next += 2;
        if (offset < end) {
            position->lineno = delta != NO_LINE ? line : -1;
            break;
        }
    }
    return table->error;
}

/* ---- 3.11+: the location table of PEP 657 ---- */

enum location_code {
    LOCATION_ONE_LINE = 10, /* up to 12: the line advances by code - 10; below 10: same line, short form */
    LOCATION_NO_COLUMNS = 13,
    LOCATION_LONG = 14,
    LOCATION_NONE = 15,
};

/* Bit 7 begins an entry: a byte that has it belongs to the next one. */
ALWAYS_INLINE bool begins_entry(unsigned byte)
{
    return (byte & 0x80u) != 0;
}

/* Six bits a byte, least significant first; 0x40 says that more follow. Negative at the end or past 32 bits. */
ALWAYS_INLINE int64_t next_varint(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 32 && *at < end && !begins_entry(**at); shift += 6) {
        unsigned byte = *(*at)++;
        value |= (uint64_t)(byte & 63u) << shift;
        if ((byte & 64u) == 0)
            return (int64_t)value;
    }
    return -1;
}

ALWAYS_INLINE int64_t signed_of(int64_t value)
{
    return (value & 1) != 0 ? -(value >> 1) : value >> 1;
}

/* The line that an entry advances to; *at is behind its first byte, and then behind what tells of the line. */
ALWAYS_INLINE bool advance_line(unsigned code, const uint8_t **at, const uint8_t *end, int32_t *line)
{
    if (code < LOCATION_ONE_LINE || code == LOCATION_NONE)
        return true;
    if (code < LOCATION_NO_COLUMNS) {
        *line = add_line(*line, (int64_t)code - LOCATION_ONE_LINE);
        return true;
    }
    int64_t delta = next_varint(at, end);
    *line = add_line(*line, signed_of(delta));
    return delta >= 0;
}

/* The rest of the entry that covers the offset. */
static int decode_columns(unsigned code, const uint8_t *at, const uint8_t *end, int32_t line, pyunw_position *position)
{
    int64_t end_line_delta = 0;
    int64_t column = -1;
    int64_t end_column = -1;
    if (code < LOCATION_ONE_LINE) {
        if (end - at < 1 || begins_entry(at[0]))
            return PYUNW_ERR_CORRUPT;
        column = 8 * (int64_t)code + (at[0] >> 4);
        end_column = column + (at[0] & 15);
    } else if (code < LOCATION_NO_COLUMNS) {
        if (end - at < 2 || begins_entry(at[0]) || begins_entry(at[1]))
            return PYUNW_ERR_CORRUPT;
        column = at[0];
        end_column = at[1];
    } else if (code == LOCATION_LONG) {
        end_line_delta = next_varint(&at, end);
        column = next_varint(&at, end);
        end_column = next_varint(&at, end);
        if (end_line_delta < 0 || column < 0 || end_column < 0)
            return PYUNW_ERR_CORRUPT;
        column--;
        end_column--;
    }
    position->lineno = line;
    position->end_lineno = add_line(line, end_line_delta);
    position->colno = (int32_t)column;
    position->end_colno = (int32_t)end_column;
    return PYUNW_OK;
}

/* Where a decoder has come to: an entry, and what the entries before it add up to. */
struct place {
    const uint8_t *entry;
    int32_t line;
    int64_t begin; /* instruction offset where the entry begins */
};

#define IN_EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* The sum of eight bytes that add up to less than 256. */
ALWAYS_INLINE unsigned sum_of_bytes(uint64_t bytes)
{
    return (unsigned)(bytes * IN_EACH_BYTE(1) >> 56);
}

/* Which of eight codes (0 to 15, one a byte) are the given one: 0x10 in each such byte. */
ALWAYS_INLINE uint64_t bytes_with(uint64_t codes, unsigned code)
{
    return ~((codes ^ IN_EACH_BYTE(code)) + IN_EACH_BYTE(15)) & IN_EACH_BYTE(16);
}

/* Add up the entries that begin in a word, all at once. False where one of them tells its line by further bytes. */
ALWAYS_INLINE bool add_entries(uint64_t word, uint64_t firsts, struct place *next)
{
    uint64_t codes = word >> 3 & IN_EACH_BYTE(15);
    uint64_t begins = firsts >> 3; /* 0x10 in each first byte, as bytes_with() has it */
    uint64_t one = bytes_with(codes, LOCATION_ONE_LINE + 1) & begins;
    uint64_t two = bytes_with(codes, LOCATION_ONE_LINE + 2) & begins;
    if (((bytes_with(codes, LOCATION_NO_COLUMNS) | bytes_with(codes, LOCATION_LONG)) & begins) != 0)
        return false;
    uint64_t ones = firsts >> 7; /* 1 in each first byte */
    next->begin += 2 * (int64_t)sum_of_bytes((word & 7 * ones) + ones);
    next->line = add_line(next->line, sum_of_bytes((one >> 4) + (two >> 3)));
    return true;
}

/*
 * Pass entries that end before the offset, as long as whole words can be loaded: in each word the entries' first bytes,
 * which alone have bit 7 set, are found at once. Stops at the entry that covers the offset, or at an earlier one.
 */
ALWAYS_INLINE void skip_entries(struct place *place, const uint8_t *end, int32_t offset)
{
    static const int32_t advances[] = {[LOCATION_ONE_LINE + 1] = 1, [LOCATION_ONE_LINE + 2] = 2, [LOCATION_NONE] = 0};
    const uint8_t *at = place->entry;
    struct place next = *place;
    for (; end - at > (ptrdiff_t)sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t firsts = word & UINT64_C(0x8080808080808080);
        struct place after = next;
        if (firsts != 0 && add_entries(word, firsts, &after) && after.begin <= offset) {
            *place = next;
            place->entry = at + __builtin_ctzll(firsts) / 8;
            next = after;
            continue;
        }
        for (; firsts != 0; firsts &= firsts - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(firsts) - 7;
            unsigned first = word >> bit & 127u;
            unsigned code = first >> 3;
            *place = next;
            place->entry = at + bit / 8;
            next.begin += 2 * (int64_t)(first & 7u) + 2;
            if (offset < next.begin)
                return;
            int32_t delta = advances[code];
            if (code == LOCATION_NO_COLUMNS || code == LOCATION_LONG) {
                unsigned byte = place->entry[1];
                if (byte >= 64) /* more bytes follow, or none stands here */
                    return;
                delta = (int32_t)signed_of(byte);
            }
            next.line = add_line(next.line, delta);
        }
    }
}

static int decode_locations(struct byte_stream *table, int32_t line, int32_t offset, pyunw_position *position)
{
    struct place place = {.line = line};
    while (next_entry_ready(table)) {
        place.entry = table->next;
        if (!begins_entry(place.entry[0])) {
            if (place.begin == 0)
                return PYUNW_ERR_CORRUPT;
            /* What is left of an entry that is longer than any, and has ended the buffer. */
            table->next++;
            continue;
        }
        skip_entries(&place, table->end, offset);
        table->next = place.entry;
        if (!next_entry_ready(table))
            break;
        const uint8_t *at = table->next;
        const uint8_t *end = table->end;
        unsigned first = *at++;
        unsigned code = first >> 3 & 15u;
        if (!advance_line(code, &at, end, &place.line))
            return PYUNW_ERR_CORRUPT;
        place.begin += 2 * (int64_t)(first & 7u) + 2;
        if (offset < place.begin)
            return code == LOCATION_NONE ? PYUNW_OK : decode_columns(code, at, end, place.line, position);
        while (at < end && !begins_entry(*at))
            at++;
        table->next = at;
    }
    return table->error;
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
