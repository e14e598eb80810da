/*
 * What the walk reads of a frame's code object: is it one, at which instruction does the frame stand, and what kind of
 * frame is it?
 *
 * Part of the loop that all walking is: inlined there, and compiled with it for each way of loading and each row of the
 * tables.
 * Signal-safe: yes. Include from: walk.c.
 */
#ifndef PYUNW_CORE_WALK_CODE_H
#define PYUNW_CORE_WALK_CODE_H

#include "code.h"
#include "walk_frame.h"

/*
 * What the walking code is compiled for: a row of the tables, whose offsets then are constants in it, or whatever a
 * target's layout says.
 */
struct plan {
    const struct layout_offsets *at;
    const struct layout_semantics *is;
};

/* Where a thread's own copy of the bytecode begins (3.14t, 3.15t: thread-local bytecode). 0: no such copy. */
static inline pyunw_addr find_local_bytecode(const struct walk *walk, pyunw_addr code, int32_t index)
{
    /* _PyCodeArray: Py_ssize_t size; char *entries[] (pycore_code.h). */
    pyunw_addr array = 0;
    uint64_t size = 0;
    pyunw_addr entry = 0;
    if (!read_word(walk, code + walk->target->layout.at.code.tlbc, &array) || !read_word(walk, array, &size) ||
        index < 0 || (uint64_t)index >= size || !read_word(walk, array + 8 + 8 * (uint64_t)index, &entry))
        return 0;
    return entry;
}

/* 3.8-3.10: f_lasti, checked against the length of co_code. */
ALWAYS_INLINE bool find_offset_in_object(enum load_kind how, struct plan plan, struct walk *walk,
                                         const uint8_t *code_view, const struct frame_fields *fields, int32_t *offset)
{
    int fault = 0;
    uint8_t scratch[sizeof(uint64_t)];
    pyunw_addr bytecode = load_u64(how, code_view + plan.at->code.bytecode_object, &fault);
    if (fault || !plausible_address(bytecode))
        return false;
    pyunw_addr size_at = bytecode + plan.at->object.var_size;
    const uint8_t *view = view_structure(how, &walk->memory, size_at, sizeof scratch, scratch);
    if (view == NULL)
        return false;
    uint64_t size = load_u64(how, view, &fault);
    int64_t lasti = (int32_t)fields->instruction;
    if (lasti >= 0)
        lasti *= plan.is->instruction_scale;
    *offset = (int32_t)lasti;
    return !fault && lasti >= -1 && lasti < (int64_t)(size < INT32_MAX ? size : INT32_MAX);
}

ALWAYS_INLINE const uint8_t *view_code(enum load_kind how, struct plan plan, struct walk *walk, pyunw_addr code)
{
    if (how != LOAD_COPY)
        return (const uint8_t *)(uintptr_t)code;
    if (walk->code_in_scratch != code) {
        walk->code_in_scratch = 0;
        if (pyunw_read(&walk->memory, code, walk->code_scratch, plan.at->code.size) < 0)
            return NULL;
        walk->code_in_scratch = code;
    }
    return walk->code_scratch;
}

/* What a frame's code object says of it. */
struct code_words {
    int32_t offset;
    uint8_t kind;
    uint16_t fingerprint; /* of a thread that may run on; else 0 */
    pyunw_addr type;      /* CODE_OF_NEW_TYPE: what is to be asked for its name */
};

enum code_answer {
    CODE_GOOD,
    CODE_HIDDEN,      /* has not begun (before its first RESUME), as the interpreter's _PyFrame_IsIncomplete says */
    CODE_BAD,         /* not to be believed */
    CODE_OF_NEW_TYPE, /* not PyCode_Type, as far as that is known yet */
};

ALWAYS_INLINE uint16_t fingerprint_of(enum load_kind how, const struct layout_code *at, const uint8_t *view, int *fault)
{
    struct code_fields fields = {
        .filename = load_u64(how, view + at->filename, fault),
        .name = load_u64(how, view + at->name, fault),
        .table = load_u64(how, view + at->table, fault),
        .firstlineno = (int32_t)load_u32(how, view + at->firstlineno, fault),
        .version = at->version != 0 ? load_u32(how, view + at->version, fault) : 0,
    };
    return code_fingerprint(&fields);
}

/* co_flags (cpython/code.h): CO_OPTIMIZED and CO_NEWLOCALS mark functions. */
enum { FUNCTION_FLAGS = 0x3, GENERATOR_FLAG = 0x20, COROUTINE_FLAG = 0x80, ASYNC_GENERATOR_FLAG = 0x200 };

/* What the flags say: PYUNW_FRAME_UNKNOWN where only the name tells. */
ALWAYS_INLINE uint8_t kind_of(uint32_t flags)
{
    enum { TELLING = FUNCTION_FLAGS | GENERATOR_FLAG | COROUTINE_FLAG | ASYNC_GENERATOR_FLAG };
    if (__builtin_expect((flags & TELLING) == FUNCTION_FLAGS, 1))
        return PYUNW_FRAME_FUNCTION;
    if ((flags & GENERATOR_FLAG) != 0)
        return PYUNW_FRAME_GENERATOR;
    if ((flags & COROUTINE_FLAG) != 0)
        return PYUNW_FRAME_COROUTINE;
    return (flags & ASYNC_GENERATOR_FLAG) != 0 ? PYUNW_FRAME_ASYNC_GENERATOR : PYUNW_FRAME_UNKNOWN;
}

/* Check the code object and find the instruction offset. */
ALWAYS_INLINE enum code_answer read_code(enum load_kind how, struct plan plan, struct walk *walk,
                                         const struct frame_fields *fields, struct code_words *words)
{
    const struct layout_code *at = &plan.at->code;
    pyunw_addr code = fields->executable;
    int fault = 0;
    if (!plausible_address(code))
        return CODE_BAD;
    const uint8_t *view = view_code(how, plan, walk, code);
    if (how == LOAD_COPY && view == NULL)
        return CODE_BAD;
    pyunw_addr type = load_u64(how, view + plan.at->object.type, &fault);
    uint32_t flags = load_u32(how, view + at->flags, &fault);
    words->fingerprint = 0;
    /* Plain loads read only what stands still. */
    if (how != LOAD_DIRECT && !walk->still)
        words->fingerprint = fingerprint_of(how, at, view, &fault);
    if (__builtin_expect(fault, 0))
        return CODE_BAD;
    if (__builtin_expect(type != walk->code_type, 0)) {
        words->type = type;
        return CODE_OF_NEW_TYPE;
    }
    if (plan.is->instruction_scale != 0) {
        if (!find_offset_in_object(how, plan, walk, view, fields, &words->offset))
            return CODE_BAD;
    } else {
        uint64_t units = load_u64(how, view + at->units, &fault);
        int32_t first_traceable = (int32_t)load_u32(how, view + at->first_traceable, &fault);
        pyunw_addr bytecode = code + at->bytecode;
        if (plan.at->frame.tlbc_index != 0 && __builtin_expect(fields->tlbc_index != 0, 0))
            bytecode = find_local_bytecode(walk, code, fields->tlbc_index);
        uint64_t offset = fields->instruction - bytecode;
        /*
         * From -2, the unit before the first, to the last unit, and even: turned right by one, that is one range, which
         * also keeps the difference within an int.
         */
        uint64_t turned = (offset + 2) >> 1 | (offset + 2) << 63;
        if (__builtin_expect(fault || units - turned > INT32_MAX / 2, 0))
            return CODE_BAD;
        words->offset = (int32_t)offset;
        /* Wraps where it is damage: the instruction lies inside the code all the same. */
        int32_t first_offset = (int32_t)(2 * (uint32_t)first_traceable);
        /* A RESUME stands inside the code. _Py_InitCleanup (3.12+), to be hidden always, says one unit behind its end.
         */
        if (__builtin_expect(words->offset < first_offset, 0) && fields->owner != plan.is->generator_owner)
            return (uint32_t)first_traceable <= units + 1 ? CODE_HIDDEN : CODE_BAD;
    }
    words->kind = kind_of(flags);
    return CODE_GOOD;
}

#endif
