/*
 * Read CPython's str objects (Include/cpython/unicodeobject.h): compact and not, subclasses, and the legacy strings
 * of 3.8-3.11 that hold only a wchar_t buffer.
 * Signal-safe: yes.
 */
#include "text.h"

enum { TPFLAGS_UNICODE_SUBCLASS = 1 << 28 };

static bool is_text_type(const struct target *target, const struct memory *memory, pyunw_addr type)
{
    uint64_t flags = 0;
    if (type == target->text_type && type != 0)
        return true;
    return plausible_address(type) && pyunw_read_u64(memory, type + target->layout.at.object.tp_flags, &flags) == 0 &&
           (flags & TPFLAGS_UNICODE_SUBCLASS) != 0;
}

static uint64_t word_of(const uint8_t *bytes, uint32_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

/* 3.8-3.11: a string that was never made ready has its characters in wstr (wchar_t is 4 bytes on Linux). */
static int open_wide(const struct target *target, const uint8_t *header, uint64_t bound, struct text *text)
{
    const struct layout_text *at = &target->layout.at.text;
    if (at->wide == 0)
        return PYUNW_ERR_CORRUPT;
    text->data = word_of(header, at->wide);
    text->length = word_of(header, at->wide_length);
    text->width = 4;
    text->ascii = false;
    return text->data != 0 && text->length < bound ? PYUNW_OK : PYUNW_ERR_CORRUPT;
}

int pyunw_text_open(const struct target *target, const struct memory *memory, pyunw_addr object, uint64_t bound,
                    struct text *text)
{
    const struct layout *layout = &target->layout;
    const struct layout_text *at = &layout->at.text;
    uint32_t header_size = at->any_data + 8;
    if (!plausible_address(object))
        return PYUNW_ERR_CORRUPT;
    /* Where reading is dear, the characters that follow are fetched with the header. */
    size_t wanted = load_kind_of(memory) == LOAD_COPY ? sizeof text->buffer : header_size;
    int got = pyunw_read_some(memory, object, text->buffer, at->ascii_data, wanted);
    if (got < 0)
        return got;
    text->memory = memory;
    text->buffered = 0;
    text->buffered_at = 0;
    uint32_t state = (uint32_t)word_of(text->buffer, at->state);
    bool compact = (state >> layout->is.text_compact_bit & 1u) != 0;
    bool ready = layout->is.text_ready_bit == 0 || (state >> layout->is.text_ready_bit & 1u) != 0;
    if (!is_text_type(target, memory, word_of(text->buffer, layout->at.object.type)))
        return PYUNW_ERR_CORRUPT;
    text->length = word_of(text->buffer, at->length);
    text->width = (uint8_t)(state >> layout->is.text_kind_shift & 7u);
    text->ascii = (state >> layout->is.text_ascii_bit & 1u) != 0;
    if ((!compact || !ready) && (uint32_t)got < header_size) {
        int err = pyunw_read(memory, object, text->buffer, header_size);
        if (err < 0)
            return err;
        got = (int)header_size;
    }
    if (!ready)
        return open_wide(target, text->buffer, bound, text);
    bool has_width = text->width == 1 || (!text->ascii && (text->width == 2 || text->width == 4));
    if (text->length >= bound || !has_width)
        return PYUNW_ERR_CORRUPT;
    if (!compact) {
        text->data = word_of(text->buffer, at->any_data);
        return text->data != 0 ? PYUNW_OK : PYUNW_ERR_CORRUPT;
    }
    uint32_t data_at = text->ascii ? at->ascii_data : at->compact_data;
    text->data = object + data_at;
    if ((uint32_t)got > data_at) {
        text->buffered = (uint16_t)((uint32_t)got - data_at);
        text->buffered_at = (uint16_t)data_at;
    }
    return PYUNW_OK;
}

/* ---- Code points ---- */

void pyunw_text_begin(const struct text *text, uint64_t index, struct text_reader *reader)
{
    reader->text = text;
    reader->index = index;
    reader->first = 0;
    reader->count = 0;
    reader->error = PYUNW_OK;
}

static int fetch(struct text_reader *reader)
{
    const struct text *text = reader->text;
    uint64_t left = text->length - reader->index;
    uint64_t room = sizeof reader->buffer / text->width;
    uint64_t count = left < room ? left : room;
    uint64_t skip = reader->index * text->width;
    size_t bytes = (size_t)(count * text->width);
    int err = PYUNW_OK;
    if (skip + bytes <= text->buffered)
        memcpy(reader->buffer, text->buffer + text->buffered_at + skip, bytes);
    else
        err = pyunw_read(text->memory, text->data + skip, reader->buffer, bytes);
    reader->first = reader->index;
    reader->count = err < 0 ? 0 : count;
    return err;
}

int pyunw_text_next(struct text_reader *reader, uint32_t *code_point)
{
    if (reader->index >= reader->text->length)
        return 0;
    if (reader->index - reader->first >= reader->count) {
        int err = fetch(reader);
        if (err < 0)
            return err;
    }
    const uint8_t *at = reader->buffer + (reader->index - reader->first) * reader->text->width;
    uint32_t value = at[0];
    if (reader->text->width >= 2)
        value |= (uint32_t)at[1] << 8;
    if (reader->text->width == 4)
        value |= (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    if (value > 0x10ffff || (reader->text->ascii && value > 127))
        return PYUNW_ERR_CORRUPT;
    *code_point = value;
    reader->index++;
    return 1;
}

bool pyunw_text_can_be_read(const struct text *text, uint64_t count)
{
    struct text_reader reader;
    uint32_t code_point = 0;
    int result = 1;
    pyunw_text_begin(text, 0, &reader);
    while (result == 1 && reader.index < count)
        result = pyunw_text_next(&reader, &code_point);
    return result >= 0;
}

/* ---- UTF-8 ---- */

size_t pyunw_utf8_encode(uint32_t code_point, char out[6])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xc0u | code_point >> 6);
        out[1] = (char)(0x80u | (code_point & 63u));
        return 2;
    }
    if (code_point >= 0xd800 && code_point < 0xe000) {
        out[0] = '\\';
        out[1] = 'u';
        for (unsigned n = 0; n < 4; n++)
            out[2 + n] = hex_digit(code_point >> (12 - 4 * n));
        return 6;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xe0u | code_point >> 12);
        out[1] = (char)(0x80u | (code_point >> 6 & 63u));
        out[2] = (char)(0x80u | (code_point & 63u));
        return 3;
    }
    out[0] = (char)(0xf0u | code_point >> 18);
    out[1] = (char)(0x80u | (code_point >> 12 & 63u));
    out[2] = (char)(0x80u | (code_point >> 6 & 63u));
    out[3] = (char)(0x80u | (code_point & 63u));
    return 4;
}

static size_t utf8_size(uint32_t code_point)
{
    if (code_point < 0x800)
        return code_point < 0x80 ? 1 : 2;
    if (code_point >= 0xd800 && code_point < 0xe000)
        return 6;
    return code_point < 0x10000 ? 3 : 4;
}

/* Bytes of the code points from index on. */
static int utf8_length_from(const struct text *text, uint64_t index, size_t *length)
{
    struct text_reader reader;
    uint32_t code_point = 0;
    int result = 0;
    *length = 0;
    pyunw_text_begin(text, index, &reader);
    while ((result = pyunw_text_next(&reader, &code_point)) == 1)
        *length += utf8_size(code_point);
    return result;
}

int pyunw_text_utf8_length(const struct text *text, size_t *length)
{
    if (text->ascii) {
        *length = (size_t)text->length;
        return PYUNW_OK;
    }
    return utf8_length_from(text, 0, length);
}

/* An object that says "ASCII" is copied as it is; that it is, is checked eight bytes at a time. */
static int copy_ascii(const struct text *text, uint64_t index, char *buffer, size_t count)
{
    int err = PYUNW_OK;
    if (index + count <= text->buffered)
        memcpy(buffer, text->buffer + text->buffered_at + index, count);
    else
        err = pyunw_read(text->memory, text->data + index, buffer, count);
    uint64_t high = 0;
    size_t done = 0;
    for (; count - done >= sizeof high; done += sizeof high)
        high |= word_of((const uint8_t *)buffer, (uint32_t)done);
    for (; done < count; done++)
        high |= (uint8_t)buffer[done];
    if (err == PYUNW_OK && (high & UINT64_C(0x8080808080808080)) != 0)
        err = PYUNW_ERR_CORRUPT;
    return err;
}

/* Copy count bytes where they lie: false where one is not ASCII, or cannot be read. */
ALWAYS_INLINE bool copy_ascii_in_place(enum load_kind how, const uint8_t *from, char *to, size_t count)
{
    int fault = 0;
    uint64_t high = 0;
    size_t done = 0;
    for (; count - done >= sizeof high; done += sizeof high) {
        uint64_t word = load_bytes(how, from + done, &fault);
        high |= word;
        memcpy(to + done, &word, sizeof word);
    }
    if (done < count && count >= sizeof high) {
        /* The rest together with some of what was copied. */
        uint64_t word = load_bytes(how, from + count - sizeof high, &fault);
        high |= word;
        memcpy(to + count - sizeof high, &word, sizeof word);
        done = count;
    }
    for (; done < count; done++) {
        uint8_t byte = load_u8(how, from + done, &fault);
        high |= byte;
        to[done] = (char)byte;
    }
    return !fault && (high & UINT64_C(0x8080808080808080)) == 0;
}

ALWAYS_INLINE bool copy_ascii_as(enum load_kind how, const struct target *target, pyunw_addr object,
                                 enum text_keep keep, char *buffer, size_t size, size_t *length, bool *truncated)
{
    const struct layout *layout = &target->layout;
    const struct layout_text *at = &layout->at.text;
    const uint8_t *view = (const uint8_t *)(uintptr_t)object;
    int fault = 0;
    if (!plausible_address(object))
        return false;
    pyunw_addr type = load_u64(how, view + layout->at.object.type, &fault);
    uint64_t characters = load_u64(how, view + at->length, &fault);
    uint32_t state = load_u32(how, view + at->state, &fault);
    uint32_t plain = layout->plain_text;
    if (fault || type != target->text_type || type == 0 || (state & plain) != plain || characters >= MAX_TEXT)
        return false;
    size_t count = characters < size ? (size_t)characters : size - 1;
    uint64_t skip = keep == TEXT_KEEP_END ? characters - count : 0;
    *truncated = count < characters;
    *length = count;
    buffer[count] = '\0';
    return copy_ascii_in_place(how, view + at->ascii_data + skip, buffer, count);
}

bool pyunw_text_copy_ascii(const struct target *target, const struct memory *memory, pyunw_addr object,
                           enum text_keep keep, char *buffer, size_t size, size_t *length, bool *truncated)
{
    switch (load_kind_of(memory)) {
    case LOAD_DIRECT:
        return copy_ascii_as(LOAD_DIRECT, target, object, keep, buffer, size, length, truncated);
    case LOAD_TRAPPED:
        return copy_ascii_as(LOAD_TRAPPED, target, object, keep, buffer, size, length, truncated);
    case LOAD_COPY:
        return false;
    }
    return false;
}

/* The first code point from which on all fits into room bytes; each takes at least one. */
static int find_end_that_fits(const struct text *text, size_t room, uint64_t *index)
{
    struct text_reader reader;
    size_t length = 0;
    uint32_t code_point = 0;
    *index = text->length > room ? text->length - room : 0;
    int err = utf8_length_from(text, *index, &length);
    if (err < 0)
        return err;
    pyunw_text_begin(text, *index, &reader);
    while (length > room) {
        err = pyunw_text_next(&reader, &code_point);
        if (err != 1)
            return err < 0 ? err : PYUNW_ERR_TORN;
        size_t size = utf8_size(code_point);
        length = size < length ? length - size : 0;
    }
    *index = reader.index;
    return PYUNW_OK;
}

int pyunw_text_to_utf8(const struct text *text, enum text_keep keep, char *buffer, size_t size, size_t *length,
                       bool *truncated)
{
    size_t room = size - 1;
    uint64_t index = 0;
    int result = PYUNW_OK;
    *length = 0;
    *truncated = text->length > room;
    buffer[0] = '\0';
    if (text->ascii) {
        size_t count = *truncated ? room : (size_t)text->length;
        if (*truncated && keep == TEXT_KEEP_END)
            index = text->length - room;
        result = copy_ascii(text, index, buffer, count);
        *length = result < 0 ? 0 : count;
        buffer[*length] = '\0';
        return result;
    }
    if (keep == TEXT_KEEP_END) {
        result = find_end_that_fits(text, room, &index);
        if (result < 0)
            return result;
        *truncated = index > 0;
    }
    struct text_reader reader;
    uint32_t code_point = 0;
    size_t done = 0;
    pyunw_text_begin(text, index, &reader);
    while ((result = pyunw_text_next(&reader, &code_point)) == 1) {
        char bytes[6];
        size_t count = pyunw_utf8_encode(code_point, bytes);
        if (count > room - done) {
            *truncated = true;
            result = 0;
            break;
        }
        memcpy(buffer + done, bytes, count);
        done += count;
    }
    *length = result < 0 ? 0 : done;
    buffer[*length] = '\0';
    return result;
}
