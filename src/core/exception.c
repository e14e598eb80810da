/*
 * Find the exception of a thread: the one that is on its way (curexc_value, current_exception), or the innermost of
 * those that are being handled (exc_info). Each generator that runs has an item of its own on the stack of the latter,
 * which holds nothing where the generator itself handles none.
 * Signal-safe: yes.
 */
#include "exception.h"

#include "walk.h"

/* Items of exc_info that are looked at: generators that run within each other. */
enum { ITEMS_MAX = 1 << 16 };

/* Reads of a thread that runs on, until two agree. */
enum { TRIES_MAX = 4 };

/* tp_flags, Include/object.h: the same in every version. */
enum { TPFLAGS_BASE_EXC_SUBCLASS = 30, TPFLAGS_TYPE_SUBCLASS = 31 };

int pyunw_exception_is_type(struct object_reader *reader, const struct object_type *type)
{
    const struct layout_object *at = &reader->target->layout.at.object;
    pyunw_addr metatype = 0;
    uint64_t flags = 0;
    if ((type->flags >> TPFLAGS_BASE_EXC_SUBCLASS & 1u) == 0)
        return 0;
    int err = pyunw_read_u64(&reader->memory, type->address + at->type, &metatype);
    if (err == 0 && !plausible_address(metatype))
        err = PYUNW_ERR_CORRUPT;
    if (err == 0)
        err = pyunw_read_u64(&reader->memory, metatype + at->tp_flags, &flags);
    if (err < 0)
        return err;
    return (flags >> TPFLAGS_TYPE_SUBCLASS & 1u) != 0 ? 1 : PYUNW_ERR_CORRUPT;
}

/* An object that stands for an exception: 1; 0 where it is None. */
static int take_object(struct object_reader *reader, pyunw_addr object, uint32_t flags, pyunw_exception *exception)
{
    struct object_type type;
    int err = pyunw_object_type(reader, object, &type);
    if (err < 0)
        return err;
    if (type.kind == OBJECT_NONE)
        return 0;
    int result = pyunw_exception_is_type(reader, &type);
    if (result != 1)
        return result < 0 ? result : PYUNW_ERR_CORRUPT;
    *exception = (pyunw_exception){.object = object, .type = type.address, .flags = flags};
    return 1;
}

/* ---- On its way ---- */

/* 3.8-3.11: a type, and a value that may be an object of it, or what one is to be made from. */
static int find_raised_by_type(struct object_reader *reader, pyunw_addr tstate, pyunw_addr value,
                               pyunw_exception *exception)
{
    struct object_type type = {0};
    int err = pyunw_object_read_word(reader, tstate + reader->target->layout.at.thread.raised_type, &type.address);
    if (err < 0 || type.address == 0)
        return err;
    int result = pyunw_object_describe_type(reader, &type);
    if (result == 0)
        result = pyunw_exception_is_type(reader, &type);
    if (result != 1)
        return result < 0 ? result : PYUNW_ERR_CORRUPT;
    *exception = (pyunw_exception){.object = value, .type = type.address, .flags = PYUNW_EXCEPTION_RAISED};
    result = value != 0 ? pyunw_object_type(reader, value, &type) : 0;
    if (result == 0 && value != 0)
        result = pyunw_exception_is_type(reader, &type);
    if (result < 0)
        return result;
    if (result == 1)
        exception->type = type.address;
    else
        exception->flags |= PYUNW_EXCEPTION_NOT_MADE;
    return 1;
}

static int find_raised(struct object_reader *reader, pyunw_addr tstate, pyunw_exception *exception)
{
    const struct layout_thread *at = &reader->target->layout.at.thread;
    pyunw_addr object = 0;
    int err = pyunw_object_read_word(reader, tstate + at->raised, &object);
    if (err < 0)
        return err;
    if (at->raised_type != 0)
        return find_raised_by_type(reader, tstate, object, exception);
    if (object == 0)
        return 0;
    int result = take_object(reader, object, PYUNW_EXCEPTION_RAISED, exception);
    return result == 0 ? PYUNW_ERR_CORRUPT : result;
}

/* ---- Being handled ---- */

/* One item: 1 where it holds an exception, 0 where it holds none. *previous: the next outward, or 0. */
static int take_item(struct object_reader *reader, pyunw_addr item, pyunw_addr *previous, pyunw_exception *exception)
{
    const struct layout_exception *at = &reader->target->layout.at.exception;
    pyunw_addr object = 0;
    if (!plausible_address(item))
        return PYUNW_ERR_CORRUPT;
    int err = pyunw_object_read_word(reader, item + at->handled, &object);
    if (err == 0)
        err = pyunw_object_read_word(reader, item + at->handled_previous, previous);
    if (err < 0 || object == 0)
        return err;
    return take_object(reader, object, PYUNW_EXCEPTION_HANDLED, exception);
}

/* The stack has at least one item, in the thread state itself. */
static int find_handled(struct object_reader *reader, pyunw_addr tstate, pyunw_exception *exception)
{
    pyunw_addr item = 0;
    pyunw_addr seen = 0; /* an item before: where the stack goes in a circle, it comes again */
    int result = pyunw_object_read_word(reader, tstate + reader->target->layout.at.thread.exc_info, &item);
    if (result < 0)
        return result;
    for (uint32_t count = 1; count <= ITEMS_MAX; count++) {
        pyunw_addr previous = 0;
        result = take_item(reader, item, &previous, exception);
        if (result != 0 || previous == 0)
            return result;
        if (previous == item || previous == seen)
            return PYUNW_ERR_CORRUPT;
        if ((count & (count - 1)) == 0)
            seen = item;
        item = previous;
    }
    return PYUNW_ERR_CORRUPT;
}

/* ---- Public ---- */

static int find_once(struct object_reader *reader, pyunw_addr tstate, pyunw_exception *exception)
{
    *exception = (pyunw_exception){0};
    pyunw_object_forget(reader);
    target_renew(reader->target, PYUNW_FOR_TEXTS);
    int result = find_raised(reader, tstate, exception);
    return result == 0 ? find_handled(reader, tstate, exception) : result;
}

/* What two reads of a thread that runs on agree upon, it had at one moment between them, or had again. */
static int find_until_two_agree(struct object_reader *reader, pyunw_addr tstate, pyunw_exception *exception)
{
    pyunw_exception again;
    int result = find_once(reader, tstate, exception);
    for (int tries = 1; tries < TRIES_MAX; tries++) {
        int result_again = find_once(reader, tstate, &again);
        if (result == result_again && memcmp(&again, exception, sizeof again) == 0)
            return result;
        result = result_again;
        *exception = again;
    }
    return PYUNW_ERR_TORN;
}

int pyunw_exception_find(const pyunw_target *handle, pyunw_addr tstate, pyunw_exception *exception)
{
    const struct target *target = open_target(handle);
    struct object_reader reader;
    struct memory memory;
    pyunw_exception found;
    bool still = false;
    if (target == NULL)
        return not_open(handle);
    if (exception == NULL)
        return PYUNW_ERR_ARGUMENT;
    target_renew(target, PYUNW_FOR_THREADS);
    int result = pyunw_walk_choose(target, &tstate, &memory, &still);
    if (result < 0)
        return result;
    memory = pyunw_safe_memory(target);
    pyunw_object_reader_begin(&reader, target, &memory);
    result = still ? find_once(&reader, tstate, &found) : find_until_two_agree(&reader, tstate, &found);
    if (result == 1)
        *exception = found;
    return result;
}
