/*
 * Where the walk over a thread's frames begins, and where it may end.
 *
 * 3.11 and 3.12 keep the current frame in a _PyCFrame on the C stack, which is linked in before it is filled
 * (_PyEval_EvalFrameDefault): a reader at that moment sees garbage there, or a frame of another time. What it says
 * is therefore checked against the thread's data stack, whose top must be the innermost frame's end.
 * Signal-safe: yes.
 */
#include "walk_frame.h"

/* ---- The chunks of a data stack ---- */

struct chunk_list {
    pyunw_addr chunk;
    pyunw_addr mark; /* a chunk that was passed, by which a list that closes on itself is noticed (Brent) */
    uint32_t passed;
};

/* Go on to the chunk before. False where that cannot be read, or was passed already. */
static bool previous_chunk(const struct walk *walk, struct chunk_list *list)
{
    enum { MANY_CHUNKS = 1 << 16 };
    pyunw_addr previous = 0;
    if ((list->passed & (list->passed + 1)) == 0)
        list->mark = list->chunk;
    if (list->passed++ == MANY_CHUNKS ||
        !read_word(walk, list->chunk + walk->target->layout.at.chunk.previous, &previous) || previous == list->mark)
        return false;
    list->chunk = previous;
    return true;
}

/* ---- Where a stack may end ---- */

/* Where the first frame of the data stack stands: one word after the beginning of its first chunk (push_chunk,
 * pystate.c). */
static bool find_first_of_data_stack(const struct walk *walk, pyunw_addr *first)
{
    const struct layout_offsets *at = &walk->target->layout.at;
    struct chunk_list list = {0};
    if (!read_word(walk, walk->tstate + at->thread.datastack_chunk, &list.chunk))
        return false;
    pyunw_addr chunk = list.chunk;
    while (previous_chunk(walk, &list)) {
        if (list.chunk == 0) {
            *first = chunk + at->chunk.data + 8;
            return true;
        }
        chunk = list.chunk;
    }
    return false;
}

/* 3.11: the first frame of a thread is that of its data stack. */
static bool is_first_of_data_stack(const struct walk *walk, pyunw_addr frame)
{
    pyunw_addr first = 0;
    return find_first_of_data_stack(walk, &first) && frame == first;
}

/*
 * 3.11: a generator that C code runs in a thread without a Python frame begins a stack, and what it calls is linked to
 * it. Where the data stack has a beginning of its own, it is just being linked to its caller.
 */
static bool generator_may_begin(struct walk *walk)
{
    pyunw_addr first = 0;
    pyunw_addr top = 0;
    struct frame_fields fields;
    if (!find_first_of_data_stack(walk, &first) ||
        !read_word(walk, walk->tstate + walk->target->layout.at.thread.datastack_top, &top))
        return false;
    return top == first || (read_frame(walk, first, &fields) && fields.previous != 0);
}

static bool generator_runs(const struct walk *walk, pyunw_addr frame)
{
    const struct layout *layout = &walk->target->layout;
    const struct layout_generator *at = &layout->at.generator;
    int8_t state = 0;
    return pyunw_read(&walk->memory, frame - at->frame + at->frame_state, &state, sizeof state) == 0 &&
           state == layout->is.generator_executing;
}

/* CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR. */
static bool is_generator_code(const struct walk *walk, pyunw_addr code)
{
    uint32_t flags = 0;
    return pyunw_read_u32(&walk->memory, code + walk->target->layout.at.code.flags, &flags) == 0 &&
           (flags & 0x2a0u) != 0;
}

/* Of an entry frame the interpreter makes a code object of its own, or None, the executable (ceval.c). */
static bool is_entry_executable(const struct walk *walk, pyunw_addr executable)
{
    static const char expected[] = "NoneType";
    const struct layout_object *at = &walk->target->layout.at.object;
    char name[sizeof expected];
    pyunw_addr type = 0;
    pyunw_addr name_at = 0;
    if (!plausible_address(executable) || !read_word(walk, executable + at->type, &type) || !plausible_address(type))
        return false;
    if (type == walk->code_type)
        return true;
    return read_word(walk, type + at->tp_name, &name_at) && name_at >= 4096 &&
           pyunw_read(&walk->memory, name_at, name, sizeof name) == 0 &&
           (memcmp(name, expected, sizeof name) == 0 || pyunw_is_code_type(walk->target, &walk->memory, type));
}

bool pyunw_stack_may_end(struct walk *walk)
{
    const struct layout *layout = &walk->target->layout;
    pyunw_addr last = walk->chain.last;
    struct frame_fields fields;
    if (!read_frame(walk, last, &fields))
        return false;
    if (layout->is.has_shims && walk->base_frame != 0 && last == walk->base_frame)
        return owner_is_hidden(&layout->is, fields.owner);
    if (layout->is.has_shims)
        return owner_is_hidden(&layout->is, fields.owner) && (walk->still || walk->base_frame == 0) &&
               is_entry_executable(walk, fields.executable);
    /*
     * A function's only frame, while it is being entered or left, is not being run; any other such frame at the
     * bottom was left there by its callers.
     */
    if (layout->is.instruction_scale != 0)
        return fields.runs || (walk->still && walk->chain.depth == 1 && !is_generator_code(walk, fields.executable));
    if (fields.owner == layout->is.generator_owner)
        return generator_runs(walk, last) && generator_may_begin(walk);
    return is_first_of_data_stack(walk, last);
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

/*
 * Note what of the start could not be read although it has its place on the data stack, in memory that does not
 * change: no other moment would show more. Always false.
 */
static bool refuse_start(struct walk *walk, pyunw_addr address)
{
    if (walk->still && is_image(walk->target) && walk->refused_start == 0)
        walk->refused_start = address;
    return false;
}

/* Does a frame stand in this chunk, wherever the stack ends in it? */
static bool is_in_chunk(const struct walk *walk, pyunw_addr chunk, pyunw_addr frame, uint64_t *size)
{
    const struct layout_chunk *at = &walk->target->layout.at.chunk;
    return read_word(walk, chunk + at->size, size) && frame >= chunk + at->data && frame - chunk < *size;
}

static bool is_on_data_stack(struct walk *walk, const struct data_stack *stack, pyunw_addr frame)
{
    const struct layout_chunk *at = &walk->target->layout.at.chunk;
    struct chunk_list list = {.chunk = stack->chunk};
    uint64_t size = 0;
    if (frame >= stack->chunk + at->data && frame < stack->top)
        return true;
    /* The top was read at another moment than the frame. */
    if (walk->runs && is_in_chunk(walk, stack->chunk, frame, &size))
        return true;
    while (previous_chunk(walk, &list)) {
        if (list.chunk == 0)
            return false;
        size = 0;
        if (is_in_chunk(walk, list.chunk, frame, &size))
            return true;
        if (size == 0)
            break;
    }
    return refuse_start(walk, list.chunk);
}

/* Bytes that a frame of this code takes on the data stack, or 0. */
static uint64_t frame_extent(struct walk *walk, pyunw_addr code)
{
    const struct layout *layout = &walk->target->layout;
    const struct layout_code *at = &layout->at.code;
    uint8_t *view = walk->code_scratch;
    walk->code_in_scratch = 0;
    uint64_t type = 0;
    if (!plausible_address(code))
        return 0;
    if (pyunw_read(&walk->memory, code, view, at->size) < 0)
        return refuse_start(walk, code);
    memcpy(&type, view + layout->at.object.type, sizeof type);
    if (type != walk->code_type && !pyunw_type_is_code(walk, type))
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

bool pyunw_frames_adjoin(struct walk *walk, const pyunw_raw_frame *callee, const pyunw_raw_frame *caller)
{
    enum { HIDDEN_BYTES = 128, PAGE = 4096 };
    uint64_t extent = frame_extent(walk, caller->code);
    uint64_t gap = callee->frame - (caller->frame + extent);
    /* 3.12+: a frame that cleans up behind __init__ (_Py_InitCleanup) may stand between them, and is hidden. */
    uint64_t most = walk->target->layout.is.has_shims ? HIDDEN_BYTES : 0;
    bool first_of_chunk =
        callee->frame % PAGE == walk->target->layout.at.chunk.data; /* chunks are pages of their own */
    return extent != 0 && (gap <= most || first_of_chunk);
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
        walk->frame_in_scratch = 0;
        if (!read_frame(walk, end, &fields) || !looks_like_frame(walk, end, &fields))
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
 * data stack: that must be the last one there, but for one that comes or goes. (Of a thread that runs, the stack has
 * another end by then; what a second walk shows too, though it has run, is believed.)
 */
static bool start_is_good(struct walk *walk, const struct data_stack *stack, pyunw_addr frame)
{
    enum { ENOUGH = 32 };
    const struct layout *layout = &walk->target->layout;
    pyunw_addr previous = 0;
    for (int n = 0; n < ENOUGH; n++) {
        struct frame_fields fields;
        walk->frame_in_scratch = 0;
        if (frame == 0)
            return true;
        if (frame == previous)
            return false;
        if (!read_frame(walk, frame, &fields))
            return is_on_data_stack(walk, stack, frame) && refuse_start(walk, frame);
        previous = frame;
        if (!owner_is_hidden(&layout->is, fields.owner)) {
            if (!looks_like_frame(walk, frame, &fields))
                return false;
            uint64_t extent = frame_extent(walk, fields.executable);
            if (extent == 0)
                return false;
            if (fields.owner != layout->is.generator_owner) {
                if (!is_on_data_stack(walk, stack, frame))
                    return false;
                if (walk->runs)
                    return true;
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

/*
 * A frame that is just being pushed is made current before its link to its caller is written (3.11: the compiler swaps
 * the two stores of CALL): what stands there until then is of another time. Is it the caller?
 */
static bool caller_is_good(struct walk *walk, const struct data_stack *stack, pyunw_addr cframe, pyunw_addr frame)
{
    const struct layout *layout = &walk->target->layout;
    struct frame_fields fields;
    struct frame_fields caller;
    walk->frame_in_scratch = 0;
    if (!read_frame(walk, frame, &fields))
        return refuse_start(walk, frame);
    int64_t offset = (int64_t)(fields.instruction - (fields.executable + layout->at.code.bytecode));
    if (owner_is_hidden(&layout->is, fields.owner) || offset >= 0)
        return true;
    if (fields.previous == 0)
        return is_first_of_data_stack(walk, frame);
    if (!read_frame(walk, fields.previous, &caller))
        return false;
    if (owner_is_hidden(&layout->is, caller.owner))
        return fields.previous - cframe + 4096 < 8192; /* both are locals of the same evaluation loop */
    uint64_t extent = looks_like_frame(walk, fields.previous, &caller) ? frame_extent(walk, caller.executable) : 0;
    if (extent == 0)
        return false;
    if (caller.owner == layout->is.generator_owner)
        return generator_runs(walk, fields.previous);
    bool first_of_chunk = frame == stack->chunk + layout->at.chunk.data;
    return is_on_data_stack(walk, stack, fields.previous) && (fields.previous + extent == frame || first_of_chunk);
}

/* The common case of start_is_good() at the price of a few plain loads: the frame is the last of the data stack. */
static bool start_is_plainly_good(struct walk *walk, const struct data_stack *stack, pyunw_addr frame)
{
    struct frame_fields fields;
    const struct layout *layout = &walk->target->layout;
    if (frame < stack->chunk + layout->at.chunk.data || frame >= stack->top || !plausible_address(frame) ||
        !read_frame_as(LOAD_DIRECT, &layout->at.frame, &layout->is, walk, frame, &fields) || fields.owner != 0 ||
        !looks_like_frame(walk, frame, &fields) || fields.instruction < fields.executable + layout->at.code.bytecode)
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

/* A loop's _PyCFrame on the C stack always has a frame once it is filled; only the thread state's own may have none. */
static bool may_be_without_frame(const struct walk *walk, pyunw_addr cframe)
{
    return cframe - walk->tstate < 4096;
}

/* Begin at a frame that was checked, or at that of the loop outside. Not inlined: the common case needs none of it. */
__attribute__((noinline)) static void begin_checked(struct walk *walk, const struct data_stack *stack,
                                                    pyunw_addr cframe, pyunw_addr outer)
{
    const struct layout_offsets *at = &walk->target->layout.at;
    struct memory usual = walk->memory;
    pyunw_addr frame = walk->chain.next;
    if (usual.kind == MEMORY_DIRECT)
        walk->memory = pyunw_safe_memory(walk->target);
    if (frame == 0 || !start_is_good(walk, stack, frame) || !caller_is_good(walk, stack, cframe, frame)) {
        pyunw_addr refused = walk->refused_start;
        walk->torn_start = true;
        /* The word beside it is not filled either, but mostly still names the loop that called this one. */
        bool good = read_word(walk, outer + at->cframe.current_frame, &frame) && frame != 0 &&
                    start_is_good(walk, stack, frame);
        walk->chain.next = good ? frame : 0;
        walk->refused_start = refused;
    }
    walk->memory = usual;
    walk->frame_in_scratch = 0;
}

int pyunw_walk_begin_at_cframe(struct walk *walk, pyunw_addr cframe)
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
    walk->chain.next = frame;
    bool plain = (frame == 0 && may_be_without_frame(walk, cframe)) ||
                 (walk->memory.kind == MEMORY_DIRECT && start_is_plainly_good(walk, &stack, frame));
    if (!plain)
        begin_checked(walk, &stack, cframe, outer);
    return PYUNW_OK;
}
