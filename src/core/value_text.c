/*
 * Write the text of values into a caller's buffer.
 * Signal-safe: yes.
 */
#include "value_text.h"

#include "text.h"

#include <string.h>

static const char ellipsis[] = "...";
_Static_assert(VALUE_TEXT_SIZE_MIN > sizeof ellipsis, "there is room for more than the mark of what was dropped");

void pyunw_value_text_bytes(struct value_text *text, const char *bytes, size_t size)
{
    size_t room = text->size - sizeof ellipsis - text->used;
    if (text->full || size > room) {
        text->full = true;
        return;
    }
    memcpy(text->buffer + text->used, bytes, size);
    text->used += size;
}

void pyunw_value_text_string(struct value_text *text, const char *string)
{
    size_t length = 0;
    while (string[length] != '\0')
        length++;
    pyunw_value_text_bytes(text, string, length);
}

void pyunw_value_text_hex(struct value_text *text, uint64_t value)
{
    char digits[18];
    size_t first = sizeof digits;
    do {
        digits[--first] = hex_digit(value);
        value >>= 4;
    } while (value != 0);
    digits[--first] = 'x';
    digits[--first] = '0';
    pyunw_value_text_bytes(text, digits + first, sizeof digits - first);
}

static void write_escape(struct value_text *text, char letter, uint32_t value, size_t digits)
{
    char bytes[10] = {'\\', letter};
    for (size_t n = 0; n < digits; n++)
        bytes[2 + n] = hex_digit(value >> (4 * (digits - 1 - n)));
    pyunw_value_text_bytes(text, bytes, 2 + digits);
}

/*
 * What repr() escapes because it is invisible, or would turn the text around it: controls, separators, format
 * characters, private use. Those that no version of Unicode has assigned yet, and rare format characters, are not here.
 */
static bool is_invisible(uint32_t code_point)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
        {0x6dd, 0x6dd},   {0x70f, 0x70f},   {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},
        {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},   {0xd800, 0xf8ff},   {0xfeff, 0xfeff},
        {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff},
    };
    for (size_t n = 0; n < sizeof ranges / sizeof ranges[0]; n++) {
        if (code_point <= ranges[n].last)
            return code_point >= ranges[n].first;
    }
    return true;
}

/* The letter behind the backslash, or 0. */
static char short_escape(uint32_t code_point, char quote)
{
    switch (code_point) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\\':
        return '\\';
    default:
        break;
    }
    if (code_point == (uint8_t)quote)
        return quote;
    return '\0';
}

void pyunw_value_text_quoted(struct value_text *text, uint32_t code_point, char quote)
{
    char bytes[6] = {0};
    char letter = short_escape(code_point, quote);
    if (letter != '\0')
        write_escape(text, letter, 0, 0);
    else if (!is_invisible(code_point))
        pyunw_value_text_bytes(text, bytes, pyunw_utf8_encode(code_point, bytes));
    else if (code_point < 0x100)
        write_escape(text, 'x', code_point, 2);
    else if (code_point < 0x10000)
        write_escape(text, 'u', code_point, 4);
    else
        write_escape(text, 'U', code_point, 8);
}

void pyunw_value_text_quoted_byte(struct value_text *text, uint8_t byte, char quote)
{
    if (byte < 0x80)
        pyunw_value_text_quoted(text, byte, quote);
    else
        write_escape(text, 'x', byte, 2);
}

size_t pyunw_utf8_decode(const uint8_t *bytes, size_t size, uint32_t *code_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t first = size > 0 ? bytes[0] : 0xff;
    size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t value = length == 1 ? first : first & (0x7fu >> length);
    for (size_t n = 1; n < length; n++) {
        if ((bytes[n] & 0xc0u) != 0x80)
            return 0;
        value = value << 6 | (bytes[n] & 0x3fu);
    }
    *code_point = value;
    return value >= least[length] && value <= 0x10ffff && (value < 0xd800 || value >= 0xe000) ? length : 0;
}

size_t pyunw_value_text_end(struct value_text *text)
{
    if (text->full) {
        memcpy(text->buffer + text->used, ellipsis, sizeof ellipsis - 1);
        text->used += sizeof ellipsis - 1;
    }
    text->buffer[text->used] = '\0';
    return text->used;
}
