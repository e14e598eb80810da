/*
 * Captures of a thread that may run on meanwhile: a walk, its description, and a second walk that must agree.
 *
 * Where it does not, the stack was another by then, and all is tried again. A bad pointer is told from a moment's by
 * its staying where it is.
 * Signal-safe: yes.
 */
#include "capture_running.h"
#include "capture_agreement.h"
#include "code.h"

/* The frames of a walk that the array had no room for. */
__attribute__((noinline)) static struct frame_digest take_tail(struct walk *walk)
{
    struct frame_digest tail = {0};
    pyunw_raw_frame raw;
    while (pyunw_walk_take(walk, &raw, sizeof raw, 1) == 1)
        digest_add(&tail, &raw);
    return tail;
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

/* Each frame is read by a system call of its own: the thread may be out of one when its caller is read. */
static bool reads_slowly(const struct walk *walk)
{
    return !is_image(walk->target) && load_kind_of(&walk->memory) == LOAD_COPY;
}

/*
 * Read the stack again until one walk ends as the first did and shows what that showed: any that does confirms it. Of a
 * thread that runs (3.11, 3.12), whose walks may begin at a frame of another time, two have to; of one whose frames are
 * used again, or are read slowly, likewise, unless it has stood: in a loop two walks may meet the same call, and then
 * the same later line of its caller, once in some 10,000 times. False where they do not.
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
    int wanted = walk->runs || reuses || reads_slowly(walk) ? 2 : 1;
    for (int n = 0; n < CONFIRMATIONS && (n == 0 || tries->looked_at < MANY_FRAMES); n++) {
        target_renew(walk->target, PYUNW_FOR_FRAMES);
        if (pyunw_walk_begin(walk, walk->target, &memory, walk->tstate, motion) < 0)
            return false;
        bool agreed = pyunw_agree(walk, array, count, tail, agreement);
        tries->looked_at += walk->chain.depth;
        if (!agreed || walk->end != end || walk->end_address != bad)
            continue;
        bool stood = has_stood(walk, tries);
        if (tries->trusts && !stood)
            return false;
        if (--wanted == 0 || stood) {
            pyunw_join_agreements(agreement, &earlier, reuses);
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
    pyunw_array_expect_texts(walk, array, count);
    if (array->described && !tries->trusts)
        target_renew(walk->target, PYUNW_FOR_TEXTS);
    return pyunw_array_describe(walk, array, count, status);
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
    int kept = pyunw_array_cut_cycle(walk, array, count);
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
    pyunw_array_move_to_front(array, agreement.first, described - agreement.first);
    for (int n = 0; n < described - agreement.first; n++)
        raw_at(array, n)->reserved = 0;
    if (tail.count > 0 && described == array->max && (cycle == 0 || cycle > (uint32_t)described))
        status->end = PYUNW_TRUNCATED;
    status->depth = described - agreement.first;
    status->undescribed = pyunw_array_count_undescribed(array, described - agreement.first);
    return described - agreement.first;
}

int pyunw_capture_running(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                          const struct gil_moment *before, const struct frame_array *array, pyunw_status *status)
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
