/*
 * Captures: a walk, its description, and for a thread that may run on meanwhile a second walk that must agree.
 *
 * What two walks of a running thread both show, from the root on (the same frames with the same code at the same
 * instruction), was its stack at an instant between them; what differs above was pushed or popped meanwhile and is
 * left out. The innermost frame that is kept may have moved on: it takes the instruction of the second walk.
 * Signal-safe: yes.
 */
#include "code.h"
#include "digest.h"
#include "walk.h"

/* Where captured frames go: an array of raw frames, or of frames whose first member is the raw one. */
struct frame_array {
    uint8_t *begin;
    size_t stride;
    int max;
    bool described;
};

static pyunw_raw_frame *raw_at(const struct frame_array *array, int index)
{
    return (pyunw_raw_frame *)(void *)(array->begin + (size_t)index * array->stride);
}

static pyunw_frame *frame_at(const struct frame_array *array, int index)
{
    return (pyunw_frame *)(void *)raw_at(array, index);
}

static void move_to_front(const struct frame_array *array, int first, int count)
{
    if (first > 0 && count > 0) {
        uint8_t *from = array->begin + (size_t)first * array->stride;
        for (int n = 0; n < count; n++, from += array->stride)
            memcpy(array->begin + (size_t)n * array->stride, from, array->stride);
    }
}

/* How many frames of [0, count) have a part that could not be read. */
static int count_undescribed(const struct frame_array *array, int count)
{
    enum {
        UNREADABLE =
            PYUNW_FILENAME_UNREADABLE | PYUNW_NAME_UNREADABLE | PYUNW_QUALNAME_UNREADABLE | PYUNW_POSITION_UNREADABLE
    };
    int undescribed = 0;
    for (int n = 0; array->described && n < count; n++)
        undescribed += (frame_at(array, n)->flags & UNREADABLE) != 0;
    return undescribed;
}

/* Describe frames [0, count). How many could be. */
static int describe_all(const struct walk *walk, const struct frame_array *array, int count, pyunw_status *status)
{
    int done = 0;
    for (; array->described && done < count; done++) {
        pyunw_frame *frame = frame_at(array, done);
        if (pyunw_code_describe(walk->target, &walk->memory, &frame->raw, frame) < 0) {
            status->end = PYUNW_CORRUPT;
            status->depth = done;
            status->address = frame->raw.code;
            count = done;
        }
    }
    status->undescribed = count_undescribed(array, count);
    return count;
}

/* A memory that takes hints brings what describing needs at once. */
static void expect_texts(const struct walk *walk, const struct frame_array *array, int count)
{
    enum { LOOK_AHEAD = 256 };
    if (!array->described || !memory_takes_hints(&walk->memory))
        return;
    for (int n = 0; n < count && n < LOOK_AHEAD; n++)
        pyunw_code_expect(walk->target, &walk->memory, raw_at(array, n)->code);
}

/* A chain that closes on itself is given once. */
static int cut_cycle(const struct walk *walk, const struct frame_array *array, int count)
{
    int length = (int)walk->cycle;
    for (int n = 0; length > 0 && n + length < count; n++) {
        if (raw_at(array, n)->frame == raw_at(array, n + length)->frame)
            return n + length;
    }
    return count;
}

/*
 * A chain that closes on itself after more frames than there is room for: the frame behind the last one was given
 * already. The nearest of that address tells the length of the cycle.
 */
static uint32_t find_cycle(const struct frame_array *array, int count, pyunw_addr beyond)
{
    for (int n = count - 1; n >= 0; n--) {
        if (raw_at(array, n)->frame == beyond)
            return (uint32_t)(count - n);
    }
    return 0;
}

static int take_all(struct walk *walk, const struct frame_array *array, pyunw_status *status)
{
    int count = pyunw_walk_take(walk, (pyunw_raw_frame *)(void *)array->begin, array->stride, array->max);
    pyunw_raw_frame beyond;
    beyond.frame = 0;
    int more = 0;
    /* An array that was filled exactly holds the whole stack. */
    if (count == array->max && !walk->ended)
        more = pyunw_walk_take(walk, &beyond, sizeof beyond, 1);
    pyunw_walk_status(walk, status);
    status->depth -= more;
    /* Plain loads are for stacks that are intact. */
    if (more == 1 && walk->memory.kind != MEMORY_DIRECT)
        walk->cycle = find_cycle(array, count, beyond.frame);
    if (more == 1 && walk->cycle > 0) {
        status->end = PYUNW_CORRUPT;
        status->address = beyond.frame;
    }
    int kept = cut_cycle(walk, array, count);
    if (kept < count)
        status->depth = kept;
    expect_texts(walk, array, kept);
    return describe_all(walk, array, kept, status);
}

/*
 * A thread that stands still meanwhile: the calling one, or one of an image that does not change.
 * Not inlined, as capture_running(): a walk takes much of the stack, and is not there while its thread is looked for.
 */
__attribute__((noinline)) static int capture_still(const struct target *target, const struct memory *memory,
                                                   pyunw_addr tstate, const struct frame_array *array,
                                                   pyunw_status *status)
{
    enum { LATE = 64 }; /* frames before the first mark: a cycle among them is cut off again, if the array holds it */
    struct walk walk;
    int err = pyunw_walk_begin(&walk, target, memory, tstate, THREAD_STANDS);
    if (err < 0)
        return err;
    if (array->max >= 2 * LATE)
        walk.chain.mark_span = LATE / 2;
    pyunw_walk_expect(&walk);
    return take_all(&walk, array, status);
}

/* ---- A thread that may run on ---- */

/* The frames of a walk that the array had no room for. */
__attribute__((noinline)) static struct frame_digest take_tail(struct walk *walk)
{
    struct frame_digest tail = {0};
    pyunw_raw_frame raw;
    while (pyunw_walk_take(walk, &raw, sizeof raw, 1) == 1)
        digest_add(&tail, &raw);
    return tail;
}

/* What a second walk says of the frames of the first. */
struct agreement {
    int first;   /* the innermost frame that both walks show, with all that is outward of it */
    int skipped; /* frames of the second walk inward of it */
    bool moved;  /* that frame was at another instruction the second time: */
    int32_t offset;
};

static int find_frame(const struct frame_array *array, int from, int count, pyunw_addr frame)
{
    for (int n = from; n < count; n++) {
        if (raw_at(array, n)->frame == frame)
            return n;
    }
    return -1;
}

/* The array stays what the first walk made it: a walk that does not agree leaves nothing behind. */
__attribute__((noinline)) static bool agree(struct walk *second, const struct frame_array *array, int count,
                                            const struct frame_digest *tail, struct agreement *agreement)
{
    int at = 0;
    pyunw_raw_frame raw;
    *agreement = (struct agreement){.first = count};
    struct frame_digest again = {0};
    while (pyunw_walk_take(second, &raw, sizeof raw, 1) == 1) {
        /* Beyond the array: only the digest tells. */
        if (count == 0 || (at == count && agreement->first < count)) {
            digest_add(&again, &raw);
            continue;
        }
        int found = at < count && raw_at(array, at)->frame == raw.frame ? at : find_frame(array, at, count, raw.frame);
        if (found < 0) {
            agreement->skipped++;
            agreement->first = count;
            continue;
        }
        pyunw_raw_frame *seen = raw_at(array, found);
        if (found != at || agreement->first == count) {
            agreement->first = found;
            agreement->moved = false;
        }
        if (seen->code != raw.code || seen->kind != raw.kind || seen->reserved != raw.reserved) {
            agreement->first = found + 1;
            agreement->moved = false;
        } else if (seen->offset != raw.offset) {
            agreement->first = found;
            agreement->moved = true;
            agreement->offset = raw.offset;
        }
        at = found + 1;
    }
    return at == count && digest_equal(&again, tail);
}

/* The innermost frame moved on: find its new position, and see that its code object was still there after that. */
static bool describe_moved(struct walk *second, const struct frame_array *array, int index, int32_t offset)
{
    const struct target *target = second->target;
    struct code_fields fields;
    pyunw_frame *frame = frame_at(array, index);
    uint64_t executable = 0;
    frame->raw.offset = offset;
    if (!array->described)
        return true;
    if (pyunw_code_read(target, &second->memory, frame->raw.code, &fields) < 0 ||
        code_fingerprint(&fields) != frame->raw.reserved ||
        pyunw_code_position(target, &second->memory, &fields, frame->raw.offset, &frame->position) < 0)
        return false;
    frame->flags &= ~(uint32_t)PYUNW_POSITION_UNREADABLE;
    target_renew(target, PYUNW_FOR_CHECK);
    return pyunw_read_u64(&second->memory, frame->raw.frame + target->layout.at.frame.executable, &executable) == 0 &&
           (executable & ~(uint64_t)target->layout.is.stackref_tags) == frame->raw.code;
}

/*
 * A walk that meets a call or a return is cut short, and costs little; so there may be many, until they have looked at
 * MANY_FRAMES. Damage is told after ENOUGH in a row that were cut short alike.
 */
enum { ENOUGH = 8, TRIES = 128, CONFIRMATIONS = 8, MANY_FRAMES = 1 << 16 };
/* What the tries so far met with. */
struct tries {
    struct gil_moment before; /* the one at work; reuses_frames() */
    bool trusts;              /* the one at work takes it that the thread stands without the GIL */
    int number;               /* of the one at work, from 1 */
    bool stands;              /* a stack was read that did not change meanwhile */
    int alike;                /* in a row, up to this one, that ended at the same bad place with the same frames */
    pyunw_addr bad;           /* that place */
    struct frame_digest seen; /* those frames; the innermost may move on */
    uint64_t looked_at;       /* frames, by all walks */
};

/*
 * Is this end to be told? A bad pointer most likely is a moment's of a thread that runs on; damage is what stays where
 * it is while nothing else changes. A stack that ends where none begins (3.8-3.10) likewise.
 */
static bool is_settled(struct tries *tries, const struct walk *walk, const struct frame_array *array, int count,
                       const pyunw_status *status)
{
    bool whole = status->end != PYUNW_CORRUPT && status->end != PYUNW_TORN;
    if (walk->runs)
        return whole;
    if (whole) {
        tries->alike = 0;
        return true;
    }
    struct frame_digest seen = {0};
    for (int n = 0; n < count; n++) {
        pyunw_raw_frame raw = *raw_at(array, n);
        if (n == 0)
            raw.offset = 0;
        digest_add(&seen, &raw);
    }
    bool again = tries->alike > 0 && status->address == tries->bad && digest_equal(&seen, &tries->seen);
    tries->alike = again ? tries->alike + 1 : 1;
    tries->bad = status->address;
    tries->seen = seen;
    bool has_root = status->end == PYUNW_TORN && status->address == 0;
    return (has_root && tries->number >= TRIES / 2) || tries->alike >= ENOUGH;
}

/*
 * What two walks that confirmed the first say of it together: no more than each. keeps_moved: a frame whose instruction
 * only one of them found moved is the innermost all the same.
 */
static void join(struct agreement *agreement, const struct agreement *earlier, bool keeps_moved)
{
    int first = earlier->moved && !keeps_moved ? earlier->first + 1 : earlier->first;
    if (earlier->first > agreement->first || (earlier->first == agreement->first && !agreement->moved)) {
        agreement->first = first;
        agreement->moved = false;
    }
    if (agreement->skipped < earlier->skipped)
        agreement->skipped = earlier->skipped;
}

/* 3.8-3.10 use a frame again at once for the next call of its function: of an image two walks may meet it so. */
static bool reuses_frames(const struct target *target)
{
    return is_image(target) && target->image.may_change && target->layout.is.instruction_scale != 0;
}

/* Asked before what a try reads is read anew. */
static void note_gil(const struct target *target, struct gil_moment *moment)
{
    if (reuses_frames(target)) {
        struct memory memory = pyunw_safe_memory(target);
        pyunw_read_gil_moment(target, &memory, moment);
    }
}

/* May it be that the thread stands while it is read? If it did not have the GIL before. */
static bool may_stand(const struct walk *walk, const struct tries *tries)
{
    return pyunw_was_without_gil(walk->tstate, &tries->before, &tries->before);
}

/* Did it stand from before this try until what was read after it? */
static bool has_stood(const struct walk *walk, const struct tries *tries)
{
    struct gil_moment now;
    if (!may_stand(walk, tries))
        return false;
    pyunw_read_gil_moment(walk->target, &walk->memory, &now);
    return pyunw_was_without_gil(walk->tstate, &tries->before, &now);
}

/*
 * Read the stack again until one walk ends as the first did and shows what that showed: any that does confirms it. Of a
 * thread that runs (3.11, 3.12), whose walks may begin at a frame of another time, two have to; and of one whose frames
 * are used again, unless it has stood. False where they do not.
 */
static bool confirm(struct walk *walk, const struct frame_array *array, int count, const struct frame_digest *tail,
                    struct agreement *agreement, struct tries *tries)
{
    uint8_t end = walk->ended ? walk->end : PYUNW_TRUNCATED;
    pyunw_addr bad = walk->end_address;
    struct memory memory = walk->memory;
    enum thread_motion motion = walk->runs ? THREAD_RUNS : THREAD_MAY_RUN;
    struct agreement earlier = {0};
    bool reuses = reuses_frames(walk->target);
    int wanted = walk->runs || reuses ? 2 : 1;
    for (int n = 0; n < CONFIRMATIONS && (n == 0 || tries->looked_at < MANY_FRAMES); n++) {
        target_renew(walk->target, PYUNW_FOR_FRAMES);
        if (pyunw_walk_begin(walk, walk->target, &memory, walk->tstate, motion) < 0)
            return false;
        bool agreed = agree(walk, array, count, tail, agreement);
        tries->looked_at += walk->chain.depth;
        if (!agreed || walk->end != end || walk->end_address != bad)
            continue;
        bool stood = has_stood(walk, tries);
        if (tries->trusts && !stood)
            return false;
        if (--wanted == 0 || stood) {
            join(agreement, &earlier, reuses);
            return true;
        }
        earlier = *agreement;
    }
    return false;
}

static bool is_in_generator(const pyunw_raw_frame *raw)
{
    return raw->kind == PYUNW_FRAME_GENERATOR || raw->kind == PYUNW_FRAME_COROUTINE ||
           raw->kind == PYUNW_FRAME_ASYNC_GENERATOR;
}

/*
 * 3.11+: do these frames lie on the data stack as calls put them? Frames that earlier calls left there link to each
 * other, and to live ones: a walk that is slower than the thread returns goes down a chain of them, and a second may,
 * too.
 */
static bool lie_as_called(struct walk *walk, const struct frame_array *array, int first, int end)
{
    const pyunw_raw_frame *callee = NULL;
    if (walk->target->layout.at.chunk.data == 0)
        return true;
    for (int n = first; n < end; n++) {
        const pyunw_raw_frame *raw = raw_at(array, n);
        if (is_in_generator(raw))
            continue;
        if (callee != NULL && !pyunw_frames_adjoin(walk, callee, raw))
            return false;
        callee = raw;
    }
    return true;
}

/*
 * Describe what a walk showed. Read anew: what was kept from before a code object was seen may be another's texts. As
 * long as that code object lives, which the second walk tells, so do its texts. (A thread that stands keeps all of
 * them alive, whatever was read first.)
 */
static int describe_running(const struct walk *walk, const struct frame_array *array, int count,
                            const struct tries *tries, pyunw_status *status)
{
    expect_texts(walk, array, count);
    if (array->described && !tries->trusts)
        target_renew(walk->target, PYUNW_FOR_TEXTS);
    return describe_all(walk, array, count, status);
}

/* One try: the count of frames that two walks agree on and *status, or -1 where they do not. */
static int try_running(struct walk *walk, const struct frame_array *array, pyunw_status *status, struct tries *tries)
{
    struct agreement agreement;
    struct frame_digest tail = {0};
    int count = pyunw_walk_take(walk, (pyunw_raw_frame *)(void *)array->begin, array->stride, array->max);
    if (!walk->ended)
        tail = take_tail(walk);
    pyunw_walk_status(walk, status);
    tries->looked_at += walk->chain.depth;
    enum pyunw_end end = (enum pyunw_end)status->end;
    int kept = cut_cycle(walk, array, count);
    bool whole = end != PYUNW_CORRUPT && end != PYUNW_TORN;
    int described = whole ? describe_running(walk, array, kept, tries, status) : kept;
    if (!is_settled(tries, walk, array, count, status))
        return -1;
    if (!whole)
        described = describe_running(walk, array, kept, tries, status);
    bool saw_idle = walk->saw_idle;
    uint32_t cycle = walk->cycle;
    if (!confirm(walk, array, count, &tail, &agreement, tries))
        return -1;
    /* A frame that is not being executed is believed only in a stack that did not change at all. */
    bool changed = agreement.first > 0 || agreement.moved || agreement.skipped > 0;
    if ((saw_idle || walk->saw_idle) && changed)
        return -1;
    if (walk->runs && !changed) {
        tries->stands = true;
        return -1;
    }
    if (agreement.first > described)
        agreement.first = described;
    if (agreement.moved && agreement.first < described &&
        !describe_moved(walk, array, agreement.first, agreement.offset)) {
        agreement.first++;
        agreement.moved = false;
    }
    /* What stands is believed in the end, however it lies. */
    if ((changed || tries->number < ENOUGH) && !lie_as_called(walk, array, agreement.first, described))
        return -1;
    if (agreement.first >= described && (count > 0 || (end == PYUNW_COMPLETE && tail.count == 0)))
        return -1;
    status->unconfirmed = agreement.first > agreement.skipped ? agreement.first : agreement.skipped;
    status->unconfirmed += walk->torn_start;
    move_to_front(array, agreement.first, described - agreement.first);
    for (int n = 0; n < described - agreement.first; n++)
        raw_at(array, n)->reserved = 0;
    if (tail.count > 0 && described == array->max && (cycle == 0 || cycle > (uint32_t)described))
        status->end = PYUNW_TRUNCATED;
    status->depth = described - agreement.first;
    status->undescribed = count_undescribed(array, described - agreement.first);
    return described - agreement.first;
}

__attribute__((noinline)) static int capture_running(const struct target *target, const struct memory *memory,
                                                     pyunw_addr tstate, const struct gil_moment *before,
                                                     const struct frame_array *array, pyunw_status *status)
{
    struct walk walk;
    struct tries tries = {.before = *before};
    while (tries.number++ < TRIES && (tries.number == 1 || tries.looked_at < MANY_FRAMES)) {
        bool runs = target->layout.is.has_cframe && !tries.stands && tries.number % 2 == 0;
        if (tries.number > 1) {
            note_gil(target, &tries.before);
            target_renew(target, PYUNW_FOR_FRAMES);
        }
        int err = pyunw_walk_begin(&walk, target, memory, tstate, runs ? THREAD_RUNS : THREAD_MAY_RUN);
        if (err < 0)
            return err;
        /* Once: where others take the GIL all the time, it cannot be told. */
        tries.trusts = tries.number == 1 && may_stand(&walk, &tries);
        if (tries.number == 1)
            pyunw_walk_expect(&walk);
        int count = try_running(&walk, array, status, &tries);
        if (count >= 0)
            return count;
    }
    *status = (pyunw_status){.end = PYUNW_TORN};
    return 0;
}

static int capture(const pyunw_target *handle, pyunw_addr tstate, const struct frame_array *array, pyunw_status *status)
{
    const struct target *target = open_target(handle);
    struct memory memory;
    pyunw_status unasked;
    bool still = false;
    if (target == NULL)
        return not_open(handle);
    if (array->max < 0 || (array->max > 0 && array->begin == NULL))
        return PYUNW_ERR_ARGUMENT;
    if (status == NULL)
        status = &unasked;
    *status = (pyunw_status){0};
    struct gil_moment before = {0};
    note_gil(target, &before);
    target_renew(target, PYUNW_FOR_FRAMES);
    int err = pyunw_walk_choose(target, &tstate, &memory, &still);
    if (err < 0)
        return err;
    if (!still)
        return capture_running(target, &memory, tstate, &before, array, status);
    return capture_still(target, &memory, tstate, array, status);
}

int pyunw_walk(const pyunw_target *target, pyunw_addr tstate, pyunw_raw_frame *frames, int max, pyunw_status *status)
{
    struct frame_array array = {(uint8_t *)frames, sizeof *frames, max, false};
    return capture(target, tstate, &array, status);
}

int pyunw_capture(const pyunw_target *target, pyunw_addr tstate, pyunw_frame *frames, int max, pyunw_status *status)
{
    struct frame_array array = {(uint8_t *)frames, sizeof *frames, max, true};
    return capture(target, tstate, &array, status);
}

int pyunw_capture_current(const pyunw_target *target, pyunw_frame *frames, int max, pyunw_status *status)
{
    return pyunw_capture(target, 0, frames, max, status);
}
