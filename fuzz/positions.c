/*
 * Fuzz target: the decoders of lnotab (3.8, 3.9), the line table (3.10) and the location table (3.11+), fed a buffer at
 * a time, against decoders of the plainest kind over all the bytes (Objects/lnotab_notes.txt, Objects/locations.md).
 *
 * Input: format, bytes to be fetched at first, what is refused, first line (4), offset (4), table.
 */
#include "positions.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static const pyunw_addr TABLE_AT = UINT64_C(0x200000000000);

struct source {
    const uint8_t *bytes;
    size_t size;
    uint64_t reads;
    uint64_t refuse; /* number of the read that is refused, from 1; 0: none is */
};

static int read_table(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct source *source = context;
    source->reads++;
    REQUIRE(address >= TABLE_AT && address - TABLE_AT <= source->size && size <= source->size - (address - TABLE_AT));
    if (source->reads == source->refuse)
        return PYUNW_ERR_FAULT;
    memcpy(buffer, source->bytes + (address - TABLE_AT), size);
    return 0;
}

/* ---- The plainest decoders ---- */

static int32_t advance(int32_t line, int64_t delta)
{
    return (int32_t)((uint32_t)line + (uint32_t)delta);
}

/* addr2line of Objects/lnotab_notes.txt. */
static int plain_lnotab(const uint8_t *table, size_t size, int32_t line, int32_t offset, pyunw_position *position)
{
    int64_t address = 0;
    for (size_t n = 0; n + 2 <= size; n += 2) {
        address += table[n];
        if (address > offset)
            break;
        line = advance(line, (int8_t)table[n + 1]);
    }
    position->lineno = line;
    return 0;
}

static int plain_linetable(const uint8_t *table, size_t size, int32_t line, int32_t offset, pyunw_position *position)
{
    int64_t begin = 0;
    for (size_t n = 0; n + 2 <= size; n += 2) {
        bool has_line = table[n + 1] != 0x80;
        if (has_line)
            line = advance(line, (int8_t)table[n + 1]);
        if (offset >= begin && offset < begin + table[n]) {
            position->lineno = has_line ? line : -1;
            return 0;
        }
        begin += table[n];
    }
    return 0;
}

/* The next byte of an entry, which is none where bit 7 is set: that begins another. */
static bool plain_byte(struct input *input, unsigned *byte)
{
    if (input->left == 0 || (*input->at & 128) != 0)
        return false;
    *byte = (unsigned)take_number(input, 1);
    return true;
}

/* False where the entry ends first, or where the number is longer than any that CPython writes. */
static bool plain_varint(struct input *input, int64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift <= 30; shift += 6) {
        unsigned byte = 0;
        if (!plain_byte(input, &byte))
            return false;
        *value |= (int64_t)((uint64_t)(byte & 63) << shift);
        if ((byte & 64) == 0)
            return true;
    }
    return false;
}

static bool plain_line(struct input *input, unsigned code, int32_t *line)
{
    int64_t delta = 0;
    if (code >= 10 && code <= 12)
        delta = (int64_t)code - 10;
    if (code == 13 || code == 14) {
        if (!plain_varint(input, &delta))
            return false;
        delta = (delta & 1) != 0 ? -(delta >> 1) : delta >> 1;
    }
    *line = advance(*line, delta);
    return true;
}

static int plain_columns(struct input *input, unsigned code, int32_t line, pyunw_position *position)
{
    int64_t lines = 0;
    int64_t begin = 0;
    int64_t end = 0;
    if (code == 15)
        return 0;
    if (code < 13) {
        unsigned bytes[2] = {0, 0};
        if (!plain_byte(input, &bytes[0]) || (code >= 10 && !plain_byte(input, &bytes[1])))
            return PYUNW_ERR_CORRUPT;
        begin = (code < 10 ? (int64_t)(code << 3 | bytes[0] >> 4) : bytes[0]) + 1;
        end = (code < 10 ? begin + (bytes[0] & 15) : (int64_t)bytes[1] + 1);
    } else if (code == 14 &&
               !(plain_varint(input, &lines) && plain_varint(input, &begin) && plain_varint(input, &end))) {
        return PYUNW_ERR_CORRUPT;
    }
    *position = (pyunw_position){line, advance(line, lines), (int32_t)(begin - 1), (int32_t)(end - 1)};
    return 0;
}

static int plain_locations(const uint8_t *table, size_t size, int32_t line, int32_t offset, pyunw_position *position)
{
    struct input input = {table, size};
    int64_t end = 0;
    while (input.left > 0) {
        unsigned first = (unsigned)take_number(&input, 1);
        unsigned code = first >> 3 & 15;
        if ((first & 128) == 0 || !plain_line(&input, code, &line))
            return PYUNW_ERR_CORRUPT;
        end += 2 * (int64_t)((first & 7) + 1);
        if (offset < end)
            return plain_columns(&input, code, line, position);
        while (input.left > 0 && (*input.at & 128) == 0)
            (void)take_number(&input, 1);
    }
    return 0;
}

/* ---- The target ---- */

static void compare(enum table_format format, const uint8_t *table, size_t size, int32_t line, int32_t offset,
                    int result, const pyunw_position *position)
{
    static int (*const decoders[])(const uint8_t *, size_t, int32_t, int32_t, pyunw_position *) = {
        [TABLE_LNOTAB] = plain_lnotab, [TABLE_LINETABLE] = plain_linetable, [TABLE_LOCATIONS] = plain_locations};
    pyunw_position expected = NO_POSITION;
    int right = 0;
    if (offset < 0)
        expected.lineno = line;
    else
        right = decoders[format](table, size, line, offset, &expected);
    REQUIRE(result == right);
    REQUIRE(memcmp(position, right == 0 ? &expected : &NO_POSITION, sizeof *position) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    static const enum table_format formats[] = {TABLE_LOCATIONS, TABLE_LNOTAB, TABLE_LINETABLE, TABLE_LOCATIONS};
    enum table_format format = formats[take_number(&input, 1) & 3];
    size_t first = (size_t)take_number(&input, 1);
    uint64_t refuse = take_number(&input, 1);
    int32_t line = (int32_t)take_number(&input, 4);
    int32_t offset = (int32_t)take_number(&input, 4);
    struct source source = {.bytes = input.at, .size = input.left, .refuse = refuse};
    const pyunw_image image = {.size = sizeof image, .read = read_table, .context = &source};
    const struct memory memory = {.kind = MEMORY_IMAGE, .image = &image};
    struct byte_stream *stream = malloc(sizeof *stream);
    pyunw_position position;
    REQUIRE(stream != NULL);
    if (first > sizeof stream->buffer)
        first = sizeof stream->buffer;
    if (first > input.left)
        first = input.left;
    *stream = (struct byte_stream){.memory = &memory, .at = TABLE_AT + first, .left = input.left - first};
    memcpy(stream->buffer, input.at, first);
    stream->next = stream->buffer;
    stream->end = stream->buffer + first;
    int result = pyunw_position_decode(format, stream, line, offset, &position);
    free(stream);
    /* A refill leaves less than an entry in the buffer, and brings as much as the buffer has room for. */
    REQUIRE(source.reads <= input.left / (sizeof stream->buffer - 32) + 1);
    if (source.refuse == 0 || source.reads < source.refuse)
        compare(format, input.at, input.left, line, offset, result, &position);
    else
        REQUIRE(result == PYUNW_ERR_FAULT || result == PYUNW_ERR_CORRUPT);
    return 0;
}
