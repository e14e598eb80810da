/*
 * What str() and repr() say of what an exception was made of, as far as that is known.
 * Signal-safe: yes.
 */
#include "exception_text.h"
#include "text.h"

NOINLINE void pyunw_exception_put_text(struct describer *describer, pyunw_addr object, bool only_base_name)
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

NOINLINE void pyunw_exception_put_value(struct describer *describer, pyunw_addr object)
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

NOINLINE enum shape pyunw_exception_shape_of(const struct describer *describer, pyunw_addr object, bool *has_own)
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

void pyunw_exception_put_repr(struct describer *describer, pyunw_addr object)
{
    bool has_own = false;
    (void)pyunw_exception_shape_of(describer, object, &has_own);
    if (has_own)
        describer->flags |= PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS;
    pyunw_exception_put_value(describer, object);
}

void pyunw_exception_put_str(struct describer *describer, pyunw_addr object)
{
    bool has_own = false;
    if (object == 0)
        return put(describer, "None");
    enum shape shape = pyunw_exception_shape_of(describer, object, &has_own);
    if (shape == SHAPE_UNREADABLE)
        put_unreadable(describer);
    else if (shape == SHAPE_TEXT)
        pyunw_exception_put_text(describer, object, false);
    else
        pyunw_exception_put_repr(describer, object);
}
