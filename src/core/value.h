/*
 * The parts of pyunw_describe_value(): what is being written, and how, and the values that hold no others.
 * Signal-safe: yes. Include from: value.c, value_plain.c.
 */
#ifndef PYUNW_CORE_VALUE_H
#define PYUNW_CORE_VALUE_H

#include "items.h"
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

static inline void put(struct writer *writer, const char *string)
{
    pyunw_value_text_string(&writer->text, string);
}

static inline void put_unreadable(struct writer *writer)
{
    put(writer, "<unreadable>");
    writer->flags |= PYUNW_VALUE_UNREADABLE;
}

static inline void put_cut(struct writer *writer)
{
    put(writer, "...");
    writer->flags |= PYUNW_VALUE_TRUNCATED;
}

void pyunw_value_put_int(struct writer *writer, pyunw_addr object, bool is_bool);
void pyunw_value_put_float(struct writer *writer, pyunw_addr object);
void pyunw_value_put_str(struct writer *writer, pyunw_addr object);
void pyunw_value_put_bytes(struct writer *writer, pyunw_addr object);

/* A str object, without quotes. */
void pyunw_value_put_attribute_name(struct writer *writer, pyunw_addr object);

#endif
