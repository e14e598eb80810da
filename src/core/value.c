/*
 * Describe a value as repr() would, within limits: read from memory, never by code of the target.
 *
 * Containers within containers are kept on a small stack of their own, so that neither depth nor a cycle costs more
 * than PYUNW_VALUE_DEPTH_MAX levels.
 * Signal-safe: yes.
 */
#include "items.h"
#include "number.h"
#include "text.h"
#include "value_text.h"

/* What of a container is to be written next. */
enum stage { STAGE_KEY, STAGE_VALUE, STAGE_NEXT };

/* A container that is being written. */
struct level {
    struct items items;
    pyunw_addr key; /* or item */
    pyunw_addr value;
    int32_t written; /* items */
    uint8_t kind;    /* enum object_kind */
    uint8_t stage;   /* enum stage */
    bool subclass;
};

struct writer {
    struct object_reader reader;
    struct value_text text;
    pyunw_value_limits limits;
    uint32_t flags; /* enum pyunw_value_flags */
    int depth;      /* levels in use */
    struct level levels[PYUNW_VALUE_DEPTH_MAX];
};

/* Large frames are needed one after the other, not within each other. */
#define NOINLINE __attribute__((noinline))

static void put(struct writer *writer, const char *string)
{
    pyunw_value_text_string(&writer->text, string);
}

static void put_unreadable(struct writer *writer)
{
    put(writer, "<unreadable>");
    writer->flags |= PYUNW_VALUE_UNREADABLE;
}

static void put_cut(struct writer *writer)
{
    put(writer, "...");
    writer->flags |= PYUNW_VALUE_TRUNCATED;
}

/* ---- Names ---- */

/* Bytes that should be UTF-8: what is not, and what is invisible, is escaped. */
static void put_name(struct writer *writer, const char *name)
{
    for (size_t n = 0; n < TYPE_NAME_SIZE && name[n] != '\0';) {
        uint32_t code_point = 0;
        size_t length = pyunw_utf8_decode((const uint8_t *)name + n, TYPE_NAME_SIZE - n, &code_point);
        if (length == 0)
            pyunw_value_text_quoted_byte(&writer->text, (uint8_t)name[n++], '\0');
        else
            pyunw_value_text_quoted(&writer->text, code_point, '\0');
        n += length;
    }
}

static void put_type_name(struct writer *writer, const struct object_type *type)
{
    put_name(writer, type->name);
    if (type->name_cut)
        put_cut(writer);
}

static void put_object(struct writer *writer, pyunw_addr object, const struct object_type *type)
{
    put(writer, "<");
    put_type_name(writer, type);
    put(writer, " object at ");
    pyunw_value_text_hex(&writer->text, object);
}

static void put_class(struct writer *writer, pyunw_addr object)
{
    struct object_type described = {.address = object};
    put(writer, "<class '");
    if (pyunw_object_describe_type(&writer->reader, &described) < 0)
        put_unreadable(writer);
    else
        put_type_name(writer, &described);
    put(writer, "'>");
}

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
        held = held << DIGIT_BITS | digit;
        for (held_bits += DIGIT_BITS; held_bits >= 4; held_bits -= 4) {
            char nibble = "0123456789abcdef"[held >> (held_bits - 4) & 15u];
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

static NOINLINE void put_int(struct writer *writer, pyunw_addr object, bool is_bool)
{
    static const uint64_t many_digits = UINT64_C(1) << 32;
    uint32_t digits[BIG_DIGITS];
    pyunw_addr digits_at = object + writer->reader.target->layout.at.number.long_digit;
    uint64_t count = 0;
    bool negative = false;
    int err = read_int_size(writer, object, &count, &negative);
    if (err < 0 || count > many_digits || (is_bool && count > 1)) {
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

static NOINLINE void put_float(struct writer *writer, pyunw_addr object)
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

/* Between these a text is written as it is, but for what is invisible. */
enum { NO_QUOTE = 1 };

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

/* Read what is to be shown: to look which quotes it holds, or to write it between them (quote is not 0). */
static NOINLINE int pass_over_text(struct writer *writer, const struct text *text, char quote, struct quotes *quotes)
{
    struct text_reader characters;
    uint32_t code_point = 0;
    int result = 0;
    pyunw_text_begin(text, 0, &characters);
    for (int n = 0; n < writer->limits.characters; n++) {
        result = pyunw_text_next(&characters, &code_point);
        if (result != 1)
            return result;
        if (quote == '\0')
            see(quotes, code_point);
        else
            pyunw_value_text_quoted(&writer->text, code_point, quote);
    }
    return 0;
}

static NOINLINE void put_str(struct writer *writer, pyunw_addr object)
{
    struct text text;
    struct quotes quotes = {false, false};
    if (pyunw_text_open(writer->reader.target, &writer->reader.memory, object, &text) < 0 ||
        pass_over_text(writer, &text, '\0', &quotes) < 0) {
        put_unreadable(writer);
        return;
    }
    char quote = quote_of(&quotes);
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    int err = pass_over_text(writer, &text, quote, &quotes);
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    if (err < 0)
        put_unreadable(writer);
    else if (text.length > (uint64_t)writer->limits.characters)
        put_cut(writer);
}

static int pass_over_bytes(struct writer *writer, pyunw_addr data, uint64_t size, char quote, struct quotes *quotes)
{
    for (uint64_t n = 0; n < size && n < (uint64_t)writer->limits.characters; n++) {
        uint8_t byte = 0;
        int err = pyunw_object_read_byte(&writer->reader, data + n, &byte);
        if (err < 0)
            return err;
        if (quote == '\0')
            see(quotes, byte);
        else
            pyunw_value_text_quoted_byte(&writer->text, byte, quote);
    }
    return 0;
}

static NOINLINE void put_bytes(struct writer *writer, pyunw_addr object)
{
    static const uint64_t many_bytes = UINT64_C(1) << 56;
    const struct layout_bytes *at = &writer->reader.target->layout.at.bytes;
    struct quotes quotes = {false, false};
    uint64_t size = 0;
    if (pyunw_object_read_word(&writer->reader, object + at->size, &size) < 0 || size > many_bytes ||
        pass_over_bytes(writer, object + at->data, size, '\0', &quotes) < 0) {
        put_unreadable(writer);
        return;
    }
    char quote = quote_of(&quotes);
    put(writer, "b");
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    int err = pass_over_bytes(writer, object + at->data, size, quote, &quotes);
    pyunw_value_text_bytes(&writer->text, &quote, 1);
    if (err < 0)
        put_unreadable(writer);
    else if (size > (uint64_t)writer->limits.characters)
        put_cut(writer);
}

/* ---- Containers ---- */

struct brackets {
    const char *open;
    const char *close;
    const char *empty;
};

static const struct brackets *brackets_of(uint8_t kind)
{
    static const struct brackets brackets[] = {
        [OBJECT_OTHER] = {"", ">", ""},
        [OBJECT_TUPLE] = {"(", ")", "()"},
        [OBJECT_LIST] = {"[", "]", "[]"},
        [OBJECT_DICT] = {"{", "}", "{}"},
        [OBJECT_FROZENDICT] = {"frozendict({", "})", "frozendict()"},
        [OBJECT_SET] = {"{", "}", "set()"},
        [OBJECT_FROZENSET] = {"frozenset({", "})", "frozenset()"},
    };
    return &brackets[kind];
}

static bool has_values(uint8_t kind)
{
    return kind == OBJECT_DICT || kind == OBJECT_FROZENDICT || kind == OBJECT_OTHER;
}

static void put_end(struct writer *writer, const char *bracket, bool subclass)
{
    put(writer, bracket);
    put(writer, subclass ? ")" : "");
}

static NOINLINE void begin_container(struct writer *writer, pyunw_addr object, const struct object_type *type)
{
    struct level level = {.kind = (uint8_t)type->kind, .stage = STAGE_KEY, .subclass = type->subclass};
    const struct brackets *brackets = brackets_of(level.kind);
    int result = pyunw_items_begin(&writer->reader, object, type->kind, &level.items);
    if (result == 0)
        result = pyunw_items_next(&writer->reader, &level.items, &level.key, &level.value);
    if (result == 0) {
        put_end(writer, brackets->empty, level.subclass);
        return;
    }
    if (result < 0 && writer->reader.slots_left > 0) {
        put_unreadable(writer);
        put_end(writer, "", level.subclass);
        return;
    }
    put(writer, brackets->open);
    if (result == 1 && writer->depth < writer->limits.depth) {
        writer->levels[writer->depth++] = level;
        return;
    }
    put_cut(writer);
    put_end(writer, brackets->close, level.subclass);
}

/* Go on to the next item, or end the container. */
static void advance(struct writer *writer, struct level *level)
{
    int result = pyunw_items_next(&writer->reader, &level->items, &level->key, &level->value);
    level->stage = STAGE_KEY;
    if (result != 0)
        put(writer, ", ");
    if (result == 1 && level->written < writer->limits.items)
        return;
    if (result == 1 || (result < 0 && writer->reader.slots_left == 0))
        put_cut(writer);
    else if (result < 0)
        put_unreadable(writer);
    else if (level->kind == OBJECT_TUPLE && level->written == 1)
        put(writer, ",");
    put_end(writer, brackets_of(level->kind)->close, level->subclass);
    writer->depth--;
}

/* ---- Instances ---- */

/* Only the outermost of instances within each other tells its attributes. */
static bool is_in_instance(const struct writer *writer)
{
    for (int n = 0; n < writer->depth; n++) {
        if (writer->levels[n].kind == OBJECT_OTHER)
            return true;
    }
    return false;
}

/* What is no class of Python code may have attributes, too, but not ones that tell what it is. */
static NOINLINE void begin_instance(struct writer *writer, pyunw_addr object, const struct object_type *type)
{
    struct level level = {.kind = OBJECT_OTHER, .stage = STAGE_KEY};
    put_object(writer, object, type);
    int result = 0;
    if (type->is_class && !is_in_instance(writer))
        result = pyunw_items_begin_attributes(&writer->reader, object, type, &level.items);
    if (result == 0)
        result = pyunw_items_next(&writer->reader, &level.items, &level.key, &level.value);
    if (result != 0)
        put(writer, ": ");
    if (result == 1 && writer->depth < writer->limits.depth) {
        writer->levels[writer->depth++] = level;
        return;
    }
    if (result == 1 || (result < 0 && writer->reader.slots_left == 0))
        put_cut(writer);
    else if (result < 0)
        put_unreadable(writer);
    put(writer, ">");
}

/* ---- Values ---- */

static void put_by_kind(struct writer *writer, pyunw_addr object, const struct object_type *type)
{
    switch (type->kind) {
    case OBJECT_BOOL:
    case OBJECT_INT:
        put_int(writer, object, type->kind == OBJECT_BOOL);
        return;
    case OBJECT_FLOAT:
        put_float(writer, object);
        return;
    case OBJECT_STR:
        put_str(writer, object);
        return;
    case OBJECT_BYTES:
        put_bytes(writer, object);
        return;
    default:
        return;
    }
}

static bool is_container(enum object_kind kind)
{
    return kind == OBJECT_TUPLE || kind == OBJECT_LIST || kind == OBJECT_DICT || kind == OBJECT_FROZENDICT ||
           kind == OBJECT_SET || kind == OBJECT_FROZENSET;
}

static void put_typed(struct writer *writer, pyunw_addr object, const struct object_type *type)
{
    switch (type->kind) {
    case OBJECT_NONE:
        put(writer, "None");
        return;
    case OBJECT_ELLIPSIS:
        put(writer, "Ellipsis");
        return;
    case OBJECT_NOT_IMPLEMENTED:
        put(writer, "NotImplemented");
        return;
    case OBJECT_OTHER:
    case OBJECT_CELL:
        begin_instance(writer, object, type);
        return;
    case OBJECT_TYPE:
        put_class(writer, object);
        return;
    default:
        break;
    }
    if (type->subclass) {
        put_type_name(writer, type);
        put(writer, "(");
    }
    if (is_container(type->kind)) {
        begin_container(writer, object, type);
        return;
    }
    put_by_kind(writer, object, type);
    put_end(writer, "", type->subclass);
}

/* A container is only begun. */
static NOINLINE void put_value(struct writer *writer, pyunw_addr object)
{
    struct object_type type;
    if (object == 0)
        put(writer, "<NULL>");
    else if (pyunw_object_type(&writer->reader, object, &type) < 0)
        put_unreadable(writer);
    else
        put_typed(writer, object, &type);
}

/* The name of an attribute stands without quotes. */
static NOINLINE void put_key(struct writer *writer, const struct level *level)
{
    struct text text;
    struct quotes unused = {false, false};
    if (level->kind != OBJECT_OTHER) {
        put_value(writer, level->key);
        return;
    }
    if (pyunw_text_open(writer->reader.target, &writer->reader.memory, level->key, &text) < 0 ||
        pass_over_text(writer, &text, NO_QUOTE, &unused) < 0)
        put_unreadable(writer);
    else if (text.length > (uint64_t)writer->limits.characters)
        put_cut(writer);
}

static void go_on(struct writer *writer, struct level *level)
{
    switch ((enum stage)level->stage) {
    case STAGE_KEY:
        level->stage = has_values(level->kind) ? STAGE_VALUE : STAGE_NEXT;
        level->written++;
        put_key(writer, level);
        return;
    case STAGE_VALUE:
        level->stage = STAGE_NEXT;
        put(writer, level->kind == OBJECT_OTHER ? "=" : ": ");
        put_value(writer, level->value);
        return;
    case STAGE_NEXT:
        advance(writer, level);
        return;
    }
}

/* ---- Public ---- */

static bool are_limits(const pyunw_value_limits *limits)
{
    return limits->size >= sizeof *limits && limits->depth >= 0 && limits->depth <= PYUNW_VALUE_DEPTH_MAX &&
           limits->items >= 1 && limits->characters >= 1;
}

int pyunw_describe_value(const pyunw_target *handle, pyunw_addr object, const pyunw_value_limits *limits, char *buffer,
                         size_t size, uint32_t *flags)
{
    static const pyunw_value_limits defaults = {.size = sizeof defaults, .depth = 3, .items = 20, .characters = 200};
    const struct target *target = open_target(handle);
    char *room = buffer;
    if (target == NULL)
        return not_open(handle);
    if (limits == NULL)
        limits = &defaults;
    if (room == NULL || size < VALUE_TEXT_SIZE_MIN || size > INT32_MAX || !are_limits(limits))
        return PYUNW_ERR_ARGUMENT;
    struct writer writer = {.text = {room, size, 0, false}, .limits = *limits};
    struct memory memory = pyunw_safe_memory(target);
    pyunw_object_reader_begin(&writer.reader, target, &memory);
    put_value(&writer, object);
    while (writer.depth > 0 && !writer.text.full)
        go_on(&writer, &writer.levels[writer.depth - 1]);
    if (writer.text.full)
        writer.flags |= PYUNW_VALUE_TRUNCATED;
    if (flags != NULL)
        *flags = writer.flags;
    return (int)pyunw_value_text_end(&writer.text);
}
