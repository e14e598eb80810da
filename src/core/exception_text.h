/*
 * The parts of pyunw_describe_exception(): what is being written, and how, and what str() and repr() say of an object.
 * Signal-safe: yes. Include from: exception_text.c, exception_str.c, exception_type.c, exception_message.c.
 */
#ifndef PYUNW_CORE_EXCEPTION_TEXT_H
#define PYUNW_CORE_EXCEPTION_TEXT_H

#include "exception.h"
#include "value_text.h"

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

static inline void put(struct describer *describer, const char *string)
{
    if (!describer->ended)
        pyunw_value_text_string(&describer->text, string);
}

static inline void put_unreadable(struct describer *describer)
{
    put(describer, "<unreadable>");
    describer->flags |= describer->unreadable;
}

/* A word of an object. */
static inline int read_word(const struct describer *describer, pyunw_addr address, uint64_t *word)
{
    return pyunw_read_u64(&describer->memory, address, word);
}

/* The characters of a str object, as they are. only_base_name: those behind the last slash. */
void pyunw_exception_put_text(struct describer *describer, pyunw_addr object, bool only_base_name);

/* What repr() would say. */
void pyunw_exception_put_value(struct describer *describer, pyunw_addr object);

/* What an object is, for str() and repr(). */
enum shape { SHAPE_TEXT, SHAPE_EXCEPTION, SHAPE_VALUE, SHAPE_UNREADABLE };

/* *has_own: it may have a __repr__() of its own. */
enum shape pyunw_exception_shape_of(const struct describer *describer, pyunw_addr object, bool *has_own);

/* What repr() of an object says, as far as that is known. */
void pyunw_exception_put_repr(struct describer *describer, pyunw_addr object);

/* What str() of an object says, as far as that is known; of NULL, as CPython writes it in messages: None. */
void pyunw_exception_put_str(struct describer *describer, pyunw_addr object);

/* The type with its module, unless tracebacks leave that out: 0 or an error. */
int pyunw_exception_put_type(struct describer *describer);

/* What str() of the exception would say. */
void pyunw_exception_put_message(struct describer *describer);

#endif
