/*
 * The variables of a frame: arguments, locals, cells and free variables (f_localsplus, localsplus), or the namespace
 * that a module or class body runs in (f_locals).
 * Signal-safe: yes.
 */
#include "code.h"
#include "items.h"

static const uint64_t LOCALS_MAGIC = UINT64_C(0x7079756e776c6f31); /* "pyunwlo1" */

/* What shows that a frame is still at the same instruction of the same call. */
struct frame_words {
    pyunw_addr executable;
    pyunw_addr previous;
    uint64_t instruction;
};

struct locals {
    uint64_t magic;
    struct object_reader reader;
    pyunw_addr frame;
    struct frame_words words;
    bool moved; /* before the walk began */
    /* A function: slots. */
    pyunw_addr slots;
    pyunw_addr names[3]; /* co_localsplusnames; or co_varnames, co_cellvars and co_freevars: the first item of each */
    uint32_t counts[3];
    pyunw_addr kinds;    /* 3.11+: the first byte of co_localspluskinds; 0: none */
    pyunw_addr cell2arg; /* 3.8-3.10: 0: none */
    uint32_t arguments;
    uint32_t index;
    uint32_t end;
    /* A module or class body: the namespace, and of the slots those of a comprehension that is part of it (3.12+). */
    bool has_items;
    bool only_hidden;
    struct items items;
};

_Static_assert(sizeof(struct locals) <= sizeof(pyunw_local_cursor), "locals outgrew their public size");

/* co_flags, Include/cpython/code.h. */
enum { CODE_OPTIMIZED = 1, CODE_VARARGS = 4, CODE_VARKEYWORDS = 8 };

/* co_localspluskinds, Include/internal/pycore_code.h. */
enum { KIND_HIDDEN = 0x10, KIND_CELL = 0x40, KIND_FREE = 0x80 };

/* More than code has, and more than is worth the search for the cells of arguments. */
enum { MANY_SLOTS = 1 << 16, MANY_PAIRS = 1 << 20 };

/* Slots of a namespace that are looked at for its next variable: all others in a row are of names that were deleted. */
enum { SLOTS_IN_A_ROW = 1 << 20 };

/* ---- The frame ---- */

static int read_frame_words(const struct target *target, const struct memory *memory, pyunw_addr frame,
                            struct frame_words *words)
{
    const struct layout_frame *at = &target->layout.at.frame;
    uint32_t offset = 0;
    int err = pyunw_read_u64(memory, frame + at->executable, &words->executable);
    if (err == 0)
        err = pyunw_read_u64(memory, frame + at->previous, &words->previous);
    words->executable &= ~(uint64_t)target->layout.is.stackref_tags;
    if (err == 0 && target->layout.is.instruction_scale == 0)
        return pyunw_read_u64(memory, frame + at->instruction, &words->instruction);
    if (err == 0)
        err = pyunw_read_u32(memory, frame + at->instruction, &offset);
    words->instruction = offset;
    return err;
}

/* Is it at the instruction that the walk found it at? */
static bool is_at_offset(const struct target *target, const struct memory *memory, const pyunw_raw_frame *raw,
                         const struct frame_words *words)
{
    const struct layout_offsets *at = &target->layout.at;
    uint32_t copy = 0;
    int64_t lasti = (int32_t)words->instruction;
    if (target->layout.is.instruction_scale != 0)
        return (lasti < 0 ? lasti : lasti * target->layout.is.instruction_scale) == raw->offset;
    /* Of a thread's own copy of the bytecode that is not told here. */
    if (at->frame.tlbc_index != 0 && pyunw_read_u32(memory, raw->frame + at->frame.tlbc_index, &copy) == 0 && copy != 0)
        return true;
    return words->instruction - (raw->code + at->code.bytecode) == (uint64_t)raw->offset;
}

/* ---- Begin ---- */

/* The first item of a tuple, and how many it has. */
static int open_tuple(struct locals *locals, pyunw_addr field, int which)
{
    pyunw_addr tuple = 0;
    struct items items = {0};
    int err = pyunw_object_read_word(&locals->reader, field, &tuple);
    if (err == 0 && !plausible_address(tuple))
        err = PYUNW_ERR_CORRUPT;
    if (err == 0)
        err = pyunw_items_begin(&locals->reader, tuple, OBJECT_TUPLE, &items);
    if (err < 0)
        return err;
    if (items.end > MANY_SLOTS)
        return PYUNW_ERR_CORRUPT;
    locals->names[which] = items.table;
    locals->counts[which] = (uint32_t)items.end;
    locals->end += (uint32_t)items.end;
    return PYUNW_OK;
}

static int open_names(struct locals *locals, pyunw_addr code)
{
    const struct layout_offsets *at = &locals->reader.target->layout.at;
    if (at->code.localsplusnames == 0) {
        int err = open_tuple(locals, code + at->code.varnames, 0);
        if (err == 0)
            err = open_tuple(locals, code + at->code.cellvars, 1);
        if (err == 0)
            err = open_tuple(locals, code + at->code.freevars, 2);
        if (err == 0)
            err = pyunw_object_read_word(&locals->reader, code + at->code.cell2arg, &locals->cell2arg);
        return err;
    }
    pyunw_addr kinds = 0;
    uint64_t kind_count = 0;
    int err = open_tuple(locals, code + at->code.localsplusnames, 0);
    if (err == 0)
        err = pyunw_object_read_word(&locals->reader, code + at->code.localspluskinds, &kinds);
    if (err == 0 && !plausible_address(kinds))
        err = PYUNW_ERR_CORRUPT;
    if (err == 0)
        err = pyunw_object_read_word(&locals->reader, kinds + at->bytes.size, &kind_count);
    if (err == 0 && kind_count != locals->counts[0])
        err = PYUNW_ERR_CORRUPT;
    locals->kinds = kinds + at->bytes.data;
    return err;
}

/* Arguments are the first of the names. */
static bool are_arguments(const struct locals *locals)
{
    return locals->arguments <= locals->counts[0] &&
           (locals->cell2arg == 0 || (uint64_t)locals->arguments * locals->counts[1] <= MANY_PAIRS);
}

static int begin_function(struct locals *locals, pyunw_addr code, uint32_t flags)
{
    const struct layout_offsets *at = &locals->reader.target->layout.at;
    uint32_t positional = 0;
    uint32_t keyword = 0;
    int err = pyunw_object_read_int(&locals->reader, code + at->code.argcount, &positional);
    if (err == 0)
        err = pyunw_object_read_int(&locals->reader, code + at->code.kwonlyargcount, &keyword);
    if (err < 0)
        return err;
    locals->slots = locals->frame + at->frame.localsplus;
    if (positional > MANY_SLOTS || keyword > MANY_SLOTS)
        return PYUNW_ERR_CORRUPT;
    locals->arguments = positional + keyword + ((flags & CODE_VARARGS) != 0) + ((flags & CODE_VARKEYWORDS) != 0);
    err = open_names(locals, code);
    return err < 0 || are_arguments(locals) ? err : PYUNW_ERR_CORRUPT;
}

/* Begin with a dictionary; without one where the object is another. */
static int begin_dict(struct locals *locals, pyunw_addr object)
{
    struct object_type type;
    int err = pyunw_object_type(&locals->reader, object, &type);
    if (err == 0 && (type.kind == OBJECT_DICT || type.kind == OBJECT_FROZENDICT)) {
        err = pyunw_items_begin(&locals->reader, object, OBJECT_DICT, &locals->items);
        locals->has_items = err == 0;
    }
    return err;
}

/* None where the namespace is no dictionary: a class body's may be what a metaclass made of it. */
static int begin_namespace(struct locals *locals)
{
    pyunw_addr namespace = 0;
    locals->only_hidden = true;
    locals->slots = locals->frame + locals->reader.target->layout.at.frame.localsplus;
    int err = pyunw_read_u64(&locals->reader.memory, locals->frame + locals->reader.target->layout.at.frame.locals,
                             &namespace);
    return err < 0 || namespace == 0 ? err : begin_dict(locals, namespace);
}

static int begin(struct locals *locals, const struct target *target, const pyunw_raw_frame *raw)
{
    struct memory memory = pyunw_safe_memory(target);
    struct code_fields fields;
    uint32_t flags = 0;
    if (!plausible_address(raw->frame))
        return PYUNW_ERR_CORRUPT;
    target_renew(target, PYUNW_FOR_TEXTS);
    int err = pyunw_code_read(target, &memory, raw->code, &fields);
    if (err == 0)
        err = read_frame_words(target, &memory, raw->frame, &locals->words);
    if (err == 0 && locals->words.executable != raw->code)
        err = PYUNW_ERR_TORN;
    if (err == 0)
        err = pyunw_read_u32(&memory, raw->code + target->layout.at.code.flags, &flags);
    if (err < 0)
        return err;
    pyunw_object_reader_begin(&locals->reader, target, &memory);
    locals->frame = raw->frame;
    locals->moved = !is_at_offset(target, &memory, raw, &locals->words);
    if ((flags & CODE_OPTIMIZED) != 0)
        return begin_function(locals, raw->code, flags);
    err = begin_namespace(locals);
    return err < 0 ? err : open_names(locals, raw->code);
}

int pyunw_locals_begin(const pyunw_target *handle, const pyunw_raw_frame *raw, pyunw_local_cursor *cursor)
{
    struct locals *locals = (struct locals *)(void *)cursor;
    const struct target *target = open_target(handle);
    if (locals == NULL || raw == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(locals, 0, sizeof *locals);
    if (target == NULL)
        return not_open(handle);
    int err = begin(locals, target, raw);
    if (err == 0)
        locals->magic = LOCALS_MAGIC;
    return err;
}

int pyunw_namespace_begin(const pyunw_target *handle, pyunw_addr dict, pyunw_local_cursor *cursor)
{
    struct locals *locals = (struct locals *)(void *)cursor;
    const struct target *target = open_target(handle);
    if (locals == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(locals, 0, sizeof *locals);
    if (target == NULL)
        return not_open(handle);
    if (!plausible_address(dict))
        return PYUNW_ERR_CORRUPT;
    struct memory memory = pyunw_safe_memory(target);
    target_renew(target, PYUNW_FOR_TEXTS);
    pyunw_object_reader_begin(&locals->reader, target, &memory);
    int err = begin_dict(locals, dict);
    if (err == 0 && !locals->has_items)
        err = PYUNW_ERR_CORRUPT;
    if (err == 0)
        locals->magic = LOCALS_MAGIC;
    return err;
}

/* ---- Next ---- */

static int read_name(const struct locals *locals, pyunw_addr object, pyunw_local *local)
{
    struct text text;
    size_t length = 0;
    bool cut = false;
    int err = pyunw_text_open(locals->reader.target, &locals->reader.memory, object, MAX_STR, &text);
    if (err == 0)
        err = pyunw_text_to_utf8(&text, TEXT_KEEP_BEGINNING, local->name, sizeof local->name, &length, &cut);
    local->name_length = (uint16_t)length;
    local->flags |= cut ? PYUNW_LOCAL_NAME_TRUNCATED : 0;
    if (err < 0) {
        local->flags |= PYUNW_LOCAL_NAME_UNREADABLE;
        local->name[0] = '\0';
    }
    return err;
}

/* 3.8-3.10: is this cell one of an argument's? Which, or -1. */
static int64_t argument_of_cell(const struct locals *locals, uint32_t cell)
{
    uint64_t argument = 0;
    if (locals->cell2arg == 0 ||
        pyunw_read_u64(&locals->reader.memory, locals->cell2arg + cell * sizeof argument, &argument) < 0)
        return -1;
    return (int64_t)argument;
}

/* 3.8-3.10: the slot of the cell that an argument was moved to, or its own. */
static uint32_t slot_of_argument(const struct locals *locals, uint32_t argument)
{
    for (uint32_t cell = 0; locals->cell2arg != 0 && cell < locals->counts[1]; cell++) {
        if (argument_of_cell(locals, cell) == argument)
            return locals->counts[0] + cell;
    }
    return argument;
}

/* What of a slot is told by its number (3.8-3.10) or its kind (3.11+). */
static uint32_t flags_of_slot(const struct locals *locals, uint32_t slot)
{
    uint8_t kind = 0;
    if (locals->kinds == 0) {
        if (slot < locals->counts[0])
            return 0;
        return slot < locals->counts[0] + locals->counts[1] ? PYUNW_LOCAL_CELL : PYUNW_LOCAL_FREE;
    }
    if (pyunw_read(&locals->reader.memory, locals->kinds + slot, &kind, sizeof kind) < 0)
        return PYUNW_LOCAL_UNREADABLE;
    return ((kind & KIND_CELL) != 0 ? (uint32_t)PYUNW_LOCAL_CELL : 0) |
           ((kind & KIND_FREE) != 0 ? (uint32_t)PYUNW_LOCAL_FREE : 0);
}

/* The name object of a slot. */
static int read_slot_name(const struct locals *locals, uint32_t slot, pyunw_addr *name)
{
    int which = 0;
    for (; which < 2 && slot >= locals->counts[which]; which++)
        slot -= locals->counts[which];
    return pyunw_read_u64(&locals->reader.memory, locals->names[which] + slot * sizeof *name, name);
}

/* Replace a cell by what it holds. A slot of a cell holds the value itself until its cell is made. */
static int read_cell(struct locals *locals, pyunw_addr *object)
{
    struct object_type type;
    if (*object == 0)
        return PYUNW_OK;
    pyunw_object_forget(&locals->reader);
    int err = pyunw_object_type(&locals->reader, *object, &type);
    if (err < 0 || type.kind != OBJECT_CELL)
        return err;
    return pyunw_read_u64(&locals->reader.memory, *object + locals->reader.target->layout.at.cell.value, object);
}

static void read_slot(struct locals *locals, uint32_t slot, pyunw_local *local)
{
    enum { TAGGED_INT = 3 };
    pyunw_addr name = 0;
    uint8_t tags = locals->reader.target->layout.is.stackref_tags;
    if (read_slot_name(locals, slot, &name) < 0)
        local->flags |= PYUNW_LOCAL_NAME_UNREADABLE;
    else
        (void)read_name(locals, name, local);
    int err = pyunw_read_u64(&locals->reader.memory, locals->slots + slot * sizeof local->object, &local->object);
    if (err == 0 && tags != 0 && (local->object & tags) == TAGGED_INT)
        err = PYUNW_ERR_CORRUPT; /* only the interpreter's own stack holds one */
    local->object &= ~(uint64_t)tags;
    if (err == 0 && (local->flags & (PYUNW_LOCAL_CELL | PYUNW_LOCAL_FREE)) != 0)
        err = read_cell(locals, &local->object);
    if (err < 0)
        local->flags |= PYUNW_LOCAL_UNREADABLE;
    if ((local->flags & PYUNW_LOCAL_UNREADABLE) != 0)
        local->object = 0;
}

/* Is this what a comprehension, of which no function was made, keeps its variable in, while it runs? */
static bool is_hidden(const struct locals *locals, uint32_t slot)
{
    uint8_t kind = 0;
    pyunw_addr object = 0;
    uint64_t tags = locals->reader.target->layout.is.stackref_tags;
    return locals->kinds != 0 && pyunw_read(&locals->reader.memory, locals->kinds + slot, &kind, sizeof kind) == 0 &&
           (kind & KIND_HIDDEN) != 0 &&
           pyunw_read_u64(&locals->reader.memory, locals->slots + slot * sizeof object, &object) == 0 &&
           (object & ~tags) != 0;
}

static int next_slot(struct locals *locals, pyunw_local *local)
{
    while (locals->index < locals->end) {
        uint32_t slot = locals->index++;
        bool is_argument = slot < locals->arguments;
        if (locals->only_hidden && !is_hidden(locals, slot))
            continue;
        if (locals->cell2arg != 0 && is_argument)
            slot = slot_of_argument(locals, slot);
        else if (locals->cell2arg != 0 && slot >= locals->counts[0] && slot < locals->counts[0] + locals->counts[1] &&
                 argument_of_cell(locals, slot - locals->counts[0]) >= 0)
            continue; /* told with the arguments */
        local->flags = (is_argument ? (uint32_t)PYUNW_LOCAL_ARGUMENT : 0) | flags_of_slot(locals, slot);
        read_slot(locals, slot, local);
        return 1;
    }
    return 0;
}

/* A key of a namespace need not be a str: one that is none is no variable. */
static bool is_other_key(struct locals *locals, pyunw_addr key)
{
    struct object_type type;
    return pyunw_object_type(&locals->reader, key, &type) == 0 && type.kind != OBJECT_STR;
}

static int next_item(struct locals *locals, pyunw_local *local)
{
    pyunw_addr key = 0;
    locals->reader.slots_left = SLOTS_IN_A_ROW;
    for (;;) {
        int result = pyunw_items_next(&locals->reader, &locals->items, &key, &local->object);
        if (result != 1)
            return result;
        local->flags = 0;
        if (read_name(locals, key, local) == 0 || !is_other_key(locals, key))
            return 1;
    }
}

int pyunw_locals_next(pyunw_local_cursor *cursor, pyunw_local *local)
{
    struct locals *locals = (struct locals *)(void *)cursor;
    if (locals == NULL || local == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (locals->magic != LOCALS_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    local->object = 0;
    local->name_length = 0;
    local->reserved = 0;
    local->name[0] = '\0';
    int result = locals->has_items ? next_item(locals, local) : 0;
    return result != 0 ? result : next_slot(locals, local);
}

int pyunw_locals_end(const pyunw_local_cursor *cursor)
{
    const struct locals *locals = (const struct locals *)(const void *)cursor;
    struct frame_words words = {0};
    if (locals == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (locals->magic != LOCALS_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    if (locals->frame == 0)
        return PYUNW_OK;
    target_renew(locals->reader.target, PYUNW_FOR_CHECK);
    int err = read_frame_words(locals->reader.target, &locals->reader.memory, locals->frame, &words);
    bool same = words.executable == locals->words.executable && words.previous == locals->words.previous &&
                words.instruction == locals->words.instruction;
    return err == 0 && same && !locals->moved ? PYUNW_OK : PYUNW_ERR_TORN;
}
