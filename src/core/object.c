/*
 * Read objects of the target: their types, and what containers hold.
 * Signal-safe: yes.
 */
#include "object.h"

#include "text.h"

/* Slots of containers that are looked at for one value: full ones and empty ones. */
enum { SLOTS_MAX = 1 << 16 };

void pyunw_object_reader_begin(struct object_reader *reader, const struct target *target, const struct memory *memory)
{
    reader->target = target;
    reader->memory = *memory;
    reader->slots_left = SLOTS_MAX;
    reader->window_size = 0;
}

int pyunw_object_read(struct object_reader *reader, pyunw_addr address, void *buffer, size_t size)
{
    uint64_t skip = address - reader->window_at;
    if (address < reader->window_at || skip >= reader->window_size || size > reader->window_size - skip) {
        reader->window_size = 0;
        int got = pyunw_read_some(&reader->memory, address, reader->window, size, sizeof reader->window);
        if (got < 0)
            return got;
        reader->window_at = address;
        reader->window_size = (uint32_t)got;
        skip = 0;
    }
    memcpy(buffer, reader->window + skip, size);
    return PYUNW_OK;
}

int pyunw_object_read_word(struct object_reader *reader, pyunw_addr address, uint64_t *value)
{
    return pyunw_object_read(reader, address, value, sizeof *value);
}

int pyunw_object_read_int(struct object_reader *reader, pyunw_addr address, uint32_t *value)
{
    return pyunw_object_read(reader, address, value, sizeof *value);
}

int pyunw_object_read_byte(struct object_reader *reader, pyunw_addr address, uint8_t *value)
{
    return pyunw_object_read(reader, address, value, sizeof *value);
}

/* ---- Types ---- */

/* tp_flags, Include/object.h: the same in every version. */
enum { TPFLAGS_HEAPTYPE = 9 };

struct flagged_kind {
    uint8_t bit;
    uint8_t kind;
};

static enum object_kind kind_of_flags(uint64_t flags)
{
    static const struct flagged_kind kinds[] = {
        {24, OBJECT_INT}, {25, OBJECT_LIST}, {26, OBJECT_TUPLE}, {27, OBJECT_BYTES},
        {28, OBJECT_STR}, {29, OBJECT_DICT}, {31, OBJECT_TYPE},
    };
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++) {
        if ((flags >> kinds[n].bit & 1u) != 0)
            return (enum object_kind)kinds[n].kind;
    }
    return OBJECT_OTHER;
}

struct named_kind {
    char name[20];
    uint8_t kind;
};

/* A type of the interpreter's own that nothing but its name tells. */
static enum object_kind kind_of_name(const char *name)
{
    static const struct named_kind kinds[] = {
        {"NoneType", OBJECT_NONE},
        {"ellipsis", OBJECT_ELLIPSIS},
        {"NotImplementedType", OBJECT_NOT_IMPLEMENTED},
        {"float", OBJECT_FLOAT},
        {"set", OBJECT_SET},
        {"frozenset", OBJECT_FROZENSET},
        {"frozendict", OBJECT_FROZENDICT},
        {"cell", OBJECT_CELL},
        {"bool", OBJECT_BOOL},
        {"int", OBJECT_INT},
        {"str", OBJECT_STR},
        {"bytes", OBJECT_BYTES},
        {"tuple", OBJECT_TUPLE},
        {"list", OBJECT_LIST},
        {"dict", OBJECT_DICT},
        {"type", OBJECT_TYPE},
    };
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++) {
        size_t length = 0;
        while (kinds[n].name[length] != '\0')
            length++;
        if (memcmp(kinds[n].name, name, length + 1) == 0)
            return (enum object_kind)kinds[n].kind;
    }
    return OBJECT_OTHER;
}

/* A C string, as far as there is room. */
static int read_name(struct object_reader *reader, pyunw_addr address, struct object_type *type)
{
    enum { STEP = 16 };
    size_t room = sizeof type->name - 1;
    memset(type->name, 0, sizeof type->name);
    type->name_cut = false;
    for (size_t done = 0; done < room;) {
        size_t step = room - done < STEP ? room - done : STEP;
        int got = pyunw_read_some(&reader->memory, address + done, type->name + done, 1, step);
        if (got < 0)
            return got;
        for (size_t end = done + (size_t)got; done < end; done++) {
            if (type->name[done] != '\0')
                continue;
            memset(type->name + done, 0, sizeof type->name - done);
            return PYUNW_OK;
        }
    }
    type->name_cut = true;
    return PYUNW_OK;
}

static bool has_dot(const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == '.')
            return true;
    }
    return false;
}

/* A class made by Python code has its qualified name; tp_name is only its last part. */
static void read_qualified_name(struct object_reader *reader, struct object_type *type)
{
    struct text text;
    pyunw_addr object = 0;
    size_t length = 0;
    bool cut = false;
    char name[TYPE_NAME_SIZE];
    if (has_dot(type->name) ||
        pyunw_read_u64(&reader->memory, type->address + reader->target->layout.at.object.ht_qualname, &object) < 0 ||
        pyunw_text_open(reader->target, &reader->memory, object, &text) < 0 ||
        pyunw_text_to_utf8(&text, TEXT_KEEP_BEGINNING, name, sizeof name, &length, &cut) < 0 || length == 0)
        return;
    memcpy(type->name, name, sizeof name);
    type->name_cut = cut;
}

int pyunw_object_describe_type(struct object_reader *reader, struct object_type *type)
{
    const struct layout_object *at = &reader->target->layout.at.object;
    pyunw_addr name = 0;
    if (!plausible_address(type->address))
        return PYUNW_ERR_CORRUPT;
    int err = pyunw_read_u64(&reader->memory, type->address + at->tp_flags, &type->flags);
    if (err == 0)
        err = pyunw_read_u64(&reader->memory, type->address + at->tp_name, &name);
    if (err == 0)
        err = read_name(reader, name, type);
    if (err < 0)
        return err;
    type->kind = kind_of_flags(type->flags);
    type->subclass = true;
    if ((type->flags >> TPFLAGS_HEAPTYPE & 1u) != 0) {
        read_qualified_name(reader, type);
        return PYUNW_OK;
    }
    enum object_kind named = kind_of_name(type->name);
    if (named != OBJECT_OTHER) {
        type->kind = named;
        type->subclass = false;
    }
    return PYUNW_OK;
}

int pyunw_object_type(struct object_reader *reader, pyunw_addr object, struct object_type *type)
{
    if (!plausible_address(object))
        return PYUNW_ERR_CORRUPT;
    int err = pyunw_object_read_word(reader, object + reader->target->layout.at.object.type, &type->address);
    return err < 0 ? err : pyunw_object_describe_type(reader, type);
}

/* ---- Containers ---- */

/* Larger than any container that memory holds. */
static const uint64_t MANY_SLOTS = UINT64_C(1) << 40;

static int begin_array(struct object_reader *reader, pyunw_addr object, bool is_list, struct items *items)
{
    const struct layout_offsets *at = &reader->target->layout.at;
    int err = pyunw_object_read_word(reader, object + at->object.var_size, &items->end);
    if (err < 0)
        return err;
    items->kind = ITEMS_ARRAY;
    items->stride = sizeof(uint64_t);
    items->table = object + at->sequence.tuple_items;
    if (is_list)
        err = pyunw_object_read_word(reader, object + at->sequence.list_items, &items->table);
    if (err == 0 && (items->end > MANY_SLOTS || (items->end > 0 && !plausible_address(items->table))))
        err = PYUNW_ERR_CORRUPT;
    return err;
}

static int begin_set(struct object_reader *reader, pyunw_addr object, struct items *items)
{
    const struct layout_set *at = &reader->target->layout.at.set;
    uint64_t mask = 0;
    int err = pyunw_object_read_word(reader, object + at->mask, &mask);
    if (err == 0)
        err = pyunw_object_read_word(reader, object + at->table, &items->table);
    if (err < 0)
        return err;
    items->kind = ITEMS_SET;
    items->stride = 2 * sizeof(uint64_t); /* key, hash */
    items->end = mask + 1;
    return mask < MANY_SLOTS && (mask & (mask + 1)) == 0 && plausible_address(items->table) ? PYUNW_OK
                                                                                            : PYUNW_ERR_CORRUPT;
}

/* Where the entries of a table of keys stand, and whether they hold a hash. */
static int find_entries(struct object_reader *reader, pyunw_addr keys, pyunw_addr *entries, bool *with_hash)
{
    const struct layout_dict *at = &reader->target->layout.at.dict;
    uint8_t log2_bytes = 0;
    uint8_t kind = 0;
    uint64_t size = 0;
    int err;
    *with_hash = true;
    if (at->keys_size == 0) {
        err = pyunw_object_read_byte(reader, keys + at->keys_log2_bytes, &log2_bytes);
        if (err == 0)
            err = pyunw_object_read_byte(reader, keys + at->keys_kind, &kind);
        if (err == 0 && (log2_bytes > 43 || kind > 2))
            err = PYUNW_ERR_CORRUPT;
        *with_hash = kind == 0; /* DICT_KEYS_GENERAL */
        *entries = keys + at->keys_indices + (UINT64_C(1) << (log2_bytes & 63u));
        return err;
    }
    err = pyunw_object_read_word(reader, keys + at->keys_size, &size);
    if (err == 0 && size > MANY_SLOTS)
        err = PYUNW_ERR_CORRUPT;
    uint64_t width = size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= UINT32_MAX ? 4 : 8;
    *entries = keys + at->keys_indices + size * width;
    return err;
}

/* A split table: the keys are shared, and the order of insertion is each dictionary's own from 3.11 on. */
static int begin_split(struct object_reader *reader, struct items *items)
{
    const struct layout *layout = &reader->target->layout;
    uint8_t count = 0;
    uint8_t capacity = 0;
    int err = PYUNW_OK;
    pyunw_addr values = items->values;
    items->kind = ITEMS_SPLIT;
    items->values = values + layout->at.dict.values_data;
    if (layout->at.dict.keys_size != 0)
        return PYUNW_OK;
    if (layout->at.dict.values_data != 0) {
        /* capacity, size; behind the values the order */
        err = pyunw_object_read_byte(reader, values, &capacity);
        if (err == 0)
            err = pyunw_object_read_byte(reader, values + 1, &count);
        items->order = items->values + sizeof(uint64_t) * capacity;
        items->order_step = 1;
    } else {
        /* Before the values, downwards: their size, the order's size, the order. */
        err = pyunw_object_read_byte(reader, values - 2, &count);
        items->order = values - 3;
        items->order_step = -1;
    }
    items->end = count;
    return err;
}

static int begin_keys(struct object_reader *reader, pyunw_addr keys, pyunw_addr values, struct items *items)
{
    const struct layout_dict *at = &reader->target->layout.at.dict;
    bool with_hash = false;
    if (!plausible_address(keys) || (values != 0 && !plausible_address(values)))
        return PYUNW_ERR_CORRUPT;
    int err = find_entries(reader, keys, &items->table, &with_hash);
    if (err == 0)
        err = pyunw_object_read_word(reader, keys + at->keys_entry_count, &items->end);
    if (err < 0)
        return err;
    if (items->end > MANY_SLOTS)
        return PYUNW_ERR_CORRUPT;
    items->kind = ITEMS_ENTRIES;
    items->key = with_hash ? sizeof(uint64_t) : 0;
    items->stride = (uint8_t)(items->key + 2 * sizeof(uint64_t));
    items->values = values;
    return values != 0 ? begin_split(reader, items) : PYUNW_OK;
}

static int begin_dict(struct object_reader *reader, pyunw_addr object, struct items *items)
{
    const struct layout_dict *at = &reader->target->layout.at.dict;
    pyunw_addr keys = 0;
    pyunw_addr values = 0;
    int err = pyunw_object_read_word(reader, object + at->keys, &keys);
    if (err == 0)
        err = pyunw_object_read_word(reader, object + at->values, &values);
    return err < 0 ? err : begin_keys(reader, keys, values, items);
}

int pyunw_items_begin(struct object_reader *reader, pyunw_addr object, enum object_kind kind, struct items *items)
{
    *items = (struct items){0};
    switch (kind) {
    case OBJECT_TUPLE:
        return begin_array(reader, object, false, items);
    case OBJECT_LIST:
        return begin_array(reader, object, true, items);
    case OBJECT_SET:
    case OBJECT_FROZENSET:
        return begin_set(reader, object, items);
    case OBJECT_DICT:
    case OBJECT_FROZENDICT:
        return begin_dict(reader, object, items);
    default:
        return PYUNW_ERR_ARGUMENT;
    }
}

/* Read the slot at index: a key of 0 where it is empty. */
static int read_slot(struct object_reader *reader, const struct items *items, uint64_t index, pyunw_addr *key,
                     pyunw_addr *value)
{
    uint64_t words[3] = {0};
    uint8_t ordered = 0;
    *value = 0;
    if (items->kind == ITEMS_SPLIT && items->order != 0) {
        pyunw_addr at = items->order + (uint64_t)((int64_t)items->order_step * (int64_t)index);
        int err = pyunw_read(&reader->memory, at, &ordered, sizeof ordered);
        if (err < 0)
            return err;
        index = ordered;
    }
    int err = pyunw_object_read(reader, items->table + index * items->stride, words, items->stride);
    if (err < 0)
        return err;
    *key = words[items->key / sizeof words[0]];
    if (items->kind == ITEMS_SET && words[1] == UINT64_MAX) /* a hash is never -1: an entry that was removed */
        *key = 0;
    if (items->kind == ITEMS_ENTRIES)
        *value = words[items->key / sizeof words[0] + 1];
    if (items->kind == ITEMS_SPLIT)
        err = pyunw_read_u64(&reader->memory, items->values + index * sizeof(uint64_t), value);
    if ((items->kind == ITEMS_ENTRIES || items->kind == ITEMS_SPLIT) && *value == 0)
        *key = 0;
    return err;
}

int pyunw_items_next(struct object_reader *reader, struct items *items, pyunw_addr *key, pyunw_addr *value)
{
    while (items->index < items->end) {
        if (reader->slots_left == 0)
            return PYUNW_ERR_CORRUPT;
        reader->slots_left--;
        int err = read_slot(reader, items, items->index++, key, value);
        if (err < 0)
            return err;
        if (*key != 0 || items->kind == ITEMS_ARRAY)
            return 1;
    }
    return 0;
}
