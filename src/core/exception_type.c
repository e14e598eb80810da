/*
 * Write the type of an exception as tracebacks do: its qualified name behind its module.
 * Signal-safe: yes.
 */
#include "exception_text.h"
#include "items.h"
#include "text.h"

/* Names in a class body: more than code has. */
enum { NAMES_MAX = 1 << 14 };

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
        pyunw_exception_put_text(describer, module, false);
    if (describer->text.used > 0)
        put(describer, ".");
    if (read_word(describer, type + describer->target->layout.at.object.ht_qualname, &name) == 0)
        pyunw_exception_put_text(describer, name, false);
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

int pyunw_exception_put_type(struct describer *describer)
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
