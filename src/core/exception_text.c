/*
 * Describe an exception as the last line of a traceback does: its type with its module, and what str() would say.
 * Signal-safe: yes.
 */
#include "exception_text.h"

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
    int err = pyunw_exception_put_type(&describer);
    if (err < 0)
        return err;
    text->type_length = end_text(&describer, PYUNW_EXCEPTION_TYPE_TRUNCATED);
    begin_text(&describer, (struct value_text){.buffer = text->message, .size = sizeof text->message},
               PYUNW_EXCEPTION_MESSAGE_UNREADABLE);
    pyunw_exception_put_message(&describer);
    text->message_length = end_text(&describer, PYUNW_EXCEPTION_MESSAGE_TRUNCATED);
    text->flags = describer.flags;
    return PYUNW_OK;
}
