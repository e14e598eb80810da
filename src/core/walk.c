/*
 * The walk over the frames of one thread.
 *
 * A frame is believed if its address is plausible, its owner is known, its executable is a code object and its
 * instruction lies inside that code. A stack is whole if it ends where CPython begins one: at an entry frame
 * (3.12+), at the thread's first frame or a generator that is being run from C (3.11), or at a frame object that is
 * being executed (3.8-3.10).
 * Signal-safe: yes.
 */
#include "walk.h"
#include "code.h"
#include "layout_semantics.h"
#include "layout_tables.h"

static const uint64_t WALK_MAGIC = UINT64_C(0x7079756e77667731); /* "pyunwfw1" */

bool pyunw_type_is_code(struct walk *walk, pyunw_addr type)
{
    if (walk->code_type != 0 || !pyunw_is_code_type(walk->target, &walk->memory, type))
        return false;
    walk->code_type = type;
    return true;
}

/*
 * What the walking code is compiled for: a row of the tables, whose offsets then are constants in it, or whatever a
 * target's layout says.
 */
struct plan {
    const struct layout_offsets *at;
    const struct layout_semantics *is;
};

/* ---- The code object of a frame ---- */

/* Where a thread's own copy of the bytecode begins (3.14t, 3.15t: thread-local bytecode). 0: no such copy. */
static pyunw_addr find_local_bytecode(const struct walk *walk, pyunw_addr code, int32_t index)
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

/* CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR; CO_OPTIMIZED and CO_NEWLOCALS mark functions (cpython/code.h). */
ALWAYS_INLINE uint8_t kind_of(uint32_t flags)
{
    if (__builtin_expect((flags & 0x2a0u) == 0, 1))
        return (flags & 3u) == 3u ? PYUNW_FRAME_FUNCTION : PYUNW_FRAME_MODULE;
    if ((flags & 0x20u) != 0)
        return PYUNW_FRAME_GENERATOR;
    return (flags & 0x80u) != 0 ? PYUNW_FRAME_COROUTINE : PYUNW_FRAME_ASYNC_GENERATOR;
}

/*
 * Check the code object and find the instruction offset: 1 good, 0 to be hidden, -1 not to be believed.
 * Hidden is what has not begun (before its first RESUME), as the interpreter's own _PyFrame_IsIncomplete says.
 */
ALWAYS_INLINE int read_code(enum load_kind how, struct plan plan, struct walk *walk, const struct frame_fields *fields,
                            struct code_words *words)
{
    const struct layout_code *at = &plan.at->code;
    pyunw_addr code = fields->executable;
    int fault = 0;
    if (!plausible_address(code))
        return -1;
    const uint8_t *view = view_code(how, plan, walk, code);
    if (view == NULL)
        return -1;
    pyunw_addr type = load_u64(how, view + plan.at->object.type, &fault);
    words->kind = kind_of(load_u32(how, view + at->flags, &fault));
    words->fingerprint = 0;
    if (!walk->still)
        words->fingerprint = fingerprint_of(how, at, view, &fault);
    if (fault || __builtin_expect(type != walk->code_type && !pyunw_type_is_code(walk, type), 0))
        return -1;
    if (plan.is->instruction_scale != 0)
        return find_offset_in_object(how, plan, walk, view, fields, &words->offset) ? 1 : -1;
    uint64_t units = load_u64(how, view + at->units, &fault);
    int32_t first_traceable = (int32_t)load_u32(how, view + at->first_traceable, &fault);
    pyunw_addr bytecode = code + at->bytecode;
    if (__builtin_expect(fields->tlbc_index != 0, 0))
        bytecode = find_local_bytecode(walk, code, fields->tlbc_index);
    uint64_t offset = fields->instruction - bytecode;
    /* From -2, the unit before the first, to the last unit; one comparison serves for both ends. */
    if (fault || offset + 2 >= 2 * units + 2 || offset + 2 > INT32_MAX || (offset & 1) != 0)
        return -1;
    words->offset = (int32_t)offset;
    /* Wraps where it is damage: the instruction lies inside the code all the same. */
    int32_t first_offset = (int32_t)(2 * (uint32_t)first_traceable);
    if (__builtin_expect(fields->owner == plan.is->generator_owner || words->offset >= first_offset, 1))
        return 1;
    /* A RESUME stands inside the code. _Py_InitCleanup (3.12+), to be hidden always, says one unit behind its end. */
    return (uint32_t)first_traceable <= units + 1 ? 0 : -1;
}

/* Module level and class bodies have the same flags; "<module>" is the name that only the compiler gives. */
static uint8_t module_or_class(const struct walk *walk, pyunw_addr code)
{
    static const char module[] = "<module>";
    const struct layout *layout = &walk->target->layout;
    const struct layout_text *at = &layout->at.text;
    pyunw_addr name = 0;
    uint64_t length = 0;
    char text[sizeof module - 1];
    if (!read_word(walk, code + layout->at.code.name, &name) || !read_word(walk, name + at->length, &length))
        return PYUNW_FRAME_UNKNOWN;
    if (length != sizeof text)
        return PYUNW_FRAME_CLASS;
    if (pyunw_read(&walk->memory, name + at->ascii_data, text, sizeof text) < 0)
        return PYUNW_FRAME_UNKNOWN;
    return memcmp(text, module, sizeof text) == 0 ? PYUNW_FRAME_MODULE : PYUNW_FRAME_CLASS;
}

/* ---- One step ---- */

static void end_walk(struct walk *walk, enum pyunw_end end, pyunw_addr address)
{
    walk->chain.next = 0;
    walk->ended = true;
    walk->end = (uint8_t)end;
    walk->end_address = address;
}

static void end_at_bottom(struct walk *walk)
{
    /*
     * 3.9, 3.10: a generator that hands an exception on to the one it delegates to stands at the bottom of the chain
     * for that time (_gen_throw, genobject.c); its callers cannot be seen. Of a thread that runs on, a frame object
     * that it gave back meanwhile stands at the end of the list of free ones (3.8-3.10, frame_dealloc).
     */
    bool cut = walk->target->layout.is.instruction_scale != 0;
    if (walk->chain.last != 0 && !pyunw_stack_may_end(walk))
        end_walk(walk, cut ? PYUNW_TORN : PYUNW_CORRUPT, walk->chain.last);
    else if (walk->torn_start)
        end_walk(walk, walk->refused_start != 0 ? PYUNW_CORRUPT : PYUNW_TORN, walk->refused_start);
    else
        end_walk(walk, walk->chain.depth == 0 ? PYUNW_NO_FRAME : PYUNW_COMPLETE, 0);
}

/* Was this frame entered from C? Its caller is an entry frame then (3.12+), or it says so itself. */
ALWAYS_INLINE bool entered_from_c(enum load_kind how, struct plan plan, struct walk *walk,
                                  const struct frame_fields *fields)
{
    struct frame_fields caller;
    if (!plan.is->has_shims)
        return fields->is_entry;
    if (!plausible_address(fields->previous))
        return false;
    if (how == LOAD_COPY) {
        /* What was refused here is not asked for again: the walk ends there, and not with a flag that is a guess. */
        bool read = read_frame_as(how, &plan.at->frame, plan.is, walk, fields->previous, &caller);
        walk->refused = read ? 0 : fields->previous;
        return read && owner_is_hidden(plan.is, caller.owner);
    }
    int fault = 0;
    uint8_t owner = load_u8(how, (const uint8_t *)(uintptr_t)fields->previous + plan.at->frame.owner, &fault);
    return !owner_is_python(owner) && owner_is_hidden(plan.is, owner) && !fault;
}

enum step { STEP_GIVEN, STEP_BOTTOM, STEP_BAD };

/* Brent: a chain that comes back to the mark is a cycle; the mark moves on after twice as many steps each time. */
ALWAYS_INLINE bool closes_cycle(struct chain *chain, pyunw_addr frame, uint32_t depth)
{
    if (__builtin_expect(frame == chain->mark, 0))
        return true;
    if (__builtin_expect(chain->until_mark-- == 0, 0)) {
        chain->mark = frame;
        chain->mark_depth = depth;
        chain->mark_span = 2 * chain->mark_span + 1;
        chain->until_mark = chain->mark_span;
    }
    return false;
}

/* Find the next frame that is not hidden. depth: frames given before it. */
ALWAYS_INLINE enum step step(enum load_kind how, struct plan plan, struct walk *walk, struct chain *chain,
                             uint32_t depth, pyunw_raw_frame *raw)
{
    struct frame_fields fields;
    struct code_words words;
    while (chain->next != 0) {
        pyunw_addr frame = chain->next;
        if (closes_cycle(chain, frame, depth) || chain->mark_span > MAX_FRAMES ||
            (how == LOAD_COPY && frame == walk->refused) ||
            !read_frame_as(how, &plan.at->frame, plan.is, walk, frame, &fields))
            return STEP_BAD;
        chain->last = frame;
        if (__builtin_expect(!owner_is_python(fields.owner), 0)) {
            if (!owner_is_hidden(plan.is, fields.owner))
                return STEP_BAD;
            chain->next = fields.previous;
            continue;
        }
        if (plan.is->instruction_scale != 0 && !fields.runs)
            walk->saw_idle = true;
        int good = read_code(how, plan, walk, &fields, &words);
        if (__builtin_expect(good < 0, 0))
            return STEP_BAD;
        chain->next = fields.previous;
        if (__builtin_expect(good == 0, 0))
            continue;
        if (__builtin_expect(words.kind == PYUNW_FRAME_MODULE, 0))
            words.kind = module_or_class(walk, fields.executable);
        raw->code = fields.executable;
        raw->frame = frame;
        raw->offset = words.offset;
        raw->kind = words.kind;
        raw->flags = entered_from_c(how, plan, walk, &fields) ? PYUNW_FRAME_ENTRY : 0;
        raw->reserved = words.fingerprint;
        return STEP_GIVEN;
    }
    return STEP_BOTTOM;
}

ALWAYS_INLINE int take(enum load_kind how, struct plan plan, struct walk *walk, pyunw_raw_frame *frames, size_t stride,
                       int max)
{
    /* A copy that nothing else points to stays in registers. */
    struct chain chain = walk->chain;
    uint8_t *at = (uint8_t *)frames;
    enum step result = STEP_GIVEN;
    int count = 0;
    for (; count < max; count++, at += stride) {
        result = step(how, plan, walk, &chain, chain.depth + (uint32_t)count, (pyunw_raw_frame *)(void *)at);
        if (result != STEP_GIVEN)
            break;
    }
    chain.depth += (uint32_t)count;
    walk->chain = chain;
    if (result == STEP_BAD) {
        if (chain.next == chain.mark)
            walk->cycle = chain.depth - chain.mark_depth;
        end_walk(walk, PYUNW_CORRUPT, chain.next);
    } else if (result == STEP_BOTTOM && !walk->ended) {
        end_at_bottom(walk);
    }
    return count;
}

/* ---- The walking code, once for each way of loading and each row of the tables ---- */

typedef int take_function(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max);

#define DEFINE_TAKE(how, row_number)                                                                                   \
    static int take_##how##_##row_number(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)           \
    {                                                                                                                  \
        const struct layout_offsets *at = &layout_tables[row_number];                                                  \
        struct plan plan = {at, &layout_semantics[layout_tables[row_number].minor - LAYOUT_MINOR_FIRST]};              \
        return take(how, plan, walk, frames, stride, max);                                                             \
    }

#define FOR_EACH_ROW(apply, how)                                                                                       \
    apply(how, 0) apply(how, 1) apply(how, 2) apply(how, 3) apply(how, 4) apply(how, 5) apply(how, 6) apply(how, 7)    \
        apply(how, 8) apply(how, 9) apply(how, 10)

enum { ROWS = sizeof layout_tables / sizeof layout_tables[0] };
_Static_assert(ROWS == 11, "FOR_EACH_ROW names every row of the tables");

FOR_EACH_ROW(DEFINE_TAKE, LOAD_DIRECT)
FOR_EACH_ROW(DEFINE_TAKE, LOAD_TRAPPED)

/* Where frames and code objects do not lie exactly as a row says, and where each read is dear anyway. */
static int take_by_layout(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    const struct layout *layout = &walk->target->layout;
    struct plan plan = {&layout->at, &layout->is};
    switch (load_kind_of(&walk->memory)) {
    case LOAD_DIRECT:
        return take(LOAD_DIRECT, plan, walk, frames, stride, max);
    case LOAD_TRAPPED:
        return take(LOAD_TRAPPED, plan, walk, frames, stride, max);
    case LOAD_COPY:
        return take(LOAD_COPY, plan, walk, frames, stride, max);
    }
    return 0;
}

#define CASE_TAKE(how, row_number)                                                                                     \
    case row_number:                                                                                                   \
        return take_##how##_##row_number;

static take_function *choose_take(const struct walk *walk)
{
    uint8_t row = walk->target->layout.row;
    switch (load_kind_of(&walk->memory)) {
    case LOAD_DIRECT:
        switch (row) {
            FOR_EACH_ROW(CASE_TAKE, LOAD_DIRECT)
        }
        break;
    case LOAD_TRAPPED:
        switch (row) {
            FOR_EACH_ROW(CASE_TAKE, LOAD_TRAPPED)
        }
        break;
    case LOAD_COPY:
        break;
    }
    return take_by_layout;
}

int pyunw_walk_take(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    return choose_take(walk)(walk, frames, stride, max);
}

void pyunw_walk_status(const struct walk *walk, pyunw_status *status)
{
    *status = (pyunw_status){
        .end = walk->ended ? walk->end : PYUNW_TRUNCATED,
        .depth = (int32_t)walk->chain.depth,
        .address = walk->end_address,
        .unconfirmed = walk->torn_start, /* at least the one that the walk should have begun with */
    };
}

/* ---- Beginning ---- */

int pyunw_walk_begin(struct walk *walk, const struct target *target, const struct memory *memory, pyunw_addr tstate,
                     bool still)
{
    const struct layout_thread *at = &target->layout.at.thread;
    walk->magic = WALK_MAGIC;
    walk->target = target;
    walk->memory = *memory;
    walk->tstate = tstate;
    walk->code_type = target->code_type;
    walk->base_frame = 0;
    walk->still = still;
    walk->torn_start = false;
    walk->refused_start = 0;
    walk->ended = false;
    walk->end = PYUNW_COMPLETE;
    walk->cycle = 0;
    walk->end_address = 0;
    walk->refused = 0;
    walk->saw_idle = false;
    walk->chain = (struct chain){0};
    walk->frame_in_scratch = 0;
    walk->code_in_scratch = 0;
    pyunw_addr frame = 0;
    if (!read_word(walk, tstate + at->frame, &frame))
        return PYUNW_ERR_FAULT;
    if (target->layout.is.has_cframe)
        return plausible_address(frame) ? pyunw_walk_begin_at_cframe(walk, frame) : PYUNW_ERR_CORRUPT;
    if (at->base_frame != 0 && !read_word(walk, tstate + at->base_frame, &walk->base_frame))
        return PYUNW_ERR_FAULT;
    walk->chain.next = frame;
    return PYUNW_OK;
}

/*
 * The memory to ask a thread state with whose it is. It may have ended since the caller heard of it; but who holds
 * the GIL has not, nor has the main thread's state inside the runtime.
 */
static struct memory memory_to_ask(const struct target *target, pyunw_addr main_interpreter, pyunw_addr tstate)
{
    struct memory plain = {.kind = MEMORY_DIRECT};
    pyunw_addr holder = 0;
    if (target->memory != PYUNW_MEMORY_DIRECT)
        return pyunw_safe_memory(target);
    bool lives = tstate - target->runtime < target->layout.at.runtime.size;
    bool asked = main_interpreter - target->runtime < target->layout.at.runtime.size ||
                 target->layout.at.runtime.tstate_current != 0;
    if (!lives && asked)
        lives = pyunw_gil_holder(target, &plain, main_interpreter, &holder) == 0 && holder == tstate;
    return lives ? plain : pyunw_safe_memory(target);
}

int pyunw_walk_choose(const struct target *target, pyunw_addr *tstate, struct memory *memory, bool *still)
{
    pyunw_addr main_interpreter = 0;
    uint64_t id = 0;
    int err = PYUNW_OK;
    *still = true;
    if (*tstate == 0) {
        err = pyunw_find_own_thread(target, tstate);
        *memory = pyunw_own_memory(target);
        return err;
    }
    *memory = pyunw_own_memory(target);
    err = pyunw_check_runtime(target, memory, &main_interpreter);
    if (err < 0)
        return err;
    struct memory asked = memory_to_ask(target, main_interpreter, *tstate);
    if (!plausible_address(*tstate) || pyunw_read_u64(&asked, *tstate + target->layout.at.thread.thread_id, &id) < 0)
        return PYUNW_ERR_FAULT;
    /* In whatever interpreter: none of the calling thread's own states runs on meanwhile. */
    *still = is_image(target) ? !target->image.may_change : id == own_thread_id(target);
    if (!*still)
        *memory = asked.kind == MEMORY_DIRECT ? pyunw_safe_memory(target) : asked;
    return PYUNW_OK;
}

/* ---- The cursor ---- */

_Static_assert(sizeof(struct walk) <= sizeof(pyunw_frame_cursor), "walk outgrew its public size");

int pyunw_frames_begin(const pyunw_target *handle, pyunw_addr tstate, pyunw_frame_cursor *cursor)
{
    const struct target *target = open_target(handle);
    struct memory memory;
    bool still = false;
    if (target == NULL)
        return not_open(handle);
    if (cursor == NULL)
        return PYUNW_ERR_ARGUMENT;
    struct walk *walk = (struct walk *)(void *)cursor;
    walk->magic = 0;
    int err = pyunw_walk_choose(target, &tstate, &memory, &still);
    return err < 0 ? err : pyunw_walk_begin(walk, target, &memory, tstate, still);
}

int pyunw_frames_next(pyunw_frame_cursor *cursor, pyunw_raw_frame *frame)
{
    struct walk *walk = (struct walk *)(void *)cursor;
    if (cursor == NULL || frame == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (walk->magic != WALK_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    int result = pyunw_walk_take(walk, frame, sizeof *frame, 1);
    if (result == 1)
        frame->reserved = 0;
    return result;
}

int pyunw_frames_end(const pyunw_frame_cursor *cursor, pyunw_status *status)
{
    const struct walk *walk = (const struct walk *)(const void *)cursor;
    if (cursor == NULL || status == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (walk->magic != WALK_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    pyunw_walk_status(walk, status);
    return PYUNW_OK;
}
