/*
 * Walk over what containers hold, and over the attributes of instances.
 * Signal-safe: yes.
 */
#include "items.h"

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

/* A table of keys (PyDictKeysObject): where its entries stand, and how many there may be. */
struct key_table {
    pyunw_addr entries; /* the first one */
    uint64_t slots;     /* of the hash table, which has more of them than there are entries */
    bool with_hash;     /* each entry */
};

static int find_entries(struct object_reader *reader, pyunw_addr keys, struct key_table *table)
{
    const struct layout_dict *at = &reader->target->layout.at.dict;
    uint8_t log2_size = 0;
    uint8_t log2_bytes = 0;
    uint8_t kind = 0;
    uint64_t size = 0;
    int err;
    if (at->keys_size == 0) {
        err = pyunw_object_read_byte(reader, keys + at->keys_log2_bytes, &log2_bytes);
        if (err == 0)
            err = pyunw_object_read_byte(reader, keys + at->keys_log2_size, &log2_size);
        if (err == 0)
            err = pyunw_object_read_byte(reader, keys + at->keys_kind, &kind);
        /* An index takes 1, 2, 4 or 8 bytes; the table of no keys has a size of its own (Objects/dictobject.c). */
        if (err == 0 && (log2_size > 40 || log2_bytes < log2_size || log2_bytes > log2_size + 3 || kind > 2))
            err = PYUNW_ERR_CORRUPT;
        table->with_hash = kind == 0; /* DICT_KEYS_GENERAL */
        table->entries = keys + at->keys_indices + (UINT64_C(1) << (log2_bytes & 63u));
        table->slots = UINT64_C(1) << (log2_size & 63u);
        return err;
    }
    err = pyunw_object_read_word(reader, keys + at->keys_size, &size);
    if (err == 0 && size > MANY_SLOTS)
        err = PYUNW_ERR_CORRUPT;
    uint64_t width = size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= UINT32_MAX ? 4 : 8;
    table->with_hash = true;
    table->entries = keys + at->keys_indices + size * width;
    table->slots = size;
    return err;
}

/*
 * A split table: the keys are shared, and the order of insertion is each dictionary's own from 3.11 on. Shared keys are
 * only ever added to, so that what is counted here is at most what they hold when they are read afterwards.
 */
static int begin_values(struct object_reader *reader, pyunw_addr values, struct items *items)
{
    const struct layout *layout = &reader->target->layout;
    uint8_t count = 0;
    uint8_t capacity = UINT8_MAX;
    int err = PYUNW_OK;
    items->kind = ITEMS_SPLIT;
    items->values = values + layout->at.dict.values_data;
    items->entries = MANY_SLOTS;
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
    items->entries = capacity;
    return err == 0 && count > capacity ? PYUNW_ERR_CORRUPT : err;
}

static int begin_keys(struct object_reader *reader, pyunw_addr keys, pyunw_addr values, struct items *items)
{
    const struct layout_dict *at = &reader->target->layout.at.dict;
    struct key_table table = {0};
    uint64_t entries = 0;
    int err = PYUNW_OK;
    if (!plausible_address(keys) || (values != 0 && !plausible_address(values)))
        return PYUNW_ERR_CORRUPT;
    items->kind = ITEMS_ENTRIES;
    if (values != 0)
        err = begin_values(reader, values, items);
    if (err == 0)
        err = find_entries(reader, keys, &table);
    if (err == 0)
        err = pyunw_object_read_word(reader, keys + at->keys_entry_count, &entries);
    if (err < 0)
        return err;
    items->table = table.entries;
    items->key = table.with_hash ? sizeof(uint64_t) : 0;
    items->stride = (uint8_t)(items->key + 2 * sizeof(uint64_t));
    if (entries > table.slots || (items->order != 0 && items->end > entries))
        return PYUNW_ERR_CORRUPT;
    if (items->order == 0)
        items->end = entries;
    else if (items->entries > entries)
        items->entries = entries;
    return PYUNW_OK;
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

/* ---- Attributes ---- */

/* tp_flags, Include/object.h: 3.13+, 3.11+. */
enum { TPFLAGS_INLINE_VALUES = 2, TPFLAGS_MANAGED_DICT = 4 };

static bool has_flag(const struct object_type *type, uint32_t bit)
{
    return (type->flags >> bit & 1u) != 0;
}

/* The dictionary that an instance points to, or a subclass's. */
static int begin_instance_dict(struct object_reader *reader, pyunw_addr dict, struct items *items)
{
    struct object_type type;
    int err = pyunw_object_type(reader, dict, &type);
    if (err == 0 && type.kind != OBJECT_DICT)
        err = PYUNW_ERR_CORRUPT;
    return err < 0 ? err : begin_dict(reader, dict, items);
}

/* The values of an instance whose type keeps the keys: 0 where its dictionary has them. */
static int find_values(struct object_reader *reader, pyunw_addr object, const struct object_type *type, pyunw_addr dict,
                       pyunw_addr *values)
{
    enum { VALID = 3 }; /* PyDictValues.valid, 3.13+ */
    uint64_t size = 0;
    uint8_t valid = 0;
    int err = PYUNW_OK;
    *values = 0;
    switch ((enum attribute_format)reader->target->layout.is.attribute_format) {
    case ATTRIBUTES_DICT:
        return PYUNW_OK;
    case ATTRIBUTES_VALUES:
        return pyunw_read_u64(&reader->memory, object - 4 * sizeof(uint64_t), values);
    case ATTRIBUTES_TAGGED:
        *values = (dict & 1) != 0 ? dict + 1 : 0;
        return PYUNW_OK;
    case ATTRIBUTES_INLINE:
        if (dict != 0 || !has_flag(type, TPFLAGS_INLINE_VALUES))
            return PYUNW_OK;
        err = pyunw_read_u64(&reader->memory, type->address + reader->target->layout.at.object.tp_basicsize, &size);
        if (err == 0 && size > UINT32_MAX)
            err = PYUNW_ERR_CORRUPT;
        if (err == 0)
            err = pyunw_read(&reader->memory, object + size + VALID, &valid, sizeof valid);
        *values = valid == 1 ? object + size : 0;
        return err;
    }
    return PYUNW_OK;
}

static int begin_managed(struct object_reader *reader, pyunw_addr object, const struct object_type *type,
                         struct items *items)
{
    const struct layout *layout = &reader->target->layout;
    pyunw_addr dict = 0;
    pyunw_addr values = 0;
    pyunw_addr keys = 0;
    int err = pyunw_read_u64(&reader->memory, object - layout->is.managed_dict * sizeof(uint64_t), &dict);
    if (err == 0)
        err = find_values(reader, object, type, dict, &values);
    if (err < 0)
        return err;
    if (values == 0)
        return dict != 0 ? begin_instance_dict(reader, dict, items) : PYUNW_OK;
    err = pyunw_read_u64(&reader->memory, type->address + layout->at.object.ht_cached_keys, &keys);
    return err < 0 ? err : begin_keys(reader, keys, values, items);
}

int pyunw_items_begin_attributes(struct object_reader *reader, pyunw_addr object, const struct object_type *type,
                                 struct items *items)
{
    const struct layout *layout = &reader->target->layout;
    uint64_t offset = 0;
    pyunw_addr dict = 0;
    *items = (struct items){0};
    if (layout->is.managed_dict != 0 && has_flag(type, TPFLAGS_MANAGED_DICT))
        return begin_managed(reader, object, type, items);
    int err = pyunw_read_u64(&reader->memory, type->address + layout->at.object.tp_dictoffset, &offset);
    if (err < 0 || offset == 0 || offset > UINT32_MAX) /* a negative one counts from the end, which is not known */
        return err;
    err = pyunw_read_u64(&reader->memory, object + offset, &dict);
    return err < 0 || dict == 0 ? err : begin_instance_dict(reader, dict, items);
}

/* ---- Next ---- */

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
        if (ordered >= items->entries)
            return PYUNW_ERR_CORRUPT;
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
