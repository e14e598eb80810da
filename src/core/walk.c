/*
 * The walk over the frames of one thread.
 *
 * A frame is believed if its address is plausible, its owner is known, its executable is a code object and its
 * instruction lies inside that code. A stack is whole if it ends where CPython begins one: at an entry frame
 * (3.12+), at the thread's first frame or a generator that is being run from C (3.11), or at a frame object that is
 * being executed (3.8-3.10).
 *
 * 3.11 and 3.12 keep the current frame in a _PyCFrame on the C stack, which is linked in before it is filled
 * (_PyEval_EvalFrameDefault): a reader at that moment sees garbage there, or a frame of another time. What it says
 * is therefore checked against the thread's data stack, whose top must be the innermost frame's end.
 * Signal-safe: yes.
 */
#include "walk.h"

static const uint64_t WALK_MAGIC = UINT64_C(0x7079756e77667731); /* "pyunwfw1" */

struct frame_fields {
    pyunw_addr executable;
    pyunw_addr previous;
    uint64_t instruction;
    int32_t tlbc_index;
    uint8_t owner;
    bool is_entry;
    bool runs; /* 3.8-3.10: is being executed */
};

static void end_walk(struct walk *walk, enum pyunw_end end, pyunw_addr address)
{
    walk->next = 0;
    walk->end = (uint8_t)end;
    walk->end_address = address;
}

ALWAYS_INLINE bool read_frame(enum load_kind how, struct walk *walk, pyunw_addr frame, struct frame_fields *fields)
{
    const struct layout *layout = &walk->target->layout;
    const struct layout_frame *at = &layout->at.frame;
    const uint8_t *view = walk->frame_scratch;
    int fault = 0;
    if (!plausible_address(frame))
        return false;
    if (how != LOAD_COPY || walk->in_scratch != frame) {
        view = view_structure(how, &walk->memory, frame, at->size, walk->frame_scratch);
        walk->in_scratch = view != NULL && how == LOAD_COPY ? frame : 0;
    }
    if (view == NULL)
        return false;
    fields->executable = load_u64(how, view + at->executable, &fault) & ~(uint64_t)layout->is.stackref_tags;
    fields->previous = load_u64(how, view + at->previous, &fault);
    fields->owner = 0;
    fields->is_entry = true;
    fields->runs = true;
    fields->tlbc_index = 0;
    if (layout->is.instruction_scale != 0) {
        fields->instruction = load_u32(how, view + at->instruction, &fault);
        fields->runs = (int8_t)load_u8(how, view + at->executing, &fault) == layout->is.executing_value;
        return fault == 0;
    }
    fields->instruction = load_u64(how, view + at->instruction, &fault);
    fields->owner = load_u8(how, view + at->owner, &fault);
    if (at->is_entry != 0)
        fields->is_entry = load_u8(how, view + at->is_entry, &fault) != 0;
    if (at->tlbc_index != 0)
        fields->tlbc_index = (int32_t)load_u32(how, view + at->tlbc_index, &fault);
    return fault == 0;
}

static bool owner_is_hidden(const struct layout *layout, uint8_t owner)
{
    return owner < 32 && (layout->is.hidden_owners >> owner & 1u) != 0;
}

/* 0 thread, 1 generator; 2, a frame object, never stands in a running chain. */
static bool owner_is_python(uint8_t owner)
{
    return owner <= 1;
}

/* Where PyCode_Type is not known: is this a type of the name "code"? */
static bool type_is_code(struct walk *walk, pyunw_addr type)
{
    const struct layout_object *at = &walk->target->layout.at.object;
    static const char expected[] = "code";
    char name[sizeof expected];
    pyunw_addr name_at = 0;
    if (walk->code_type != 0 || !plausible_address(type))
        return false;
    if (pyunw_read_u64(&walk->memory, type + at->tp_name, &name_at) < 0 || name_at < 4096 ||
        pyunw_read(&walk->memory, name_at, name, sizeof name) < 0 || memcmp(name, expected, sizeof name) != 0)
        return false;
    walk->code_type = type;
    return true;
}

/* Where a thread's own copy of the bytecode begins (3.14t, 3.15t: thread-local bytecode). 0: no such copy. */
static pyunw_addr find_local_bytecode(const struct walk *walk, pyunw_addr code, int32_t index)
{
    /* _PyCodeArray: Py_ssize_t size; char *entries[] (pycore_code.h). */
    pyunw_addr array = 0;
    uint64_t size = 0;
    pyunw_addr entry = 0;
    if (pyunw_read_u64(&walk->memory, code + walk->target->layout.at.code.tlbc, &array) < 0 ||
        !plausible_address(array) || pyunw_read_u64(&walk->memory, array, &size) < 0 || index < 0 ||
        (uint64_t)index >= size || pyunw_read_u64(&walk->memory, array + 8 + 8 * (uint64_t)index, &entry) < 0)
        return 0;
    return entry;
}

/* The instruction offset in bytes, for 3.8-3.10: f_lasti, checked against the length of co_code. */
ALWAYS_INLINE bool find_offset_in_object(enum load_kind how, struct walk *walk, const uint8_t *code_view,
                                         const struct frame_fields *fields, int32_t *offset)
{
    const struct layout *layout = &walk->target->layout;
    int fault = 0;
    pyunw_addr bytecode = load_u64(how, code_view + layout->at.code.bytecode_object, &fault);
    uint8_t scratch[sizeof(uint64_t)];
    if (fault || !plausible_address(bytecode))
        return false;
    pyunw_addr size_at = bytecode + layout->at.object.var_size;
    const uint8_t *view = view_structure(how, &walk->memory, size_at, sizeof(uint64_t), scratch);
    if (view == NULL)
        return false;
    uint64_t size = load_u64(how, view, &fault);
    int64_t lasti = (int32_t)fields->instruction;
    if (lasti >= 0)
        lasti *= layout->is.instruction_scale;
    *offset = (int32_t)lasti;
    return !fault && lasti >= -1 && lasti < (int64_t)(size < INT32_MAX ? size : INT32_MAX);
}

/*
 * Check the code object and find the instruction offset: 1 good, 0 to be hidden, -1 not to be believed.
 * Hidden is what has not begun (before its first RESUME), as the interpreter's own _PyFrame_IsIncomplete says.
 */
ALWAYS_INLINE int read_code(enum load_kind how, struct walk *walk, const struct frame_fields *fields,
                            pyunw_raw_frame *raw)
{
    const struct layout *layout = &walk->target->layout;
    const struct layout_code *at = &layout->at.code;
    pyunw_addr code = fields->executable;
    int fault = 0;
    if (!plausible_address(code))
        return -1;
    const uint8_t *view = view_structure(how, &walk->memory, code, at->size, walk->code_scratch);
    if (view == NULL)
        return -1;
    pyunw_addr type = load_u64(how, view + layout->at.object.type, &fault);
    uint32_t flags = load_u32(how, view + at->flags, &fault);
    if (fault || (type != walk->code_type && !type_is_code(walk, type)))
        return -1;
    raw->code = code;
    raw->reserved = 0;
    if (layout->is.instruction_scale != 0) {
        if (!find_offset_in_object(how, walk, view, fields, &raw->offset))
            return -1;
    } else {
        uint64_t units = load_u64(how, view + at->units, &fault);
        int32_t first_traceable = (int32_t)load_u32(how, view + at->first_traceable, &fault);
        pyunw_addr bytecode = code + at->bytecode;
        if (__builtin_expect(fields->tlbc_index != 0, 0))
            bytecode = find_local_bytecode(walk, code, fields->tlbc_index);
        int64_t offset = (int64_t)(fields->instruction - bytecode);
        if (fault || units > INT32_MAX / 2 || offset < -2 || offset >= (int64_t)(2 * units) || (offset & 1) != 0)
            return -1;
        raw->offset = (int32_t)offset;
        if (fields->owner != layout->is.generator_owner && offset < 2 * (int64_t)first_traceable)
            return 0;
    }
    /* CO_OPTIMIZED and CO_NEWLOCALS mark functions; CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR (cpython/code.h). */
    if ((flags & 0x2a0u) != 0)
        raw->kind = (flags & 0x20u) != 0   ? PYUNW_FRAME_GENERATOR
                    : (flags & 0x80u) != 0 ? PYUNW_FRAME_COROUTINE
                                           : PYUNW_FRAME_ASYNC_GENERATOR;
    else
        raw->kind = (flags & 3u) == 3u ? PYUNW_FRAME_FUNCTION : PYUNW_FRAME_MODULE;
    return 1;
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
    if (pyunw_read_u64(&walk->memory, code + layout->at.code.name, &name) < 0 || !plausible_address(name) ||
        pyunw_read_u64(&walk->memory, name + at->length, &length) < 0 || length != sizeof text ||
        pyunw_read(&walk->memory, name + at->ascii_data, text, sizeof text) < 0 ||
        memcmp(text, module, sizeof text) != 0)
        return PYUNW_FRAME_CLASS;
    return PYUNW_FRAME_MODULE;
}

/* ---- Where a stack may end ---- */

static bool read_word(const struct walk *walk, pyunw_addr address, uint64_t *value)
{
    return plausible_address(address) && pyunw_read_u64(&walk->memory, address, value) == 0;
}

/* 3.11: the first frame of a thread stands in its first chunk, one word after the beginning (push_chunk, pystate.c). */
static bool is_first_of_data_stack(const struct walk *walk, pyunw_addr frame)
{
    enum { MANY_CHUNKS = 1 << 16 };
    const struct layout_offsets *at = &walk->target->layout.at;
    pyunw_addr chunk = 0;
    pyunw_addr previous = 0;
    if (!read_word(walk, walk->tstate + at->thread.datastack_chunk, &chunk))
        return false;
    for (int n = 0; n < MANY_CHUNKS && read_word(walk, chunk + at->chunk.previous, &previous); n++) {
        if (previous == 0)
            return frame == chunk + at->chunk.data + 8;
        chunk = previous;
    }
    return false;
}

static bool generator_runs(const struct walk *walk, pyunw_addr frame)
{
    const struct layout *layout = &walk->target->layout;
    const struct layout_generator *at = &layout->at.generator;
    int8_t state = 0;
    return pyunw_read(&walk->memory, frame - at->frame + at->frame_state, &state, sizeof state) == 0 &&
           state == layout->is.generator_executing;
}

static bool bottom_is_root(const struct walk *walk)
{
    const struct layout *layout = &walk->target->layout;
    if (layout->is.has_shims)
        return walk->bottom_is_shim && (walk->own || walk->base_frame == 0 || walk->bottom == walk->base_frame);
    if (layout->is.instruction_scale != 0)
        return walk->bottom_runs || walk->own;
    if (walk->bottom_owner == layout->is.generator_owner)
        return generator_runs(walk, walk->bottom);
    return is_first_of_data_stack(walk, walk->bottom);
}

static void end_at_bottom(struct walk *walk)
{
    if (walk->steps == 0)
        end_walk(walk, walk->torn_start ? PYUNW_TORN : PYUNW_NO_FRAME, 0);
    else if (!bottom_is_root(walk))
        end_walk(walk, PYUNW_CORRUPT, walk->bottom);
    else if (walk->torn_start)
        end_walk(walk, PYUNW_TORN, 0);
    else if (walk->depth == 0)
        end_walk(walk, PYUNW_NO_FRAME, 0);
    else
        end_walk(walk, PYUNW_COMPLETE, 0);
}

/* ---- One step ---- */

/* Brent: a chain that comes back to the mark is a cycle; the mark moves on at each power of two. */
ALWAYS_INLINE bool closes_cycle(struct walk *walk, pyunw_addr frame)
{
    if (__builtin_expect(frame == walk->mark, 0)) {
        walk->cycle = walk->depth - walk->mark_depth;
        return true;
    }
    if ((walk->steps & (walk->steps - 1)) == 0) {
        walk->mark = frame;
        walk->mark_depth = walk->depth;
    }
    return false;
}

/* Was this frame entered from C? Its caller is an entry frame then (3.12+), or it says so itself. */
ALWAYS_INLINE bool entered_from_c(enum load_kind how, struct walk *walk, const struct frame_fields *fields)
{
    const struct layout *layout = &walk->target->layout;
    struct frame_fields caller;
    if (!layout->is.has_shims)
        return fields->is_entry;
    if (!plausible_address(fields->previous))
        return false;
    if (how == LOAD_COPY)
        return read_frame(how, walk, fields->previous, &caller) && owner_is_hidden(layout, caller.owner);
    int fault = 0;
    const uint8_t *view = (const uint8_t *)(uintptr_t)fields->previous;
    return owner_is_hidden(layout, load_u8(how, view + layout->at.frame.owner, &fault)) && !fault;
}

/* Give the next frame that is not hidden: 1, or 0 where the walk ended. */
ALWAYS_INLINE int step(enum load_kind how, struct walk *walk, pyunw_raw_frame *raw)
{
    const struct layout *layout = &walk->target->layout;
    struct frame_fields fields;
    while (walk->next != 0) {
        pyunw_addr frame = walk->next;
        if (walk->steps >= MAX_FRAMES || closes_cycle(walk, frame) || !read_frame(how, walk, frame, &fields)) {
            end_walk(walk, PYUNW_CORRUPT, frame);
            return 0;
        }
        walk->steps++;
        walk->bottom = frame;
        walk->bottom_owner = fields.owner;
        walk->bottom_runs = fields.runs;
        walk->bottom_is_shim = owner_is_hidden(layout, fields.owner);
        walk->next = fields.previous;
        if (walk->bottom_is_shim)
            continue;
        /* Of a thread that runs on, a frame object that is not being executed is one that was let go. */
        bool let_go = !fields.runs && !walk->own;
        int good = owner_is_python(fields.owner) && !let_go ? read_code(how, walk, &fields, raw) : -1;
        if (good < 0) {
            end_walk(walk, PYUNW_CORRUPT, frame);
            return 0;
        }
        if (good == 0)
            continue;
        raw->frame = frame;
        raw->flags = entered_from_c(how, walk, &fields) ? PYUNW_FRAME_ENTRY : 0;
        if (__builtin_expect(raw->kind == PYUNW_FRAME_MODULE, 0))
            raw->kind = module_or_class(walk, raw->code);
        walk->depth++;
        return 1;
    }
    if (walk->end == UINT8_MAX)
        end_at_bottom(walk);
    return 0;
}

ALWAYS_INLINE int take(enum load_kind how, struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    uint8_t *at = (uint8_t *)frames;
    int count = 0;
    for (; count < max; count++, at += stride) {
        pyunw_raw_frame raw;
        if (step(how, walk, &raw) == 0)
            break;
        memcpy(at, &raw, sizeof raw);
    }
    return count;
}

static int take_direct(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    return take(LOAD_DIRECT, walk, frames, stride, max);
}

static int take_trapped(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    return take(LOAD_TRAPPED, walk, frames, stride, max);
}

static int take_copied(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    return take(LOAD_COPY, walk, frames, stride, max);
}

int pyunw_walk_take(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    switch (load_kind_of(&walk->memory)) {
    case LOAD_DIRECT:
        return take_direct(walk, frames, stride, max);
    case LOAD_TRAPPED:
        return take_trapped(walk, frames, stride, max);
    case LOAD_COPY:
        return take_copied(walk, frames, stride, max);
    }
    return 0;
}

void pyunw_walk_status(const struct walk *walk, pyunw_status *status)
{
    *status = (pyunw_status){
        .end = walk->end == UINT8_MAX ? PYUNW_TRUNCATED : walk->end,
        .depth = (int32_t)walk->depth,
        .address = walk->end_address,
    };
}

/* ---- The first frame ---- */

/* Does a frame stand here, as far as its own words say? No pointer of it is followed: they may be of another time. */
static bool looks_like_frame(const struct walk *walk, pyunw_addr frame, const struct frame_fields *fields)
{
    enum { LONG_CODE = 1 << 24 };
    uint64_t offset = fields->instruction - (fields->executable + walk->target->layout.at.code.bytecode) + 2;
    return frame != 0 && owner_is_python(fields->owner) && plausible_address(fields->executable) && offset < LONG_CODE;
}

/* The data stack of a thread: the chunk in use, and where the next frame would go. */
struct data_stack {
    pyunw_addr chunk;
    pyunw_addr top;
};

static bool is_on_data_stack(const struct walk *walk, const struct data_stack *stack, pyunw_addr frame)
{
    enum { MANY_CHUNKS = 1 << 16 };
    const struct layout_chunk *at = &walk->target->layout.at.chunk;
    pyunw_addr chunk = stack->chunk;
    if (frame >= chunk + at->data && frame < stack->top)
        return true;
    for (int n = 0; n < MANY_CHUNKS && read_word(walk, chunk + at->previous, &chunk) && chunk != 0; n++) {
        uint64_t size = 0;
        if (!read_word(walk, chunk + at->size, &size))
            return false;
        if (frame >= chunk + at->data && frame - chunk < size)
            return true;
    }
    return false;
}

/* Bytes that a frame of this code takes on the data stack, or 0. */
static uint64_t frame_extent(struct walk *walk, pyunw_addr code)
{
    const struct layout *layout = &walk->target->layout;
    const struct layout_code *at = &layout->at.code;
    uint8_t *view = walk->code_scratch;
    uint64_t type = 0;
    if (!plausible_address(code) || pyunw_read(&walk->memory, code, view, at->size) < 0)
        return 0;
    memcpy(&type, view + layout->at.object.type, sizeof type);
    if (type != walk->code_type && !type_is_code(walk, type))
        return 0;
    uint32_t words = 0;
    if (layout->is.frame_specials == 0) {
        memcpy(&words, view + at->framesize, sizeof words);
    } else {
        uint32_t locals = 0;
        memcpy(&locals, view + at->nlocalsplus, sizeof locals);
        memcpy(&words, view + at->stacksize, sizeof words);
        words += locals + layout->is.frame_specials;
    }
    return words < (1u << 24) ? 8 * (uint64_t)words : 0;
}

/*
 * Do the frames between here and the top of the data stack fill it exactly, and are there more than the one that is
 * being pushed or popped? Then this was not the innermost frame.
 */
static bool hides_live_frames(struct walk *walk, const struct data_stack *stack, pyunw_addr end)
{
    enum { ENOUGH = 64 };
    int count = 0;
    while (end < stack->top && count < ENOUGH) {
        struct frame_fields fields;
        walk->in_scratch = 0;
        if (!read_frame(LOAD_COPY, walk, end, &fields) || !looks_like_frame(walk, end, &fields))
            return false;
        uint64_t extent = frame_extent(walk, fields.executable);
        if (extent == 0)
            return false;
        end += extent;
        count++;
    }
    return (end == stack->top && count > 1) || count == ENOUGH;
}

/*
 * 3.11, 3.12: may the chain begin at this frame? Reads with a memory that may refuse, up to the first frame on the
 * data stack: that must be the last one there, but for one that comes or goes.
 */
static bool start_is_good(struct walk *walk, const struct data_stack *stack, pyunw_addr frame)
{
    enum { ENOUGH = 32 };
    const struct layout *layout = &walk->target->layout;
    pyunw_addr previous = 0;
    for (int n = 0; n < ENOUGH; n++) {
        struct frame_fields fields;
        walk->in_scratch = 0;
        if (frame == 0)
            return true;
        if (frame == previous || !read_frame(LOAD_COPY, walk, frame, &fields))
            return false;
        previous = frame;
        if (!owner_is_hidden(layout, fields.owner)) {
            if (!looks_like_frame(walk, frame, &fields))
                return false;
            uint64_t extent = frame_extent(walk, fields.executable);
            if (extent == 0)
                return false;
            if (fields.owner != layout->is.generator_owner) {
                if (!is_on_data_stack(walk, stack, frame))
                    return false;
                pyunw_addr end = frame + extent;
                if (frame < stack->chunk || frame >= stack->top)
                    end = stack->chunk + layout->at.chunk.data;
                return end <= stack->top && !hides_live_frames(walk, stack, end);
            }
        }
        frame = fields.previous;
    }
    return true;
}

/* The common case of start_is_good() at the price of a few plain loads: the frame is the last of the data stack. */
static bool start_is_plainly_good(struct walk *walk, const struct data_stack *stack, pyunw_addr frame)
{
    struct frame_fields fields;
    const struct layout *layout = &walk->target->layout;
    if (frame < stack->chunk + layout->at.chunk.data || frame >= stack->top || !plausible_address(frame) ||
        !read_frame(LOAD_DIRECT, walk, frame, &fields) || fields.owner != 0 || !looks_like_frame(walk, frame, &fields))
        return false;
    const struct layout_code *at = &layout->at.code;
    const uint8_t *code = (const uint8_t *)(uintptr_t)fields.executable;
    int fault = 0;
    uint64_t words = load_u32(LOAD_DIRECT, code + (at->framesize != 0 ? at->framesize : at->stacksize), &fault);
    if (at->framesize == 0)
        words += load_u32(LOAD_DIRECT, code + at->nlocalsplus, &fault) + layout->is.frame_specials;
    return frame + 8 * words == stack->top &&
           load_u64(LOAD_DIRECT, code + layout->at.object.type, &fault) == walk->code_type;
}

static int begin_at_cframe(struct walk *walk, pyunw_addr cframe)
{
    const struct layout_offsets *at = &walk->target->layout.at;
    struct data_stack stack = {0};
    pyunw_addr frame = 0;
    pyunw_addr outer = 0;
    if (!read_word(walk, cframe + at->cframe.current_frame, &frame) ||
        !read_word(walk, cframe + at->cframe.previous, &outer) ||
        !read_word(walk, walk->tstate + at->thread.datastack_chunk, &stack.chunk) ||
        !read_word(walk, walk->tstate + at->thread.datastack_top, &stack.top))
        return PYUNW_ERR_FAULT;
    walk->next = frame;
    if (frame == 0 || (walk->memory.kind == MEMORY_DIRECT && start_is_plainly_good(walk, &stack, frame)))
        return PYUNW_OK;
    struct memory usual = walk->memory;
    if (usual.kind == MEMORY_DIRECT)
        walk->memory = pyunw_safe_memory(walk->target);
    if (!start_is_good(walk, &stack, frame)) {
        walk->torn_start = true;
        /* The word beside it is not filled either, but mostly still names the loop that called this one. */
        bool good = read_word(walk, outer + at->cframe.current_frame, &frame) && start_is_good(walk, &stack, frame);
        walk->next = good ? frame : 0;
    }
    walk->memory = usual;
    walk->in_scratch = 0;
    return PYUNW_OK;
}

int pyunw_walk_begin(struct walk *walk, const struct target *target, const struct memory *memory, pyunw_addr tstate,
                     bool own)
{
    const struct layout_thread *at = &target->layout.at.thread;
    walk->magic = WALK_MAGIC;
    walk->target = target;
    walk->memory = *memory;
    walk->tstate = tstate;
    walk->code_type = target->code_type;
    walk->next = 0;
    walk->base_frame = 0;
    walk->own = own;
    walk->torn_start = false;
    walk->bottom_is_shim = false;
    walk->bottom_runs = false;
    walk->bottom = 0;
    walk->bottom_owner = 0;
    walk->end = UINT8_MAX;
    walk->depth = 0;
    walk->steps = 0;
    walk->mark = 0;
    walk->mark_depth = 0;
    walk->cycle = 0;
    walk->end_address = 0;
    walk->in_scratch = 0;
    pyunw_addr frame = 0;
    if (!read_word(walk, tstate + at->frame, &frame))
        return PYUNW_ERR_FAULT;
    if (target->layout.is.has_cframe)
        return plausible_address(frame) ? begin_at_cframe(walk, frame) : PYUNW_ERR_CORRUPT;
    if (at->base_frame != 0 && !read_word(walk, tstate + at->base_frame, &walk->base_frame))
        return PYUNW_ERR_FAULT;
    walk->next = frame;
    return PYUNW_OK;
}

int pyunw_walk_choose(const struct target *target, pyunw_addr *tstate, struct memory *memory, bool *own)
{
    pyunw_addr found = 0;
    pyunw_addr main_interpreter = 0;
    *own = false;
    if (is_image(target)) {
        *memory = pyunw_safe_memory(target);
        int err = pyunw_check_runtime(target, memory, &main_interpreter);
        if (err < 0)
            return err;
        return *tstate == 0 ? PYUNW_ERR_NO_THREAD : PYUNW_OK;
    }
    int err = pyunw_find_own_thread(target, &found);
    if (err < 0 && (*tstate == 0 || err != PYUNW_ERR_NO_THREAD))
        return err;
    if (*tstate == 0)
        *tstate = found;
    if (err == 0 && *tstate == found) {
        *own = true;
        *memory = pyunw_own_memory(target);
        return PYUNW_OK;
    }
    /* Another of the calling thread's own, in another interpreter, does not run either. */
    *memory = pyunw_safe_memory(target);
    struct thread_fields fields;
    err = pyunw_read_thread(target, memory, *tstate, &fields);
    *own = err == 0 && fields.thread_id == own_thread_id(target);
    return err < 0 ? PYUNW_ERR_FAULT : PYUNW_OK;
}

/* ---- The cursor ---- */

_Static_assert(sizeof(struct walk) <= sizeof(pyunw_frame_cursor), "walk outgrew its public size");

int pyunw_frames_begin(const pyunw_target *handle, pyunw_addr tstate, pyunw_frame_cursor *cursor)
{
    const struct target *target = open_target(handle);
    struct memory memory;
    bool own = false;
    if (target == NULL)
        return not_open(handle);
    if (cursor == NULL)
        return PYUNW_ERR_ARGUMENT;
    struct walk *walk = (struct walk *)(void *)cursor;
    walk->magic = 0;
    int err = pyunw_walk_choose(target, &tstate, &memory, &own);
    return err < 0 ? err : pyunw_walk_begin(walk, target, &memory, tstate, own);
}

int pyunw_frames_next(pyunw_frame_cursor *cursor, pyunw_raw_frame *frame)
{
    struct walk *walk = (struct walk *)(void *)cursor;
    if (cursor == NULL || frame == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (walk->magic != WALK_MAGIC)
        return PYUNW_ERR_NOT_OPEN;
    return pyunw_walk_take(walk, frame, sizeof *frame, 1);
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
