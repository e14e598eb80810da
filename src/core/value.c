/*
 * Describe a value as repr() would, within limits: read from memory, never by code of the target.
 *
 * Containers within containers are kept on a small stack of their own, so that neither depth nor a cycle costs more
 * than PYUNW_VALUE_DEPTH_MAX levels.
 * Signal-safe: yes.
 */
#include "value.h"

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
        pyunw_value_put_int(writer, object, type->kind == OBJECT_BOOL);
        return;
    case OBJECT_FLOAT:
        pyunw_value_put_float(writer, object);
        return;
    case OBJECT_STR:
        pyunw_value_put_str(writer, object);
        return;
    case OBJECT_BYTES:
        pyunw_value_put_bytes(writer, object);
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

static void go_on(struct writer *writer, struct level *level)
{
    switch ((enum stage)level->stage) {
    case STAGE_KEY:
        level->stage = has_values(level->kind) ? STAGE_VALUE : STAGE_NEXT;
        level->written++;
        if (level->kind == OBJECT_OTHER)
            pyunw_value_put_attribute_name(writer, level->key);
        else
            put_value(writer, level->key);
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
    target_renew(target, PYUNW_FOR_TEXTS);
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
