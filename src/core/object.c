/*
 * Read objects of the target: words of them, and their types.
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
    reader->window_at = 0;
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

/* A kind that tp_flags tell, of the type itself and of its subclasses. */
static bool is_flagged(enum object_kind kind)
{
    return kind == OBJECT_BOOL || kind == OBJECT_INT || kind == OBJECT_LIST || kind == OBJECT_TUPLE ||
           kind == OBJECT_BYTES || kind == OBJECT_STR || kind == OBJECT_DICT || kind == OBJECT_TYPE;
}

struct named_kind {
    char name[20];
    uint8_t kind;
};

/* tp_basicsize of a type of the interpreter's own that no flag tells. */
static uint64_t size_of_kind(const struct layout_offsets *at, enum object_kind kind)
{
    switch (kind) {
    case OBJECT_FLOAT:
        return at->number.float_value + sizeof(double);
    case OBJECT_CELL:
        return at->cell.value + sizeof(pyunw_addr);
    case OBJECT_SET:
    case OBJECT_FROZENSET:
        return at->set.size;
    case OBJECT_FROZENDICT: /* PyDictObject and a hash: 3.15+ */
        return at->dict.values + sizeof(pyunw_addr) + sizeof(uint64_t);
    default: /* the single objects: nothing but a PyObject */
        return at->object.type + sizeof(pyunw_addr);
    }
}

/* A type of the interpreter's own, so its name says. */
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
        if (is_type_name(name, kinds[n].name))
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
        pyunw_text_open(reader->target, &reader->memory, object, MAX_STR, &text) < 0 ||
        pyunw_text_to_utf8(&text, TEXT_KEEP_BEGINNING, name, sizeof name, &length, &cut) < 0 || length == 0)
        return;
    memcpy(type->name, name, sizeof name);
    type->name_cut = cut;
}

/* What a static type's name says it is, it is only where flags and size say the same. */
static int check_named_kind(struct object_reader *reader, struct object_type *type)
{
    const struct layout_offsets *at = &reader->target->layout.at;
    enum object_kind named = kind_of_name(type->name);
    enum object_kind flagged = named == OBJECT_BOOL ? OBJECT_INT : named;
    uint64_t size = 0;
    if (named == OBJECT_OTHER)
        return PYUNW_OK;
    if (is_flagged(named)) {
        type->subclass = type->kind != flagged;
        type->kind = type->subclass ? type->kind : named;
        return PYUNW_OK;
    }
    int err = pyunw_read_u64(&reader->memory, type->address + at->object.tp_basicsize, &size);
    if (err < 0 || type->kind != OBJECT_OTHER || size != size_of_kind(at, named))
        return err;
    type->kind = named;
    type->subclass = false;
    return PYUNW_OK;
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
        err = name >= 4096 ? read_name(reader, name, type) : PYUNW_ERR_CORRUPT;
    if (err < 0)
        return err;
    type->kind = kind_of_flags(type->flags);
    type->subclass = true;
    type->is_class = (type->flags >> TPFLAGS_HEAPTYPE & 1u) != 0;
    if (type->is_class) {
        read_qualified_name(reader, type);
        return PYUNW_OK;
    }
    return check_named_kind(reader, type);
}

int pyunw_object_type(struct object_reader *reader, pyunw_addr object, struct object_type *type)
{
    if (!plausible_address(object))
        return PYUNW_ERR_CORRUPT;
    int err = pyunw_object_read_word(reader, object + reader->target->layout.at.object.type, &type->address);
    return err < 0 ? err : pyunw_object_describe_type(reader, type);
}
