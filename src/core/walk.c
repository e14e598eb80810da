/*
 * The walk over the frames of one thread.
 *
 * A frame is believed if its address is plausible, its owner is known, its executable is a code object and its
 * instruction lies inside that code. A stack is whole if it ends where CPython begins one: at an entry frame
 * (3.12+), at the thread's first frame or a generator that is being run from C (3.11), or at a frame object that is
 * being executed (3.8-3.10).
 * Signal-safe: yes.
 */
#include "layout_semantics.h"
#include "layout_tables.h"
#include "walk_code.h"

bool pyunw_type_is_code(struct walk *walk, pyunw_addr type)
{
    if (walk->code_type != NO_TYPE || !pyunw_is_code_type(walk->target, &walk->memory, type))
        return false;
    walk->code_type = type;
    return true;
}

/* ---- The end of a walk ---- */

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

/* ---- Steps ---- */

enum step {
    STEP_MORE,
    STEP_BOTTOM,
    STEP_BAD,
    STEP_NEW_TYPE, /* the next frame's code object has a type that is to be asked for its name */
};

/* Frames taken in one call: raw frames, stride bytes apart. */
struct taking {
    uint8_t *begin;
    uint8_t *at; /* where the next one goes */
    size_t stride;
    uint32_t room;    /* frames that may still be given */
    uint32_t granted; /* frames that may be looked at before room and mark are looked at again */
    uint32_t hidden;  /* of those: not given */
    pyunw_addr type;  /* STEP_NEW_TYPE */
    uint8_t *unnamed; /* the first frame that is module level or a class body: its name is yet to be looked at */
};

/* The frame given last, if that is the one with this address, else NULL. */
ALWAYS_INLINE pyunw_raw_frame *given_last(const struct taking *taking, const uint8_t *at, pyunw_addr frame)
{
    if (at == taking->begin)
        return NULL;
    pyunw_raw_frame *last = (pyunw_raw_frame *)(void *)(at - taking->stride);
    return last->frame == frame ? last : NULL;
}

/* Account for the frames that were looked at. left: how many of those granted were not. */
ALWAYS_INLINE void settle(struct chain *chain, struct taking *taking, uint32_t left)
{
    uint32_t looked_at = taking->granted - left;
    uint32_t given = looked_at - taking->hidden;
    chain->until_mark -= looked_at;
    chain->depth += given;
    taking->room -= given;
    taking->granted = taking->hidden = 0;
}

/*
 * How many frames may be looked at now; 0 where the room is full, or the chain is longer than any. Brent's cycle
 * detection: a chain that comes back to the mark is a cycle, and the mark moves on after twice as many steps each time.
 * Not inlined: what it works on would take the registers that the loop needs.
 */
__attribute__((noinline)) static uint32_t grant(struct chain *chain, struct taking *taking, const uint8_t *at,
                                                pyunw_addr last)
{
    if (taking->granted > 0)
        settle(chain, taking, 0);
    if (chain->until_mark == 0 && taking->room > 0 && chain->mark_span <= MAX_FRAMES) {
        chain->mark = last;
        bool was_given = at != taking->begin ? given_last(taking, at, last) != NULL : last == chain->given && last != 0;
        chain->mark_depth = chain->depth - was_given;
        chain->mark_span = chain->mark_span != 0 ? 2 * chain->mark_span : 1;
        chain->until_mark = chain->mark_span;
    }
    taking->granted = chain->until_mark < taking->room ? chain->until_mark : taking->room;
    return taking->granted;
}

/*
 * Is the frame that is to be looked at next an entry frame (3.12+)? Asked when there is no room for more: the one that
 * was given last was entered from C then.
 */
ALWAYS_INLINE bool next_is_hidden(enum load_kind how, struct plan plan, struct walk *walk, pyunw_addr next)
{
    struct frame_fields fields;
    int fault = 0;
    if (!plan.is->has_shims || !plausible_address(next))
        return false;
    if (how == LOAD_COPY) {
        /* What was refused here is not asked for again: the walk ends there, and not with a flag that is a guess. */
        bool read = read_frame_as(how, &plan.at->frame, plan.is, walk, next, &fields);
        walk->refused = read ? 0 : next;
        return read && owner_is_hidden(plan.is, fields.owner);
    }
    uint8_t owner = load_u8(how, (const uint8_t *)(uintptr_t)next + plan.at->frame.owner, &fault);
    return owner_is_hidden(plan.is, owner) && !fault;
}

/*
 * The loop that all walking is: for plain and trapped loads it calls nothing for a common frame, so that all it needs
 * is in registers.
 */
ALWAYS_INLINE enum step take_some(enum load_kind how, struct plan plan, struct walk *walk, struct taking *taking)
{
    pyunw_addr frame = walk->chain.next;
    pyunw_addr last = walk->chain.last;
    uint8_t *at = taking->at;
    uint32_t left = 0;
    enum step result = STEP_MORE;
    for (;;) {
        struct frame_fields fields;
        struct code_words words;
        if (__builtin_expect(left == 0, 0)) {
            bool full = taking->granted == taking->room && taking->hidden == 0;
            left = full ? 0 : grant(&walk->chain, taking, at, last);
            if (left == 0)
                break;
        }
        /* The mark, which is 0 for the first steps, and the bottom are met but once. */
        if (__builtin_expect(frame == walk->chain.mark, 0) || (how == LOAD_COPY && frame == walk->refused) ||
            !read_frame_as(how, &plan.at->frame, plan.is, walk, frame, &fields)) {
            result = frame == 0 ? STEP_BOTTOM : STEP_BAD;
            break;
        }
        if (__builtin_expect(!owner_is_python(fields.owner), 0)) {
            if (!owner_is_hidden(plan.is, fields.owner)) {
                result = STEP_BAD;
                break;
            }
            pyunw_raw_frame *callee = given_last(taking, at, last);
            if (callee != NULL)
                callee->flags = PYUNW_FRAME_ENTRY;
            last = frame;
            frame = fields.previous;
            taking->hidden++;
            left--;
            continue;
        }
        if (plan.is->instruction_scale != 0 && !fields.runs)
            walk->saw_idle = true;
        enum code_answer answer = read_code(how, plan, walk, &fields, &words);
        if (__builtin_expect(answer != CODE_GOOD, 0)) {
            if (answer == CODE_OF_NEW_TYPE)
                taking->type = words.type;
            if (answer != CODE_HIDDEN) {
                result = answer == CODE_BAD ? STEP_BAD : STEP_NEW_TYPE;
                break;
            }
            last = frame;
            frame = fields.previous;
            taking->hidden++;
            left--;
            continue;
        }
        *(pyunw_raw_frame *)(void *)at = (pyunw_raw_frame){
            .code = fields.executable,
            .frame = frame,
            .offset = words.offset,
            .kind = words.kind,
            .flags = !plan.is->has_shims && fields.is_entry ? PYUNW_FRAME_ENTRY : 0,
            .reserved = words.fingerprint,
        };
        if (__builtin_expect(words.kind == PYUNW_FRAME_UNKNOWN, 0) && taking->unnamed == NULL)
            taking->unnamed = at;
        at += taking->stride;
        last = frame;
        frame = fields.previous;
        left--;
    }
    __asm__ volatile("" : : : "memory"); /* or the compiler fetches before the loop what is needed behind it */
    taking->at = at;
    walk->chain.next = frame;
    walk->chain.last = last;
    if (at != taking->begin)
        walk->chain.given = ((const pyunw_raw_frame *)(const void *)(at - taking->stride))->frame;
    settle(&walk->chain, taking, left);
    pyunw_raw_frame *outermost = given_last(taking, at, last);
    if (result == STEP_MORE && outermost != NULL && next_is_hidden(how, plan, walk, frame))
        outermost->flags = PYUNW_FRAME_ENTRY;
    return result;
}

/* ---- The walking code, once for each way of loading and each row of the tables ---- */

typedef enum step take_function(struct walk *walk, struct taking *taking);

#define DEFINE_TAKE(how, row_number)                                                                                   \
    static enum step take_##how##_##row_number(struct walk *walk, struct taking *taking)                               \
    {                                                                                                                  \
        const struct layout_offsets *at = &layout_tables[row_number];                                                  \
        struct plan plan = {at, &layout_semantics[layout_tables[row_number].minor - LAYOUT_MINOR_FIRST]};              \
        return take_some(how, plan, walk, taking);                                                                     \
    }

#define FOR_EACH_ROW(apply, how)                                                                                       \
    apply(how, 0) apply(how, 1) apply(how, 2) apply(how, 3) apply(how, 4) apply(how, 5) apply(how, 6) apply(how, 7)    \
        apply(how, 8) apply(how, 9) apply(how, 10)

enum { ROWS = sizeof layout_tables / sizeof layout_tables[0] };
_Static_assert(ROWS == 11, "FOR_EACH_ROW names every row of the tables");

FOR_EACH_ROW(DEFINE_TAKE, LOAD_DIRECT)
FOR_EACH_ROW(DEFINE_TAKE, LOAD_TRAPPED)

/* Where frames and code objects do not lie exactly as a row says, and where each read is dear anyway. */
static enum step take_by_layout(struct walk *walk, struct taking *taking)
{
    const struct layout *layout = &walk->target->layout;
    struct plan plan = {&layout->at, &layout->is};
    switch (load_kind_of(&walk->memory)) {
    case LOAD_DIRECT:
        return take_some(LOAD_DIRECT, plan, walk, taking);
    case LOAD_TRAPPED:
        return take_some(LOAD_TRAPPED, plan, walk, taking);
    case LOAD_COPY:
        return take_some(LOAD_COPY, plan, walk, taking);
    }
    return STEP_BAD;
}

#define ENTRY_TAKE(how, row_number) [row_number] = take_##how##_##row_number,

static take_function *choose_take(const struct walk *walk)
{
    static take_function *const plain[ROWS] = {FOR_EACH_ROW(ENTRY_TAKE, LOAD_DIRECT)};
    static take_function *const trapped[ROWS] = {FOR_EACH_ROW(ENTRY_TAKE, LOAD_TRAPPED)};
    uint8_t row = walk->target->layout.row;
    if (row >= ROWS || load_kind_of(&walk->memory) == LOAD_COPY)
        return take_by_layout;
    return load_kind_of(&walk->memory) == LOAD_DIRECT ? plain[row] : trapped[row];
}

/* ---- Taking frames ---- */

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

static void tell_modules_from_classes(const struct walk *walk, const struct taking *taking)
{
    for (uint8_t *at = taking->unnamed; at != NULL && at < taking->at; at += taking->stride) {
        pyunw_raw_frame *raw = (pyunw_raw_frame *)(void *)at;
        if (raw->kind == PYUNW_FRAME_UNKNOWN)
            raw->kind = module_or_class(walk, raw->code);
    }
}

int pyunw_walk_take(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max)
{
    take_function *const take = choose_take(walk);
    struct taking taking = {
        .begin = (uint8_t *)frames, .at = (uint8_t *)frames, .stride = stride, .room = max > 0 ? (uint32_t)max : 0};
    enum step result = STEP_MORE;
    if (walk->ended)
        return 0;
    while (result == STEP_MORE && taking.room > 0) {
        result = take(walk, &taking);
        if (result == STEP_NEW_TYPE)
            result = pyunw_type_is_code(walk, taking.type) ? STEP_MORE : STEP_BAD;
        else if (result == STEP_MORE && taking.room > 0)
            result = STEP_BAD; /* longer than any */
    }
    tell_modules_from_classes(walk, &taking);
    if (result == STEP_BAD) {
        if (walk->chain.next == walk->chain.mark)
            walk->cycle = walk->chain.depth - walk->chain.mark_depth;
        end_walk(walk, PYUNW_CORRUPT, walk->chain.next);
    } else if (result == STEP_BOTTOM) {
        end_at_bottom(walk);
    }
    return max > 0 ? max - (int)taking.room : 0;
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
                     enum thread_motion motion)
{
    const struct layout_thread *at = &target->layout.at.thread;
    walk->magic = WALK_MAGIC;
    walk->target = target;
    walk->memory = *memory;
    walk->tstate = tstate;
    walk->code_type = target->code_type != 0 ? target->code_type : NO_TYPE;
    walk->base_frame = 0;
    walk->still = motion == THREAD_STANDS;
    walk->runs = motion == THREAD_RUNS;
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
    /* 3.11, 3.12: a thread state that is just being made is in the list before it has a _PyCFrame: it has no frame yet.
     */
    if (target->layout.is.has_cframe && frame != 0)
        return plausible_address(frame) ? pyunw_walk_begin_at_cframe(walk, frame) : PYUNW_ERR_CORRUPT;
    if (at->base_frame != 0 && !read_word(walk, tstate + at->base_frame, &walk->base_frame))
        return PYUNW_ERR_FAULT;
    walk->chain.next = frame;
    return PYUNW_OK;
}
