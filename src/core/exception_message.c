/*
 * Write the message of an exception: what str() would say.
 *
 * Which of the builtin functions str() would call is known: a type inherits it as a pointer (tp_str), and the last type
 * in the order of its bases that has the same pointer is the one that defines it.
 * Signal-safe: yes.
 */
#include "exception_text.h"
#include "items.h"

/* Types in the order of bases of one: more than code has. */
enum { BASES_MAX = 1 << 10 };

/* Exceptions that are each the only argument of the one before. */
enum { WITHIN_MAX = 4 };

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
        if (is_type_name(name, known[n].name))
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

/* ---- The arguments ---- */

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

static bool is_exception(const struct describer *describer, pyunw_addr object)
{
    bool has_own = false;
    return pyunw_exception_shape_of(describer, object, &has_own) == SHAPE_EXCEPTION;
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
        pyunw_exception_put_value(describer, tuple);
    else if (count == 1 && as_key)
        pyunw_exception_put_repr(describer, describer->alone);
    else if (count == 1 && describer->within < WITHIN_MAX && describer->alone != 0 &&
             is_exception(describer, describer->alone))
        return true;
    else if (count == 1)
        pyunw_exception_put_str(describer, describer->alone);
    return false;
}

/* ---- What builtin exceptions say instead ---- */

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
    pyunw_exception_put_str(describer, members[0]);
    put(describer, "] ");
    pyunw_exception_put_str(describer, members[1]);
    for (size_t n = 2; n < 4 && members[n] != 0; n++) {
        put(describer, n == 2 ? ": " : " -> ");
        pyunw_exception_put_repr(describer, members[n]);
    }
    return true;
}

static NOINLINE bool is_none(struct describer *describer, pyunw_addr object)
{
    struct object_reader reader;
    struct object_type type;
    pyunw_object_reader_begin(&reader, describer->target, &describer->memory);
    return pyunw_object_type(&reader, object, &type) == 0 && type.kind == OBJECT_NONE;
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
    pyunw_exception_put_str(describer, members[0]);
    bool has_own = false;
    enum shape file = members[1] != 0 ? pyunw_exception_shape_of(describer, members[1], &has_own) : SHAPE_VALUE;
    bool has_file = file == SHAPE_TEXT || file == SHAPE_UNREADABLE;
    bool has_line = members[2] != 0 && !is_none(describer, members[2]);
    if (has_file || has_line)
        put(describer, " (");
    if (has_file)
        pyunw_exception_put_text(describer, members[1], true);
    if (has_line) {
        put(describer, has_file ? ", line " : "line ");
        pyunw_exception_put_value(describer, members[2]);
    }
    if (has_file || has_line)
        put(describer, ")");
    return true;
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
    pyunw_exception_put_str(describer, members[0]);
    put(describer, " (");
    put_number(describer, count);
    put(describer, count > 1 ? " sub-exceptions)" : " sub-exception)");
    return true;
}

/* ---- The message ---- */

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

void pyunw_exception_put_message(struct describer *describer)
{
    while (put_one(describer)) {
        uint64_t type = 0;
        describer->within++;
        if (read_word(describer, describer->alone + describer->target->layout.at.object.type, &type) < 0)
            return put_unreadable(describer);
        describer->of = (pyunw_exception){.object = describer->alone, .type = type};
    }
}
