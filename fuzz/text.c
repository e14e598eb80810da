/*
 * Fuzz target: str objects to UTF-8, in every layout.
 *
 * Input: minor, flags (1: free-threaded; 2: the type is known), room (2), the object's bytes, which the type and the
 * characters that lie elsewhere are looked for in, too.
 */
#include "text.h"
#include "bytes_at.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static const pyunw_addr OBJECT_AT = UINT64_C(0x200000001000);

/* ---- The plainest conversion: all of it at once ---- */

static size_t plain_character(uint32_t code_point, char *out)
{
    if (code_point >= 0xd800 && code_point < 0xe000) {
        static const char digits[] = "0123456789abcdef";
        const char escaped[6] = {
            '\\', 'u', 'd', digits[code_point >> 8 & 15], digits[code_point >> 4 & 15], digits[code_point & 15]};
        memcpy(out, escaped, sizeof escaped);
        return sizeof escaped;
    }
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    size_t more = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
    static const uint8_t firsts[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(firsts[more] | code_point >> 6 * more);
    for (size_t n = 1; n <= more; n++)
        out[n] = (char)(0x80 | (code_point >> 6 * (more - n) & 63));
    return 1 + more;
}

/* NULL where the characters are not all there, or one is none. */
static char *plain_utf8(const struct text *text, const struct bytes_at *bytes, size_t *length)
{
    *length = 0;
    if (text->length > bytes->size)
        return NULL;
    size_t size = (size_t)text->length * text->width;
    if (size > 0 && (text->data < OBJECT_AT || text->data - OBJECT_AT > bytes->size ||
                     size > bytes->size - (text->data - OBJECT_AT)))
        return NULL;
    char *out = malloc(6 * (size_t)text->length + 1);
    for (size_t n = 0; n < text->length; n++) {
        uint32_t code_point = 0;
        memcpy(&code_point, bytes->bytes + (text->data - OBJECT_AT) + n * text->width, text->width);
        if (code_point > 0x10ffff || (text->ascii && code_point >= 0x80)) {
            free(out);
            return NULL;
        }
        *length += plain_character(code_point, out + *length);
    }
    return out;
}

/* ---- The target ---- */

static bool is_boundary(const char *whole, size_t length, size_t at)
{
    return at == length || ((uint8_t)whole[at] & 0xc0) != 0x80;
}

static void compare(const struct text *text, const struct bytes_at *bytes, enum text_keep keep, size_t room)
{
    size_t whole_length = 0;
    size_t length = 0;
    size_t counted = 0;
    bool truncated = false;
    char *buffer = malloc(room);
    char *whole = plain_utf8(text, bytes, &whole_length);
    int result = pyunw_text_to_utf8(text, keep, buffer, room, &length, &truncated);
    require_text(buffer, room, length);
    if (whole != NULL) {
        REQUIRE(result == 0 && pyunw_text_utf8_length(text, &counted) == 0);
        REQUIRE(counted == whole_length && length <= whole_length);
        size_t from = keep == TEXT_KEEP_END ? whole_length - length : 0;
        REQUIRE(memcmp(buffer, whole + from, length) == 0);
        REQUIRE(truncated == (length < whole_length));
        /* No more is left out than the next character, of six bytes at most. */
        REQUIRE(!truncated || room - 1 - length < 6);
        REQUIRE(is_boundary(whole, whole_length, from + length) && is_boundary(whole, whole_length, from));
    } else {
        REQUIRE(result == 0 || result == PYUNW_ERR_FAULT || result == PYUNW_ERR_CORRUPT);
        REQUIRE(result == 0 || length == 0);
    }
    free(whole);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct target target = {.memory = PYUNW_MEMORY_IMAGE};
    struct text *text = malloc(sizeof *text);
    uint32_t minor = 8 + (uint32_t)take_number(&input, 1) % 8;
    unsigned flags = (unsigned)take_number(&input, 1);
    size_t room = 1 + take_number(&input, 2) % 1200;
    struct bytes_at bytes = {.address = OBJECT_AT, .bytes = input.at, .size = input.left};
    if (pyunw_layout_select(&target.layout, 3u << 24 | minor << 16, (flags & 1) != 0 && minor >= 13) == 0) {
        target.image = (pyunw_image){.size = sizeof target.image, .read = read_bytes_at, .context = &bytes};
        target.text_type = (flags & 2) != 0 ? OBJECT_AT : 0;
        struct memory memory = pyunw_safe_memory(&target);
        uint64_t bound = (flags & 4) != 0 ? MAX_TEXT : MAX_STR;
        int result = pyunw_text_open(&target, &memory, OBJECT_AT, bound, text);
        REQUIRE(result == 0 || result == PYUNW_ERR_FAULT || result == PYUNW_ERR_CORRUPT);
        if (result == 0) {
            REQUIRE(text->length < bound);
            compare(text, &bytes, TEXT_KEEP_BEGINNING, room);
            compare(text, &bytes, TEXT_KEEP_END, room);
        }
        /* Each of five passes over what is there, 8 characters a time, and what refuses. */
        REQUIRE(bytes.reads <= 100 + 6 * bytes.size);
    }
    free(text);
    return 0;
}
