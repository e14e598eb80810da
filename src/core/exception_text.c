/*
 * Describe an exception as the last line of a traceback does: its type with its module, and what str() would say.
 *
 * Which of the builtin functions str() would call is known: a type inherits it as a pointer (tp_str), and the last type
 * in the order of its bases that has the same pointer is the one that defines it.
 * Signal-safe: yes.
 */
#include "exception.h"
#include "items.h"
#include "text.h"
#include "value_text.h"

/* Types in the order of bases of one, and names in a class body: more than code has. */
enum { BASES_MAX = 1 << 10, NAMES_MAX = 1 << 14 };

/* Exceptions that are each the only argument of the one before. */
enum { WITHIN_MAX = 4 };

/* Large frames are needed one after the other, not within each other. */
#define NOINLINE __attribute__((noinline))

struct describer {
    const pyunw_target *handle;
    const struct target *target;
    struct memory memory;
    struct value_text text;
    uint32_t flags;      /* enum pyunw_exception_text_flags */
    uint32_t unreadable; /* the flag of that for what is being written */
    bool ended;          /* a value filled the room: what follows is dropped */
    pyunw_exception of;  /* the exception itself, or one that is its only argument */
    pyunw_addr alone;    /* where that has only one argument: it */
    uint32_t within;     /* exceptions that were left for their only argument */
};

static void put(struct describer *describer, const char *string)
{
    if (!describer->ended)
        pyunw_value_text_string(&describer->text, string);
}

static void put_unreadable(struct describer *describer)
{
    put(describer, "<unreadable>");
    describer->flags |= describer->unreadable;
}

static void put_number(struct describer *describer, uint64_t number)
{
    char digits[24] = "";
    size_t first = sizeof digits - 1;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    put(describer, digits + first);
}

/* A word of an object. */
static int read_word(const struct describer *describer, pyunw_addr address, uint64_t *word)
{
    return pyunw_read_u64(&describer->memory, address, word);
}

/* ---- Parts ---- */

/* The characters of a str object, as they are. only_base_name: those behind the last slash. */
static NOINLINE void put_text(struct describer *describer, pyunw_addr object, bool only_base_name)
{
    struct text text;
    struct text_reader reader;
    uint32_t code_point = 0;
    uint64_t begin = 0;
    int result = pyunw_text_open(describer->target, &describer->memory, object, MAX_STR, &text);
    if (result == 0 && only_base_name && text.length < MAX_TEXT) {
        pyunw_text_begin(&text, 0, &reader);
        while ((result = pyunw_text_next(&reader, &code_point)) == 1)
            begin = code_point == '/' ? reader.index : begin;
    }
    if (result == 0) {
        pyunw_text_begin(&text, begin, &reader);
        while (!describer->text.full && !describer->ended && (result = pyunw_text_next(&reader, &code_point)) == 1) {
            char bytes[6];
            pyunw_value_text_bytes(&describer->text, bytes, pyunw_utf8_encode(code_point, bytes));
        }
    }
    if (result < 0)
        put_unreadable(describer);
}

/* What repr() would say. */
static NOINLINE void put_value(struct describer *describer, pyunw_addr object)
{
    /* It is the room that cuts. */
    static const pyunw_value_limits limits = {.size = sizeof limits,
                                              .depth = PYUNW_VALUE_DEPTH_MAX,
                                              .items = PYUNW_EXCEPTION_MESSAGE_SIZE,
                                              .characters = PYUNW_EXCEPTION_MESSAGE_SIZE};
    struct value_text *text = &describer->text;
    /* What is still free for more than the mark of what did not fit. */
    size_t room = text->size - text->used - (sizeof "..." - 1);
    uint32_t flags = 0;
    if (text->full || describer->ended)
        return;
    if (room < VALUE_TEXT_SIZE_MIN) {
        text->full = true;
        return;
    }
    int length = pyunw_describe_value(describer->handle, object, &limits, text->buffer + text->used, room, &flags);
    if (length < 0)
        return put_unreadable(describer);
    text->used += (size_t)length;
    if ((flags & PYUNW_VALUE_UNREADABLE) != 0)
        describer->flags |= PYUNW_EXCEPTION_MESSAGE_UNREADABLE;
    if ((flags & PYUNW_VALUE_TRUNCATED) == 0)
        return;
    describer->flags |= PYUNW_EXCEPTION_MESSAGE_TRUNCATED;
    describer->ended = room - (size_t)length <= VALUE_TEXT_SIZE_MIN;
}

/* What an object is, for str() and repr(). */
enum shape { SHAPE_TEXT, SHAPE_EXCEPTION, SHAPE_VALUE, SHAPE_UNREADABLE };

/* *has_own: it may have a __repr__() of its own. */
static NOINLINE enum shape shape_of(const struct describer *describer, pyunw_addr object, bool *has_own)
{
    struct object_reader reader;
    struct object_type type;
    *has_own = false;
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    if (pyunw_object_type(&reader, object, &type) < 0)
        return SHAPE_UNREADABLE;
    *has_own = type.kind == OBJECT_OTHER || (type.subclass && type.is_class);
    int result = pyunw_exception_is_type(&reader, &type);
    if (result != 0)
        return result == 1 ? SHAPE_EXCEPTION : SHAPE_UNREADABLE;
    return type.kind == OBJECT_STR ? SHAPE_TEXT : SHAPE_VALUE;
}

static NOINLINE bool is_none(struct describer *describer, pyunw_addr object)
{
    struct object_reader reader;
    struct object_type type;
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    return pyunw_object_type(&reader, object, &type) == 0 && type.kind == OBJECT_NONE;
}

static bool is_exception(const struct describer *describer, pyunw_addr object)
{
    bool has_own = false;
    return shape_of(describer, object, &has_own) == SHAPE_EXCEPTION;
}

/* What repr() of an object says, as far as that is known. */
static void put_repr(struct describer *describer, pyunw_addr object)
{
    bool has_own = false;
    (void)shape_of(describer, object, &has_own);
    if (has_own)
        describer->flags |= PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS;
    put_value(describer, object);
}

/* What str() of an object says, as far as that is known; of NULL, as CPython writes it in messages: None. */
static void put_str(struct describer *describer, pyunw_addr object)
{
    bool has_own = false;
    if (object == 0)
        return put(describer, "None");
    enum shape shape = shape_of(describer, object, &has_own);
    if (shape == SHAPE_UNREADABLE)
        put_unreadable(describer);
    else if (shape == SHAPE_TEXT)
        put_text(describer, object, false);
    else
        put_repr(describer, object);
}

/* ---- The type ---- */

/* Is it this string? bytes may hold NULs. */
static bool is_string(const char *bytes, size_t length, const char *wanted)
{
    for (size_t n = 0; n < length; n++) {
        if (wanted[n] == '\0' || wanted[n] != bytes[n])
            return false;
    }
    return wanted[length] == '\0';
}

/* Is a str object this ASCII text? 1, 0, or an error. */
static NOINLINE int is_text(const struct describer *describer, pyunw_addr object, const char *wanted)
{
    struct text text;
    char bytes[16];
    size_t length = 0;
    bool cut = false;
    int err = pyunw_text_open(describer->target, &describer->memory, object, MAX_STR, &text);
    if (err == 0)
        err = pyunw_text_to_utf8(&text, TEXT_KEEP_BEGINNING, bytes, sizeof bytes, &length, &cut);
    if (err < 0)
        return err;
    return !cut && is_string(bytes, length, wanted);
}

/* __module__ of a class, from its namespace: 0 or an error, also where it has none. */
static NOINLINE int find_module(struct describer *describer, pyunw_addr type, pyunw_addr *module)
{
    struct object_reader reader;
    struct items items;
    pyunw_addr namespace = 0;
    pyunw_addr key = 0;
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    int err = pyunw_object_read_word(&reader, type + describer->target->layout.at.object.tp_dict, &namespace);
    if (err == 0 && !plausible_address(namespace))
        err = PYUNW_ERR_CORRUPT;
    if (err == 0)
        err = pyunw_items_begin(&reader, namespace, OBJECT_DICT, &items);
    if (err < 0)
        return err;
    for (uint32_t count = 0; count < NAMES_MAX && pyunw_items_next(&reader, &items, &key, module) == 1; count++) {
        int result = is_text(describer, key, "__module__");
        if (result == 1 || result == PYUNW_ERR_FAULT)
            return result == 1 ? PYUNW_OK : result;
    }
    return PYUNW_ERR_CORRUPT;
}

/* Is it a module that tracebacks leave out? 1, 0, or an error. */
static int is_left_out(const struct describer *describer, pyunw_addr module)
{
    int result = is_text(describer, module, "__main__");
    return result == 0 ? is_text(describer, module, "builtins") : result;
}

static void put_class(struct describer *describer, pyunw_addr type)
{
    pyunw_addr module = 0;
    pyunw_addr name = 0;
    int err = find_module(describer, type, &module);
    int left_out = err == 0 ? is_left_out(describer, module) : err;
    if (left_out < 0)
        put_unreadable(describer);
    else if (left_out == 0)
        put_text(describer, module, false);
    if (describer->text.used > 0)
        put(describer, ".");
    if (read_word(describer, type + describer->target->layout.at.object.ht_qualname, &name) == 0)
        put_text(describer, name, false);
    else
        put_unreadable(describer);
}

/* tp_name of a type that C code has laid out holds both, and of a builtin only the name. */
static void put_static_type(struct describer *describer, const struct object_type *type)
{
    size_t length = 0;
    for (size_t at = 0; at < TYPE_NAME_SIZE && type->name[at] != '\0'; at += length) {
        uint32_t code_point = 0;
        length = pyunw_utf8_decode((const uint8_t *)type->name + at, TYPE_NAME_SIZE - at, &code_point);
        if (length == 0)
            return put_unreadable(describer);
        pyunw_value_text_bytes(&describer->text, type->name + at, length);
    }
    if (type->name_cut) {
        put(describer, "...");
        describer->flags |= PYUNW_EXCEPTION_TYPE_TRUNCATED;
    }
}

static NOINLINE int put_type(struct describer *describer)
{
    struct object_reader reader;
    struct object_type type = {.address = describer->of.type};
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    int result = pyunw_object_describe_type(&reader, &type);
    if (result == 0)
        result = pyunw_exception_is_type(&reader, &type);
    if (result != 1)
        return result < 0 ? result : PYUNW_ERR_CORRUPT;
    if (type.is_class)
        put_class(describer, type.address);
    else
        put_static_type(describer, &type);
    return PYUNW_OK;
}

/* ---- Whose __str__() it has ---- */

/* BaseException's, and those of builtin exceptions that have another. */
enum str_of { STR_OF_BASE, STR_OF_KEY_ERROR, STR_OF_OS_ERROR, STR_OF_SYNTAX_ERROR, STR_OF_GROUP, STR_UNKNOWN };

static enum str_of str_of_name(const char *name)
{
    static const struct {
        char name[20];
        uint8_t str_of;
    } known[] = {
        {"BaseException", STR_OF_BASE},       {"ImportError", STR_OF_BASE}, /* of its only argument, too, unless that
                                                                               was changed */
        {"KeyError", STR_OF_KEY_ERROR},       {"OSError", STR_OF_OS_ERROR}, {"SyntaxError", STR_OF_SYNTAX_ERROR},
        {"BaseExceptionGroup", STR_OF_GROUP},
    };
    for (size_t n = 0; n < sizeof known / sizeof known[0]; n++) {
        size_t length = 0;
        while (known[n].name[length] != '\0')
            length++;
        if (memcmp(known[n].name, name, length + 1) == 0)
            return (enum str_of)known[n].str_of;
    }
    return STR_UNKNOWN;
}

/* The last of a type's bases in their order, itself included, that has its tp_str. 0 or an error. */
static int find_definer(struct describer *describer, struct object_reader *reader, pyunw_addr *definer)
{
    const struct layout_object *at = &describer->target->layout.at.object;
    struct items items;
    uint64_t str = 0;
    uint64_t str_of_base = 0;
    pyunw_addr bases = 0;
    pyunw_addr base = 0;
    pyunw_addr none = 0;
    int result = read_word(describer, describer->of.type + at->tp_str, &str);
    if (result == 0)
        result = read_word(describer, describer->of.type + at->tp_mro, &bases);
    if (result == 0 && !plausible_address(bases))
        result = PYUNW_ERR_CORRUPT;
    if (result == 0)
        result = pyunw_items_begin(reader, bases, OBJECT_TUPLE, &items);
    for (uint32_t count = 0; result == 0 && count < BASES_MAX; count++) {
        int more = pyunw_items_next(reader, &items, &base, &none);
        if (more != 1)
            return more;
        if (!plausible_address(base))
            return PYUNW_ERR_CORRUPT;
        result = read_word(describer, base + at->tp_str, &str_of_base);
        if (str_of_base == str)
            *definer = base;
    }
    return result < 0 ? result : PYUNW_ERR_CORRUPT;
}

static NOINLINE enum str_of find_str(struct describer *describer)
{
    struct object_reader reader;
    struct object_type type = {0};
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    int err = find_definer(describer, &reader, &type.address);
    if (err == 0)
        err = pyunw_object_describe_type(&reader, &type);
    if (err < 0 || type.is_class)
        return STR_UNKNOWN;
    return str_of_name(type.name);
}

/* ---- The message ---- */

/* args of BaseException: how many there are, the first of them, and the tuple. 0 or an error. */
static NOINLINE int read_arguments(struct describer *describer, pyunw_addr *tuple, uint64_t *count, pyunw_addr *first)
{
    struct object_reader reader;
    struct object_type type = {0};
    struct items items;
    pyunw_addr none = 0;
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    bool made = (describer->of.flags & PYUNW_EXCEPTION_NOT_MADE) == 0;
    *tuple = describer->of.object;
    *count = 0;
    *first = 0;
    if (!made && *tuple == 0)
        return PYUNW_OK;
    int err = made ? read_word(describer, *tuple + describer->target->layout.at.exception.args, tuple) : PYUNW_OK;
    if (err == 0)
        err = pyunw_object_type(&reader, *tuple, &type);
    if (err < 0)
        return err;
    if (!made && type.kind != OBJECT_TUPLE) {
        /* What is no tuple of arguments is the only one; but None is none. */
        *first = *tuple;
        *count = type.kind == OBJECT_NONE ? 0 : 1;
        return PYUNW_OK;
    }
    if (type.kind != OBJECT_TUPLE)
        return PYUNW_ERR_CORRUPT;
    err = pyunw_items_begin(&reader, *tuple, OBJECT_TUPLE, &items);
    *count = err == 0 ? items.end : 0;
    if (*count > 0)
        err = pyunw_items_next(&reader, &items, first, &none);
    return err < 0 ? err : PYUNW_OK;
}

/* As BaseException does, or, where as_key, as KeyError. True where describer->alone is an exception of its own. */
static bool put_arguments(struct describer *describer, bool as_key)
{
    pyunw_addr tuple = 0;
    uint64_t count = 0;
    describer->alone = 0;
    int err = read_arguments(describer, &tuple, &count, &describer->alone);
    if (err < 0) {
        put_unreadable(describer);
        return false;
    }
    if (count > 1)
        put_value(describer, tuple);
    else if (count == 1 && as_key)
        put_repr(describer, describer->alone);
    else if (count == 1 && describer->within < WITHIN_MAX && describer->alone != 0 &&
             is_exception(describer, describer->alone))
        return true;
    else if (count == 1)
        put_str(describer, describer->alone);
    return false;
}

/* Objects that a builtin exception keeps. A made one only: false where not, or where they cannot be read. */
static bool read_members(const struct describer *describer, const uint32_t *offsets, size_t count, pyunw_addr *members)
{
    for (size_t n = 0; n < count; n++) {
        if (read_word(describer, describer->of.object + offsets[n], &members[n]) < 0)
            return false;
    }
    return true;
}

/* False: BaseException's way. */
static bool put_os_error(struct describer *describer)
{
    const struct layout_exception *at = &describer->target->layout.at.exception;
    const uint32_t offsets[] = {at->os_errno, at->os_strerror, at->os_filename, at->os_filename2};
    pyunw_addr members[4] = {0};
    if (!read_members(describer, offsets, 4, members)) {
        put_unreadable(describer);
        return true;
    }
    if (members[2] == 0 && (members[0] == 0 || members[1] == 0))
        return false;
    put(describer, "[Errno ");
    put_str(describer, members[0]);
    put(describer, "] ");
    put_str(describer, members[1]);
    for (size_t n = 2; n < 4 && members[n] != 0; n++) {
        put(describer, n == 2 ? ": " : " -> ");
        put_repr(describer, members[n]);
    }
    return true;
}

static bool put_syntax_error(struct describer *describer)
{
    const struct layout_exception *at = &describer->target->layout.at.exception;
    const uint32_t offsets[] = {at->syntax_msg, at->syntax_filename, at->syntax_lineno};
    pyunw_addr members[3] = {0};
    if (!read_members(describer, offsets, 3, members)) {
        put_unreadable(describer);
        return true;
    }
    put_str(describer, members[0]);
    bool has_own = false;
    enum shape file = members[1] != 0 ? shape_of(describer, members[1], &has_own) : SHAPE_VALUE;
    bool has_file = file == SHAPE_TEXT || file == SHAPE_UNREADABLE;
    bool has_line = members[2] != 0 && !is_none(describer, members[2]);
    if (has_file || has_line)
        put(describer, " (");
    if (has_file)
        put_text(describer, members[1], true);
    if (has_line) {
        put(describer, has_file ? ", line " : "line ");
        put_value(describer, members[2]);
    }
    if (has_file || has_line)
        put(describer, ")");
    return true;
}

static bool put_group(struct describer *describer)
{
    const struct layout_exception *at = &describer->target->layout.at.exception;
    const uint32_t offsets[] = {at->group_msg, at->group_excs};
    pyunw_addr members[2] = {0};
    uint64_t count = 0;
    if (!read_members(describer, offsets, 2, members) || !plausible_address(members[1]) ||
        read_word(describer, members[1] + describer->target->layout.at.object.var_size, &count) < 0) {
        put_unreadable(describer);
        return true;
    }
    put_str(describer, members[0]);
    put(describer, " (");
    put_number(describer, count);
    put(describer, count > 1 ? " sub-exceptions)" : " sub-exception)");
    return true;
}

/* One exception. True where its message is that of another, in describer->alone. */
static bool put_one(struct describer *describer)
{
    bool made = (describer->of.flags & PYUNW_EXCEPTION_NOT_MADE) == 0;
    enum str_of str_of = find_str(describer);
    bool done = false;
    if (made && str_of == STR_OF_OS_ERROR)
        done = put_os_error(describer);
    else if (made && str_of == STR_OF_SYNTAX_ERROR)
        done = put_syntax_error(describer);
    else if (made && str_of == STR_OF_GROUP)
        done = put_group(describer);
    else if (str_of != STR_OF_BASE && str_of != STR_OF_KEY_ERROR)
        describer->flags |= PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS;
    return !done && put_arguments(describer, str_of == STR_OF_KEY_ERROR);
}

static void put_message(struct describer *describer)
{
    while (put_one(describer)) {
        uint64_t type = 0;
        describer->within++;
        if (read_word(describer, describer->alone + describer->target->layout.at.object.type, &type) < 0)
            return put_unreadable(describer);
        describer->of = (pyunw_exception){.object = describer->alone, .type = type};
    }
}

/* ---- Public ---- */

static void begin_text(struct describer *describer, struct value_text text, uint32_t unreadable)
{
    describer->text = text;
    describer->unreadable = unreadable;
    describer->ended = false;
}

static uint16_t end_text(struct describer *describer, uint32_t truncated)
{
    if (describer->text.full)
        describer->flags |= truncated;
    return (uint16_t)pyunw_value_text_end(&describer->text);
}

int pyunw_describe_exception(const pyunw_target *handle, const pyunw_exception *exception, pyunw_exception_text *text)
{
    const struct target *target = open_target(handle);
    if (target == NULL)
        return not_open(handle);
    if (exception == NULL || text == NULL)
        return PYUNW_ERR_ARGUMENT;
    struct describer describer = {.handle = handle, .target = target, .of = *exception};
    *text = (pyunw_exception_text){0};
    target_renew(target, PYUNW_FOR_TEXTS);
    describer.memory = pyunw_safe_memory(target);
    begin_text(&describer, (struct value_text){.buffer = text->type, .size = sizeof text->type},
               PYUNW_EXCEPTION_TYPE_UNREADABLE);
    int err = put_type(&describer);
    if (err < 0)
        return err;
    text->type_length = end_text(&describer, PYUNW_EXCEPTION_TYPE_TRUNCATED);
    begin_text(&describer, (struct value_text){.buffer = text->message, .size = sizeof text->message},
               PYUNW_EXCEPTION_MESSAGE_UNREADABLE);
    put_message(&describer);
    text->message_length = end_text(&describer, PYUNW_EXCEPTION_MESSAGE_TRUNCATED);
    text->flags = describer.flags;
    return PYUNW_OK;
}
