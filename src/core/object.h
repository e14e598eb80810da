/*
 * Read objects of the target: words of them, and their types.
 *
 * Objects change while they are read, and may be anything: each length is checked against a bound, and whoever writes
 * values counts what was looked at (struct object_reader), so that damage costs a bounded time.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_OBJECT_H
#define PYUNW_CORE_OBJECT_H

#include "target.h"

/* Reads forward through small windows, so that neighbours cost one read of a dear memory. */
struct object_reader {
    const struct target *target;
    struct memory memory;
    uint32_t slots_left; /* slots of containers that may still be looked at */
    uint32_t window_size;
    pyunw_addr window_at;
    uint8_t window[192];
};

void pyunw_object_reader_begin(struct object_reader *reader, const struct target *target, const struct memory *memory);

/* Copy size bytes, at most 64: 0 or an error. What was read before is not read again. */
int pyunw_object_read(struct object_reader *reader, pyunw_addr address, void *buffer, size_t size);

/* Forget what was read. */
static inline void pyunw_object_forget(struct object_reader *reader)
{
    reader->window_size = 0;
}

int pyunw_object_read_word(struct object_reader *reader, pyunw_addr address, uint64_t *value);
int pyunw_object_read_int(struct object_reader *reader, pyunw_addr address, uint32_t *value);
int pyunw_object_read_byte(struct object_reader *reader, pyunw_addr address, uint8_t *value);

/* ---- Types ---- */

/* How an object of a type, or of a subclass of it, is laid out. */
enum object_kind {
    OBJECT_OTHER,
    OBJECT_NONE,
    OBJECT_ELLIPSIS,
    OBJECT_NOT_IMPLEMENTED,
    OBJECT_BOOL,
    OBJECT_INT,
    OBJECT_FLOAT,
    OBJECT_STR,
    OBJECT_BYTES,
    OBJECT_TUPLE,
    OBJECT_LIST,
    OBJECT_DICT,
    OBJECT_FROZENDICT,
    OBJECT_SET,
    OBJECT_FROZENSET,
    OBJECT_CELL,
    OBJECT_TYPE,
};

enum { TYPE_NAME_SIZE = 64 };

struct object_type {
    pyunw_addr address;
    uint64_t flags; /* tp_flags */
    enum object_kind kind;
    bool subclass;             /* of the type that kind names */
    bool is_class;             /* made by Python code, or as if: Py_TPFLAGS_HEAPTYPE */
    bool name_cut;             /* name is only the beginning */
    char name[TYPE_NAME_SIZE]; /* tp_name, or __qualname__ of a class: bytes, not checked to be UTF-8 */
};

/* Is a type's name this one? Both end with a NUL. */
static inline bool is_type_name(const char *name, const char *wanted)
{
    while (*wanted != '\0' && *name == *wanted) {
        name++;
        wanted++;
    }
    return *name == *wanted;
}

/* Read a type whose address is given: 0; PYUNW_ERR_FAULT; PYUNW_ERR_CORRUPT where it cannot be one. */
int pyunw_object_describe_type(struct object_reader *reader, struct object_type *type);

/* Read the type of an object: 0; PYUNW_ERR_FAULT; PYUNW_ERR_CORRUPT where it has none. */
int pyunw_object_type(struct object_reader *reader, pyunw_addr object, struct object_type *type);

#endif
