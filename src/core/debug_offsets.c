/*
 * Decode _Py_DebugOffsets. The table has no format number: where an entry stands follows from the minor version.
 * Pure: bytes in, layout out. A value is believed only if the field it points to fits into its structure.
 * Signal-safe: yes.
 */
#include "debug_offsets.h"

#include "pyunwind.h"

#include <string.h>

static const uint8_t cookie[8] = {'x', 'd', 'e', 'b', 'u', 'g', 'p', 'y'};

enum { VERSION_POSITION = 8, FREE_THREADED_POSITION = 16 };

/* The schemas, as columns of the table below. To add one, add its column: a field that is new gets 0 in the others. */
enum { SCHEMA_COUNT = 3 };
static const struct schema {
    uint8_t minor;
    uint16_t size; /* sizeof(_Py_DebugOffsets) */
} schemas[SCHEMA_COUNT] = {{13, 584}, {14, 760}, {15, DEBUG_OFFSETS_SIZE_MAX}};

/* The layout while it is decoded, with what only helps to find or check others. */
struct draft {
    union {
        struct layout layout;
        struct layout_offsets at; /* the same, by its first member */
    };
    uint32_t interpreter_size;
    uint32_t gc;         /* in the interpreter: struct _gc_runtime_state */
    uint32_t own_gil;    /* in the interpreter: the struct _gil_runtime_state that it has of its own */
    uint32_t other_size; /* bounds a structure's fields, and is needed no more */
};
_Static_assert(offsetof(struct layout, at) == 0, "a layout begins with its offsets");

enum kind {
    KIND_SIZE,                /* begins a structure: the fields that follow lie within this size */
    KIND_FIELD,               /* offset in its structure */
    KIND_FREE_THREADED,       /* the same; 0 and without meaning in a build with the GIL */
    KIND_FREE_THREADED_IN_GIL /* offset in struct _gil_runtime_state, though the entry stands with the interpreter's */
};

struct entry {
    const char *name;                 /* CPython's */
    uint16_t positions[SCHEMA_COUNT]; /* in _Py_DebugOffsets, 8 bytes each; 0: that version has no such entry */
    uint16_t destination;             /* in struct draft */
    uint8_t kind;                     /* enum kind */
    uint8_t width;                    /* bytes of the field, to which it is aligned; 0 for a size */
    uint32_t limit;                   /* of a size */
};

/* Larger than in any version. A runtime holds the main interpreter and its static objects: 0.4 MB in 3.15t. */
enum { STATE_SIZE_MAX = 16 << 20, OTHER_SIZE_MAX = 4 << 10, OBJECT_SIZE_MAX = 96, GIL_SIZE_MAX = 1 << 10 };

#define TO(member) (uint16_t) offsetof(struct draft, member)
/* clang-format off */
#define SIZE_OF(structure, p13, p14, p15, limit, member) \
    { #structure ".size", { p13, p14, p15 }, TO(member), KIND_SIZE, 0, limit }
#define ENTRY(kind, name, p13, p14, p15, width, member) { #name, { p13, p14, p15 }, TO(member), kind, width, 0 }
#define FIELD(...) ENTRY(KIND_FIELD, __VA_ARGS__)
#define FREE_THREADED(...) ENTRY(KIND_FREE_THREADED, __VA_ARGS__)
#define FREE_THREADED_IN_GIL(...) ENTRY(KIND_FREE_THREADED_IN_GIL, __VA_ARGS__)

/* CPython's name, its position in 3.13, 3.14, 3.15, the field's width or the limit of a size, where it goes. */
static const struct entry entries[] = {
    SIZE_OF(runtime_state, 24, 24, 24, STATE_SIZE_MAX, at.runtime.size),
    FIELD(runtime_state.finalizing, 32, 32, 32, 8, at.runtime.finalizing),
    FIELD(runtime_state.interpreters_head, 40, 40, 40, 8, at.runtime.interpreters_head),

    SIZE_OF(interpreter_state, 48, 48, 48, STATE_SIZE_MAX, interpreter_size),
    FIELD(interpreter_state.id, 56, 56, 56, 8, at.interpreter.id),
    FIELD(interpreter_state.next, 64, 64, 64, 8, at.interpreter.next),
    FIELD(interpreter_state.threads_head, 72, 72, 72, 8, at.interpreter.threads_head),
    FIELD(interpreter_state.gc, 80, 88, 88, 8, gc),
    FIELD(interpreter_state.ceval_gil, 112, 120, 120, 8, at.interpreter.gil),
    FIELD(interpreter_state.gil_runtime_state, 120, 128, 128, 8, own_gil),
    FREE_THREADED_IN_GIL(interpreter_state.gil_runtime_state_enabled, 128, 136, 136, 4, at.gil.enabled),
    FIELD(interpreter_state.gil_runtime_state_locked, 136, 144, 144, 4, at.gil.locked),
    FIELD(interpreter_state.gil_runtime_state_holder, 144, 152, 152, 8, at.gil.last_holder),

    SIZE_OF(thread_state, 152, 176, 176, OTHER_SIZE_MAX, at.thread.size),
    FIELD(thread_state.prev, 160, 184, 184, 8, at.thread.prev),
    FIELD(thread_state.next, 168, 192, 192, 8, at.thread.next),
    FIELD(thread_state.interp, 176, 200, 200, 8, at.thread.interp),
    FIELD(thread_state.current_frame, 184, 208, 208, 8, at.thread.frame),
    FIELD(thread_state.base_frame, 0, 0, 216, 8, at.thread.base_frame),
    FIELD(thread_state.thread_id, 192, 216, 240, 8, at.thread.thread_id),
    FIELD(thread_state.native_thread_id, 200, 224, 248, 8, at.thread.native_thread_id),
    FIELD(thread_state.datastack_chunk, 208, 232, 256, 8, at.thread.datastack_chunk),
    FIELD(thread_state.status, 216, 240, 264, 4, at.thread.status),
    FIELD(thread_state.gil_requested, 0, 0, 280, 4, at.thread.gil_requested),
    FIELD(thread_state.current_exception, 0, 0, 288, 8, at.thread.raised),

    SIZE_OF(interpreter_frame, 224, 248, 312, OTHER_SIZE_MAX, other_size),
    FIELD(interpreter_frame.previous, 232, 256, 320, 8, at.frame.previous),
    FIELD(interpreter_frame.executable, 240, 264, 328, 8, at.frame.executable),
    FIELD(interpreter_frame.instr_ptr, 248, 272, 336, 8, at.frame.instruction),
    FIELD(interpreter_frame.localsplus, 256, 280, 344, 8, at.frame.localsplus),
    FIELD(interpreter_frame.owner, 264, 288, 352, 1, at.frame.owner),
    FREE_THREADED(interpreter_frame.tlbc_index, 0, 304, 368, 4, at.frame.tlbc_index),

    SIZE_OF(code_object, 272, 312, 376, OTHER_SIZE_MAX, other_size),
    FIELD(code_object.filename, 280, 320, 384, 8, at.code.filename),
    FIELD(code_object.name, 288, 328, 392, 8, at.code.name),
    FIELD(code_object.qualname, 296, 336, 400, 8, at.code.qualname),
    FIELD(code_object.linetable, 304, 344, 408, 8, at.code.table),
    FIELD(code_object.firstlineno, 312, 352, 416, 4, at.code.firstlineno),
    FIELD(code_object.argcount, 320, 360, 424, 4, at.code.argcount),
    FIELD(code_object.localsplusnames, 328, 368, 432, 8, at.code.localsplusnames),
    FIELD(code_object.localspluskinds, 336, 376, 440, 8, at.code.localspluskinds),
    FIELD(code_object.co_code_adaptive, 344, 384, 448, 2, at.code.bytecode),
    FREE_THREADED(code_object.co_tlbc, 0, 392, 456, 8, at.code.tlbc),

    SIZE_OF(pyobject, 352, 400, 464, OBJECT_SIZE_MAX, other_size),
    FIELD(pyobject.ob_type, 360, 408, 472, 8, at.object.type),

    SIZE_OF(type_object, 368, 416, 480, OTHER_SIZE_MAX, other_size),
    FIELD(type_object.tp_name, 376, 424, 488, 8, at.object.tp_name),
    FIELD(type_object.tp_flags, 392, 440, 504, 8, at.object.tp_flags),
    FIELD(type_object.tp_basicsize, 0, 0, 512, 8, at.object.tp_basicsize),
    FIELD(type_object.tp_dictoffset, 0, 0, 520, 8, at.object.tp_dictoffset),

    SIZE_OF(heap_type_object, 0, 0, 528, OTHER_SIZE_MAX, other_size),
    FIELD(heap_type_object.ht_cached_keys, 0, 0, 536, 8, at.object.ht_cached_keys),

    SIZE_OF(tuple_object, 400, 448, 544, OBJECT_SIZE_MAX, other_size),
    FIELD(tuple_object.ob_item, 408, 456, 552, 8, at.sequence.tuple_items),

    SIZE_OF(list_object, 424, 472, 568, OBJECT_SIZE_MAX, other_size),
    FIELD(list_object.ob_item, 432, 480, 576, 8, at.sequence.list_items),

    SIZE_OF(set_object, 0, 496, 592, OTHER_SIZE_MAX, at.set.size),
    FIELD(set_object.table, 0, 512, 608, 8, at.set.table),
    FIELD(set_object.mask, 0, 520, 616, 8, at.set.mask),

    SIZE_OF(dict_object, 448, 528, 624, OBJECT_SIZE_MAX, other_size),
    FIELD(dict_object.ma_keys, 456, 536, 632, 8, at.dict.keys),
    FIELD(dict_object.ma_values, 464, 544, 640, 8, at.dict.values),

    SIZE_OF(float_object, 472, 552, 648, OBJECT_SIZE_MAX, other_size),
    FIELD(float_object.ob_fval, 480, 560, 656, 8, at.number.float_value),

    SIZE_OF(long_object, 488, 568, 664, OBJECT_SIZE_MAX, other_size),
    FIELD(long_object.lv_tag, 496, 576, 672, 8, at.number.long_tag),
    FIELD(long_object.ob_digit, 504, 584, 680, 4, at.number.long_digit),

    SIZE_OF(bytes_object, 512, 592, 688, OBJECT_SIZE_MAX, other_size),
    FIELD(bytes_object.ob_size, 520, 600, 696, 8, at.bytes.size),
    FIELD(bytes_object.ob_sval, 528, 608, 704, 1, at.bytes.data),

    SIZE_OF(unicode_object, 536, 616, 712, OBJECT_SIZE_MAX, other_size),
    FIELD(unicode_object.state, 544, 624, 720, 4, at.text.state),
    FIELD(unicode_object.length, 552, 632, 728, 8, at.text.length),
    FIELD(unicode_object.asciiobject_size, 560, 640, 736, 8, at.text.ascii_data),
    FIELD(unicode_object.compactunicodeobject_size, 0, 0, 744, 8, at.text.compact_data),

    SIZE_OF(gc, 568, 648, 752, OTHER_SIZE_MAX, other_size),
    FIELD(gc.collecting, 576, 656, 760, 4, at.interpreter.gc_collecting),

    SIZE_OF(gen_object, 0, 664, 792, OTHER_SIZE_MAX, other_size),
    FIELD(gen_object.gi_iframe, 0, 680, 808, 8, at.generator.frame),
    FIELD(gen_object.gi_frame_state, 0, 688, 816, 1, at.generator.frame_state),
};
/* clang-format on */

static const struct schema *find_schema(uint32_t version)
{
    /* An alpha (PY_VERSION_HEX 0x....00a.) may have another table than the version that bears its number. */
    if ((version >> 4 & 0xfu) == 0xau)
        return NULL;
    for (size_t n = 0; n < SCHEMA_COUNT; n++) {
        if (version >> 16 == (3u << 8 | schemas[n].minor))
            return &schemas[n];
    }
    return NULL;
}

static uint64_t load(const uint8_t *bytes, size_t position)
{
    uint64_t value;
    memcpy(&value, bytes + position, sizeof value);
    return value;
}

int pyunw_debug_offsets_probe(const uint8_t *bytes, size_t size, uint32_t *version, bool *free_threaded)
{
    if (size < DEBUG_OFFSETS_HEAD_SIZE || memcmp(bytes, cookie, sizeof cookie) != 0)
        return PYUNW_ERR_LAYOUT;
    uint64_t version_word = load(bytes, VERSION_POSITION);
    uint64_t flag = load(bytes, FREE_THREADED_POSITION);
    if (version_word > UINT32_MAX || flag > 1)
        return PYUNW_ERR_LAYOUT;
    *version = (uint32_t)version_word;
    *free_threaded = flag == 1;
    return find_schema(*version) != NULL ? PYUNW_OK : PYUNW_ERR_UNSUPPORTED;
}

static bool size_fits(uint64_t size, uint32_t limit)
{
    return size > 0 && size <= limit && size % 8 == 0;
}

/* width is a power of two. */
static bool field_fits(uint64_t offset, uint32_t width, uint32_t size)
{
    return offset <= size && width <= size - offset && (offset & (width - 1)) == 0;
}

/* Two fields of one structure cannot share bytes, as they would in a table that is zeroed or shifted. */
static bool shares_bytes(const struct entry *structure, const struct entry *entry, const uint8_t *bytes, size_t schema)
{
    uint64_t offset = load(bytes, entry->positions[schema]);
    for (const struct entry *other = structure + 1; other < entry; other++) {
        uint64_t taken = load(bytes, other->positions[schema]);
        bool counts = other->kind == KIND_FIELD && other->positions[schema] != 0;
        if (counts && offset < taken + other->width && taken < offset + entry->width)
            return true;
    }
    return false;
}

/* Store every entry of a schema. Returns the name of the first that does not fit, or NULL. */
static const char *read_entries(struct draft *draft, const uint8_t *bytes, size_t schema)
{
    const struct entry *structure = entries;
    uint32_t structure_size = 0;
    for (const struct entry *entry = entries; entry < entries + sizeof entries / sizeof *entries; entry++) {
        bool for_all = entry->kind == KIND_SIZE || entry->kind == KIND_FIELD;
        if (entry->positions[schema] == 0 || (!for_all && !draft->at.free_threaded))
            continue;
        uint64_t value = load(bytes, entry->positions[schema]);
        bool fits;
        if (entry->kind == KIND_SIZE) {
            fits = size_fits(value, entry->limit);
            structure = entry;
            structure_size = (uint32_t)value;
        } else if (entry->kind == KIND_FREE_THREADED_IN_GIL) {
            fits = field_fits(value, entry->width, GIL_SIZE_MAX);
        } else {
            fits = field_fits(value, entry->width, structure_size) && !shares_bytes(structure, entry, bytes, schema);
        }
        if (!fits)
            return entry->name;
        uint32_t checked = (uint32_t)value;
        memcpy((uint8_t *)draft + entry->destination, &checked, sizeof checked);
    }
    return NULL;
}

/* What the entries say of one another. Returns the name of one that does not fit the others, or NULL. */
static const char *combine_entries(struct draft *draft)
{
    struct layout_offsets *at = &draft->at;
    /*
     * They describe the GIL inside the interpreter, which one that shares the main interpreter's does not use: the
     * one in use is found through ceval.gil, and what holds for both is the offset in struct _gil_runtime_state.
     */
    at->gil.locked -= draft->own_gil;
    at->gil.last_holder -= draft->own_gil;
    if (at->gil.locked >= GIL_SIZE_MAX)
        return "interpreter_state.gil_runtime_state_locked";
    if (at->gil.last_holder >= GIL_SIZE_MAX)
        return "interpreter_state.gil_runtime_state_holder";

    at->interpreter.gc_collecting += draft->gc;
    if (!field_fits(at->interpreter.gc_collecting, 4, draft->interpreter_size))
        return "gc.collecting";

    /* PyVarObject.ob_size has no entry of its own. */
    at->object.var_size = at->bytes.size;
    at->code.units = at->bytes.size;
    return NULL;
}

static uint32_t max(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/*
 * Readers fetch a header, up to the data behind it, and take its fields from there: none may lie further back. This
 * holds for the fields that are not published, too. Returns the name of the entry that would have one, or NULL.
 */
static const char *check_headers(const struct layout_offsets *at)
{
    if (at->object.type + 8 > at->bytes.size)
        return "pyobject.ob_type";
    if (at->bytes.size + 8 > at->bytes.data)
        return "bytes_object.ob_sval";
    if (max(max(at->text.length, at->text.hash), max(at->text.state, at->object.type)) + 8 > at->text.ascii_data)
        return "unicode_object.asciiobject_size";
    if (at->text.ascii_data > at->text.compact_data || at->text.compact_data > at->text.any_data)
        return "unicode_object.compactunicodeobject_size";

    const struct layout_code *code = &at->code;
    uint32_t end = max(max(code->filename, code->name), max(code->qualname, code->table)) + 8;
    end = max(end, max(code->units, code->tlbc) + 8);
    end = max(end, max(code->firstlineno, code->first_traceable) + 4);
    return end > code->bytecode ? "code_object.co_code_adaptive" : NULL;
}

static uint32_t whole_words(uint32_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

/* How much a reader takes at once: all that precedes what has no fixed size. */
static void set_reading_sizes(struct layout_offsets *at)
{
    uint32_t end = max(max(at->frame.executable, at->frame.previous), at->frame.instruction) + 8;
    end = max(end, max(at->frame.owner + 1, at->frame.tlbc_index + 4));
    at->frame.size = whole_words(end);
    at->code.size = whole_words(at->code.bytecode);
}

static int decode(const uint8_t *bytes, size_t size, struct draft *draft, const char **what)
{
    uint32_t version = 0;
    bool free_threaded = false;
    int err = pyunw_debug_offsets_probe(bytes, size, &version, &free_threaded);
    *what = err == PYUNW_ERR_LAYOUT ? "cookie, version or free_threaded" : "version";
    if (err == PYUNW_OK)
        err = pyunw_layout_select(&draft->layout, version, free_threaded);
    if (err < 0)
        return err;

    const struct schema *schema = find_schema(version);
    if (size < schema->size) {
        *what = "size of _Py_DebugOffsets";
        return PYUNW_ERR_LAYOUT;
    }
    *what = read_entries(draft, bytes, (size_t)(schema - schemas));
    if (*what == NULL)
        *what = combine_entries(draft);
    if (*what == NULL)
        *what = check_headers(&draft->at);
    if (*what != NULL)
        return PYUNW_ERR_LAYOUT;
    set_reading_sizes(&draft->at);

    *what = "thread_state, interpreter_frame or code_object";
    err = pyunw_layout_derive(&draft->layout);
    if (err < 0)
        return err;
    return draft->layout.thread_span <= draft->at.thread.size ? PYUNW_OK : PYUNW_ERR_LAYOUT;
}

int pyunw_debug_offsets_decode(const uint8_t *bytes, size_t size, struct layout *layout, const char **what)
{
    struct draft draft = {0};
    const char *misfit = NULL;
    int err = decode(bytes, size, &draft, &misfit);
    if (what != NULL)
        *what = err < 0 ? misfit : NULL;
    if (err == PYUNW_OK)
        *layout = draft.layout;
    return err;
}
