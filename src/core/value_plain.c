/*
 * Describe the values that hold no others: int, float, str, bytes.
 * Signal-safe: yes.
 */
#include "number.h"
#include "text.h"
#include "value.h"

/* ---- Numbers ---- */

static NOINLINE void put_decimal(struct writer *writer, const uint32_t *digits, uint64_t count)
{
    char text[BIG_TEXT_SIZE];
    struct big number = {.count = 0};
    while (count-- > 0)
        pyunw_big_multiply_add(&number, UINT32_C(1) << DIGIT_BITS, digits[count]);
    pyunw_value_text_bytes(&writer->text, text, pyunw_big_to_text(&number, text));
}

/* Hexadecimal digits from the most significant bit on; cut as a text is. */
static void put_hexadecimal(struct writer *writer, pyunw_addr digits, uint64_t count)
{
    uint64_t held = 0; /* bits that were read and not written */
    uint32_t held_bits = 0;
    uint32_t missing = (uint32_t)((4 - count * DIGIT_BITS % 4) % 4);
    bool leading = true;
    int written = 0;
    held_bits = missing;
    put(writer, "0x");
    while (count-- > 0) {
        uint32_t digit = 0;
        if (pyunw_read_u32(&writer->reader.memory, digits + count * sizeof digit, &digit) < 0 ||
            digit >> DIGIT_BITS != 0) {
            put_unreadable(writer);
            return;
        }
        if (writer->text.full)
            return;
        held = held << DIGIT_BITS | digit;
        for (held_bits += DIGIT_BITS; held_bits >= 4; held_bits -= 4) {
            char nibble = hex_digit(held >> (held_bits - 4));
            leading = leading && nibble == '0';
            if (leading)
                continue;
            if (written++ == writer->limits.characters) {
                put_cut(writer);
                return;
            }
            pyunw_value_text_bytes(&writer->text, &nibble, 1);
        }
    }
}

/* The count of digits and the sign: 0 or an error. */
static int read_int_size(struct writer *writer, pyunw_addr object, uint64_t *count, bool *negative)
{
    const struct layout_offsets *at = &writer->reader.target->layout.at;
    uint64_t word = 0;
    if (at->number.long_tag != 0) {
        int err = pyunw_object_read_word(&writer->reader, object + at->number.long_tag, &word);
        *count = word >> 3;
        *negative = (word & 3) == 2;
        return err;
    }
    int err = pyunw_object_read_word(&writer->reader, object + at->object.var_size, &word);
    *negative = (int64_t)word < 0;
    *count = *negative ? 0 - word : word;
    return err;
}

/* CPython leaves no leading zero: where one stands, the count is wrong, or this is no int. */
static bool has_leading_zero(struct writer *writer, pyunw_addr digits, uint64_t count)
{
    uint32_t first = 0;
    return count > 0 && pyunw_object_read_int(&writer->reader, digits + (count - 1) * sizeof first, &first) == 0 &&
           first == 0;
}

void pyunw_value_put_int(struct writer *writer, pyunw_addr object, bool is_bool)
{
    static const uint64_t many_digits = UINT64_C(1) << 32;
    uint32_t digits[BIG_DIGITS];
    pyunw_addr digits_at = object + writer->reader.target->layout.at.number.long_digit;
    uint64_t count = 0;
    bool negative = false;
    int err = read_int_size(writer, object, &count, &negative);
    if (err < 0 || count > many_digits || (is_bool && count > 1) || has_leading_zero(writer, digits_at, count)) {
        put_unreadable(writer);
        return;
    }
    if (is_bool) {
        put(writer, count == 0 ? "False" : "True");
        return;
    }
    if (count > BIG_DIGITS) {
        put(writer, negative ? "-" : "");
        put_hexadecimal(writer, digits_at, count);
        return;
    }
    for (uint64_t n = 0; n < count && err == 0; n++) {
        err = pyunw_object_read_int(&writer->reader, digits_at + n * sizeof digits[0], &digits[n]);
        if (err == 0 && digits[n] >> DIGIT_BITS != 0)
            err = PYUNW_ERR_CORRUPT;
    }
    if (err < 0) {
        put_unreadable(writer);
        return;
    }
    put(writer, negative ? "-" : "");
    put_decimal(writer, digits, count);
}

void pyunw_value_put_float(struct writer *writer, pyunw_addr object)
{
    char text[FLOAT_TEXT_SIZE];
    uint64_t bits = 0;
    if (pyunw_object_read_word(&writer->reader, object + writer->reader.target->layout.at.number.float_value, &bits) <
        0)
        put_unreadable(writer);
    else
        pyunw_value_text_bytes(&writer->text, text, pyunw_float_to_text(bits, text));
}

/* ---- Texts ---- */

/* No quote is escaped then. */
static const char NO_QUOTE = '\0';

/* The quote that repr() takes: ' unless only that one is inside. */
struct quotes {
    bool has_single;
    bool has_double;
};

static void see(struct quotes *quotes, uint32_t code_point)
{
    quotes->has_single |= code_point == '\'';
    quotes->has_double |= code_point == '"';
}

static char quote_of(const struct quotes *quotes)
{
    return quotes->has_single && !quotes->has_double ? '"' : '\'';
}

/* The characters that may be shown: as many as the limit says, and no more than there is room for. */
static uint64_t characters_to_show(const struct writer *writer)
{
    size_t room = writer->text.full ? 0 : writer->text.size - writer->text.used;
    return room < (size_t)writer->limits.characters ? room : (size_t)writer->limits.characters;
}

/* Read what is to be shown: to look which quotes it holds, or (quotes is NULL) to write it between them. */
static NOINLINE int pass_over_text(struct writer *writer, const struct text *text, char quote, struct quotes *quotes)
{
    uint64_t count = characters_to_show(writer);
    struct text_reader characters;
    uint32_t code_point = 0;
    int result = 0;
    pyunw_text_begin(text, 0, &characters);
    for (uint64_t n = 0; n < count && !writer->text.full; n++) {
        result = pyunw_text_next(&characters, &code_point);
        if (result != 1)
            return result;
        if (quotes != NULL)
            see(quotes, code_point);
        else
            pyunw_value_text_quoted(&writer->text, code_point, quote);
    }
    return 0;
}

void pyunw_value_put_str(struct writer *writer, pyunw_addr object)
{
    struct text text;
    struct quotes quotes = {false, false};
    if (pyunw_text_open(writer->reader.target, &writer->reader.memory, object, MAX_STR, &text) < 0 ||
        pass_over_text(writer, &text, NO_QUOTE, &quotes) < 0) {
        put_unreadable(writer);
        return;
    }
    char quote = quote_of(&quotes);
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    int err = pass_over_text(writer, &text, quote, NULL);
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    if (err < 0)
        put_unreadable(writer);
    else if (text.length > (uint64_t)writer->limits.characters)
        put_cut(writer);
}

static int pass_over_bytes(struct writer *writer, pyunw_addr data, uint64_t size, char quote, struct quotes *quotes)
{
    uint64_t count = characters_to_show(writer);
    for (uint64_t n = 0; n < size && n < count && !writer->text.full; n++) {
        uint8_t byte = 0;
        int err = pyunw_object_read_byte(&writer->reader, data + n, &byte);
        if (err < 0)
            return err;
        if (quotes != NULL)
            see(quotes, byte);
        else
            pyunw_value_text_quoted_byte(&writer->text, byte, quote);
    }
    return 0;
}

void pyunw_value_put_bytes(struct writer *writer, pyunw_addr object)
{
    static const uint64_t many_bytes = UINT64_C(1) << 56;
    const struct layout_bytes *at = &writer->reader.target->layout.at.bytes;
    struct quotes quotes = {false, false};
    uint64_t size = 0;
    if (pyunw_object_read_word(&writer->reader, object + at->size, &size) < 0 || size > many_bytes ||
        pass_over_bytes(writer, object + at->data, size, NO_QUOTE, &quotes) < 0) {
        put_unreadable(writer);
        return;
    }
    char quote = quote_of(&quotes);
    put(writer, "b");
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    int err = pass_over_bytes(writer, object + at->data, size, quote, NULL);
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    if (err < 0)
        put_unreadable(writer);
    else if (size > (uint64_t)writer->limits.characters)
        put_cut(writer);
}

void pyunw_value_put_attribute_name(struct writer *writer, pyunw_addr object)
{
    struct text text;
    if (pyunw_text_open(writer->reader.target, &writer->reader.memory, object, MAX_STR, &text) < 0 ||
        pass_over_text(writer, &text, NO_QUOTE, NULL) < 0)
        put_unreadable(writer);
    else if (text.length > (uint64_t)writer->limits.characters)
        put_cut(writer);
}
