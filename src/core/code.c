/*
 * Describe code objects: names, position of an instruction, identity.
 * Signal-safe: yes.
 */
#include "code.h"

#include "positions.h"

enum { MAX_TABLE = 1 << 28 };

ALWAYS_INLINE int read_code_as(enum load_kind how, const struct target *target, const struct memory *memory,
                               pyunw_addr code, struct code_fields *fields)
{
    const struct layout_code *at = &target->layout.at.code;
    uint8_t scratch[LAYOUT_CODE_SIZE_MAX];
    int fault = 0;
    if (!plausible_address(code))
        return PYUNW_ERR_CORRUPT;
    const uint8_t *view = view_structure(how, memory, code, at->size, scratch);
    if (view == NULL)
        return PYUNW_ERR_FAULT;
    pyunw_addr type = load_u64(how, view + target->layout.at.object.type, &fault);
    fields->filename = load_u64(how, view + at->filename, &fault);
    fields->name = load_u64(how, view + at->name, &fault);
    fields->qualname = at->qualname != 0 ? load_u64(how, view + at->qualname, &fault) : fields->name;
    fields->table = load_u64(how, view + at->table, &fault);
    fields->firstlineno = (int32_t)load_u32(how, view + at->firstlineno, &fault);
    fields->version = at->version != 0 ? load_u32(how, view + at->version, &fault) : 0;
    if (fault)
        return PYUNW_ERR_FAULT;
    bool known = type == target->code_type && type != 0;
    return known || pyunw_is_code_type(target, memory, type) ? PYUNW_OK : PYUNW_ERR_CORRUPT;
}

int pyunw_code_read(const struct target *target, const struct memory *memory, pyunw_addr code,
                    struct code_fields *fields)
{
    switch (load_kind_of(memory)) {
    case LOAD_DIRECT:
        return read_code_as(LOAD_DIRECT, target, memory, code, fields);
    case LOAD_TRAPPED:
        return read_code_as(LOAD_TRAPPED, target, memory, code, fields);
    case LOAD_COPY:
        return read_code_as(LOAD_COPY, target, memory, code, fields);
    }
    return PYUNW_ERR_FAULT;
}

/* ---- Position ---- */

/* Open the bytes of a PyBytesObject, and fetch the first of them with its header where reading is dear. */
static int open_table(const struct target *target, const struct memory *memory, pyunw_addr object,
                      struct byte_stream *stream)
{
    const struct layout_bytes *at = &target->layout.at.bytes;
    uint64_t size = 0;
    if (!plausible_address(object))
        return PYUNW_ERR_CORRUPT;
    stream->memory = memory;
    stream->error = PYUNW_OK;
    stream->next = stream->end = stream->buffer;
    int got = 0;
    if (load_kind_of(memory) == LOAD_COPY) {
        got = pyunw_read_some(memory, object, stream->buffer, at->data, sizeof stream->buffer);
        if (got < 0)
            return got;
        memcpy(&size, stream->buffer + at->size, sizeof size);
    } else {
        int err = pyunw_read_u64(memory, object + at->size, &size);
        if (err < 0)
            return err;
    }
    if (size >= MAX_TABLE)
        return PYUNW_ERR_CORRUPT;
    stream->at = object + at->data;
    stream->left = size;
    if (memory->kind == MEMORY_DIRECT) {
        stream->next = (const uint8_t *)(uintptr_t)stream->at;
        stream->end = stream->next + size;
        stream->left = 0;
    } else if ((uint32_t)got > at->data) {
        uint64_t have = (uint64_t)(uint32_t)got - at->data;
        have = have < size ? have : size;
        stream->next = stream->buffer + at->data;
        stream->end = stream->next + have;
        stream->at += have;
        stream->left -= have;
    }
    return PYUNW_OK;
}

/* Not inlined: its buffer would add to that of the texts, which are not there at the same time. */
__attribute__((noinline)) int pyunw_code_position(const struct target *target, const struct memory *memory,
                                                  const struct code_fields *fields, int32_t offset,
                                                  pyunw_position *position)
{
    struct byte_stream stream;
    *position = NO_POSITION;
    int err = open_table(target, memory, fields->table, &stream);
    if (err < 0)
        return err;
    return pyunw_position_decode((enum table_format)target->layout.is.table_format, &stream, fields->firstlineno,
                                 offset, position);
}

int pyunw_find_position(const pyunw_target *handle, const pyunw_raw_frame *raw, pyunw_position *position)
{
    const struct target *target = open_target(handle);
    struct code_fields fields;
    if (target == NULL)
        return not_open(handle);
    if (raw == NULL || position == NULL)
        return PYUNW_ERR_ARGUMENT;
    target_renew(target, PYUNW_FOR_TEXTS);
    struct memory memory = pyunw_described_memory(target);
    int err = pyunw_code_read(target, &memory, raw->code, &fields);
    return err < 0 ? err : pyunw_code_position(target, &memory, &fields, raw->offset, position);
}

/* ---- Description ---- */

enum { TEXT_FILENAME, TEXT_NAME, TEXT_QUALNAME, TEXT_COUNT };

/* Where one text of a frame goes. */
struct text_place {
    int which;
    char *data;
    size_t size;
    size_t length; /* out */
    size_t *whole; /* out; NULL: not asked for */
};

static enum text_keep kept_part(int which)
{
    return which == TEXT_FILENAME ? TEXT_KEEP_END : TEXT_KEEP_BEGINNING;
}

/* Not inlined: the common case needs none of it. */
__attribute__((noinline)) static void describe_any_text(const struct target *target, const struct memory *memory,
                                                        pyunw_addr object, struct text_place *place, uint32_t *flags)
{
    struct text text;
    bool truncated = false;
    char nothing[1];
    int err = pyunw_text_open(target, memory, object, MAX_TEXT, &text);
    if (err == 0 && place->whole != NULL)
        err = pyunw_text_utf8_length(&text, place->whole);
    if (err == 0)
        err = pyunw_text_to_utf8(&text, kept_part(place->which), place->size > 0 ? place->data : nothing,
                                 place->size > 0 ? place->size : 1, &place->length, &truncated);
    if (err < 0) {
        *flags |= (uint32_t)PYUNW_FILENAME_UNREADABLE << place->which;
        place->length = 0;
        if (place->size > 0)
            place->data[0] = '\0';
        if (place->whole != NULL)
            *place->whole = 0;
    } else if (truncated) {
        *flags |= (uint32_t)PYUNW_FILENAME_TRUNCATED << place->which;
    }
}

_Static_assert(PYUNW_FILENAME_TRUNCATED << TEXT_NAME == PYUNW_NAME_TRUNCATED &&
                   PYUNW_FILENAME_TRUNCATED << TEXT_QUALNAME == PYUNW_QUALNAME_TRUNCATED &&
                   PYUNW_FILENAME_UNREADABLE << TEXT_NAME == PYUNW_NAME_UNREADABLE &&
                   PYUNW_FILENAME_UNREADABLE << TEXT_QUALNAME == PYUNW_QUALNAME_UNREADABLE,
               "the flags of the texts follow each other");

/* A text into a frame's own buffer. */
ALWAYS_INLINE uint16_t describe_text(const struct target *target, const struct memory *memory, pyunw_addr object,
                                     int which, char *data, size_t size, uint32_t *flags)
{
    size_t length = 0;
    bool truncated = false;
    if (pyunw_text_copy_ascii(target, memory, object, kept_part(which), data, size, &length, &truncated)) {
        if (truncated)
            *flags |= (uint32_t)PYUNW_FILENAME_TRUNCATED << which;
        return (uint16_t)length;
    }
    struct text_place place = {.which = which, .data = data, .size = size};
    describe_any_text(target, memory, object, &place, flags);
    return (uint16_t)place.length;
}

static uint32_t initial_flags(const struct target *target)
{
    return target->layout.at.code.qualname == 0 ? PYUNW_QUALNAME_IS_NAME : 0;
}

void pyunw_code_expect(const struct target *target, const struct memory *memory, pyunw_addr code)
{
    enum { SHORT_TEXT = 128, SHORT_TABLE = 256 }; /* bytes, with their headers */
    struct code_fields fields;
    if (pyunw_code_read(target, memory, code, &fields) < 0)
        return;
    const pyunw_addr texts[] = {fields.filename, fields.name, fields.qualname};
    memory_expect(memory, code, target->layout.at.code.size);
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++) {
        if (plausible_address(texts[n]))
            memory_expect(memory, texts[n], SHORT_TEXT);
    }
    if (plausible_address(fields.table))
        memory_expect(memory, fields.table, SHORT_TABLE);
}

int pyunw_code_describe(const struct target *target, const struct memory *memory, const pyunw_raw_frame *raw,
                        pyunw_frame *frame)
{
    pyunw_raw_frame kept = *raw; /* raw may be frame's own */
    struct code_fields fields;
    int err = pyunw_code_read(target, memory, kept.code, &fields);
    if (err < 0)
        return err;
    uint32_t flags = initial_flags(target);
    frame->filename_length =
        describe_text(target, memory, fields.filename, TEXT_FILENAME, frame->filename, sizeof frame->filename, &flags);
    frame->name_length = describe_text(target, memory, fields.name, TEXT_NAME, frame->name, sizeof frame->name, &flags);
    frame->qualname_length =
        describe_text(target, memory, fields.qualname, TEXT_QUALNAME, frame->qualname, sizeof frame->qualname, &flags);
    if (pyunw_code_position(target, memory, &fields, kept.offset, &frame->position) < 0)
        flags |= PYUNW_POSITION_UNREADABLE;
    frame->raw = kept;
    frame->flags = flags;
    frame->reserved = 0;
    return PYUNW_OK;
}

int pyunw_describe(const pyunw_target *handle, const pyunw_raw_frame *raw, pyunw_frame *frame)
{
    const struct target *target = open_target(handle);
    if (target == NULL)
        return not_open(handle);
    if (raw == NULL || frame == NULL)
        return PYUNW_ERR_ARGUMENT;
    target_renew(target, PYUNW_FOR_TEXTS);
    struct memory memory = pyunw_described_memory(target);
    return pyunw_code_describe(target, &memory, raw, frame);
}

int pyunw_describe_into(const pyunw_target *handle, const pyunw_raw_frame *raw, pyunw_description *description)
{
    const struct target *target = open_target(handle);
    struct code_fields fields;
    if (target == NULL)
        return not_open(handle);
    if (raw == NULL || description == NULL)
        return PYUNW_ERR_ARGUMENT;
    pyunw_text *texts[TEXT_COUNT] = {&description->filename, &description->name, &description->qualname};
    for (int n = 0; n < TEXT_COUNT; n++) {
        if (texts[n]->data == NULL && texts[n]->size > 0)
            return PYUNW_ERR_ARGUMENT;
    }
    target_renew(target, PYUNW_FOR_TEXTS);
    struct memory memory = pyunw_described_memory(target);
    int err = pyunw_code_read(target, &memory, raw->code, &fields);
    if (err < 0)
        return err;
    const pyunw_addr objects[TEXT_COUNT] = {fields.filename, fields.name, fields.qualname};
    description->flags = initial_flags(target);
    for (int n = 0; n < TEXT_COUNT; n++) {
        struct text_place place = {n, texts[n]->data, texts[n]->size, 0, &texts[n]->whole};
        describe_any_text(target, &memory, objects[n], &place, &description->flags);
        texts[n]->length = place.length;
    }
    if (pyunw_code_position(target, &memory, &fields, raw->offset, &description->position) < 0)
        description->flags |= PYUNW_POSITION_UNREADABLE;
    return PYUNW_OK;
}

/* ---- Identity ---- */

/* One round of a 64-bit mix (splitmix64): every bit of the words mixed so far reaches every bit of the result. */
static uint64_t mix(uint64_t state, uint64_t word)
{
    uint64_t z = (state ^ word) + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Mix a text's length and its first characters. Its cached hash and UTF-8 come later in its life, and do not count. */
static int mix_text(const struct target *target, const struct memory *memory, pyunw_addr object, uint64_t *state)
{
    enum { ENOUGH_WORDS = 8 };
    struct text text;
    uint64_t words[ENOUGH_WORDS] = {0};
    int err = pyunw_text_open(target, memory, object, MAX_TEXT, &text);
    if (err < 0)
        return err;
    uint64_t size = text.length * text.width;
    err = pyunw_read(memory, text.data, words, size < sizeof words ? (size_t)size : sizeof words);
    if (err < 0)
        return err;
    *state = mix(*state, size);
    for (size_t n = 0; n < ENOUGH_WORDS && 8 * n < size; n++)
        *state = mix(*state, words[n]);
    return PYUNW_OK;
}

/*
 * Up to 3.11 no code object has a number of its own, and a new one is often made of pieces at the very addresses of
 * the old one's. So the contents are mixed: the table, and the texts by their lengths and first bytes.
 */
static int mix_contents(const struct target *target, const struct memory *memory, const struct code_fields *fields,
                        uint64_t *check)
{
    enum { ENOUGH = 4096 };
    struct byte_stream stream;
    const pyunw_addr texts[] = {fields->filename, fields->name, fields->qualname};
    uint64_t state = 0;
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++) {
        int bad = mix_text(target, memory, texts[n], &state);
        if (bad < 0)
            return bad;
    }
    int err = open_table(target, memory, fields->table, &stream);
    if (err < 0)
        return err;
    uint64_t left = (uint64_t)(stream.end - stream.next) + stream.left;
    state = mix(state, left);
    pyunw_addr at = fields->table + target->layout.at.bytes.data;
    for (uint64_t done = 0; done < left && done < ENOUGH; done += sizeof(uint64_t)) {
        uint64_t word = 0;
        uint64_t part = left - done < sizeof word ? left - done : sizeof word;
        err = pyunw_read(memory, at + done, &word, (size_t)part);
        if (err < 0)
            return err;
        state = mix(state, word);
    }
    *check = state;
    return PYUNW_OK;
}

int pyunw_identify_code(const pyunw_target *handle, pyunw_addr code, pyunw_code_identity *identity)
{
    const struct target *target = open_target(handle);
    struct code_fields fields;
    if (target == NULL)
        return not_open(handle);
    if (identity == NULL)
        return PYUNW_ERR_ARGUMENT;
    target_renew(target, PYUNW_FOR_TEXTS);
    struct memory memory = pyunw_described_memory(target);
    int err = pyunw_code_read(target, &memory, code, &fields);
    if (err < 0)
        return err;
    uint64_t check = fields.version;
    /* co_version is 0 once 2^32 code objects were made. */
    if (fields.version == 0)
        err = mix_contents(target, &memory, &fields, &check);
    if (err < 0)
        return err;
    *identity = (pyunw_code_identity){
        .code = code,
        .filename = fields.filename,
        .name = fields.name,
        .table = fields.table,
        .check = check,
        .firstlineno = fields.firstlineno,
        .version = fields.version,
    };
    return PYUNW_OK;
}
