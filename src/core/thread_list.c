/*
 * The cursor over all thread states. Each list is sorted, newest first, by an id that is never used twice; so a
 * cursor whose place was cut out of the list begins the list again and skips what it has told.
 * Signal-safe: yes.
 */
#include "thread.h"

static const uint64_t CURSOR_MAGIC = UINT64_C(0x7079756e77746331); /* "pyunwtc1" */

struct thread_walk {
    uint64_t magic;
    const struct target *target;
    struct memory memory;
    pyunw_addr current;     /* the calling thread's, 0: none */
    pyunw_addr finalizing;  /* the thread state that finalizes the runtime */
    uint64_t main_thread;   /* pthread_t */
    pyunw_addr interpreter; /* 0: at the end */
    int64_t interpreter_id;
    pyunw_addr holder; /* of the interpreter's GIL */
    pyunw_addr tstate; /* told last; 0: the list is to be begun */
    uint64_t told_id;  /* its id */
    bool told_any;     /* told_id counts */
    bool collecting;   /* the interpreter's garbage collector runs */
    uint32_t interpreters;
    uint32_t threads;
    pyunw_addr lost_at;
    int lost_err;
    uint64_t lost_word; /* what was wrong there */
    int lost_times;
};

_Static_assert(sizeof(struct thread_walk) <= sizeof(pyunw_thread_cursor), "thread_walk outgrew its public size");

static int read_at(const struct thread_walk *walk, pyunw_addr address, uint64_t *value)
{
    return read_word_at(walk->target, &walk->memory, address, value);
}

static int enter_interpreter(struct thread_walk *walk, pyunw_addr interpreter)
{
    walk->interpreter = interpreter;
    walk->tstate = 0;
    walk->told_any = false;
    if (interpreter == 0)
        return PYUNW_OK;
    if (!plausible_address(interpreter) || walk->interpreters++ == MAX_INTERPRETERS)
        return PYUNW_ERR_CORRUPT;
    uint64_t id = 0;
    int err = read_at(walk, interpreter + walk->target->layout.at.interpreter.id, &id);
    /* Newest first, and no number is used twice: a list that closes on itself breaks that order. */
    if (err == 0 && walk->interpreters > 1 && (int64_t)id >= walk->interpreter_id)
        err = PYUNW_ERR_CORRUPT;
    walk->interpreter_id = (int64_t)id;
    if (err == 0)
        err = pyunw_gil_holder(walk->target, &walk->memory, interpreter, &walk->holder);
    if (err == 0)
        err = pyunw_read_collecting(walk->target, &walk->memory, interpreter, &walk->collecting);
    return err;
}

static int begin(const struct target *target, struct thread_walk *walk)
{
    const struct layout_runtime *at = &target->layout.at.runtime;
    pyunw_addr main_interpreter = 0;
    pyunw_addr head = 0;
    *walk = (struct thread_walk){.magic = CURSOR_MAGIC, .target = target, .memory = pyunw_safe_memory(target)};
    target_renew(target, PYUNW_FOR_THREADS);
    int err = pyunw_check_runtime(target, &walk->memory, &main_interpreter);
    if (err == 0)
        err = read_at(walk, target->runtime + at->interpreters_head, &head);
    if (err == 0)
        err = read_at(walk, target->runtime + at->finalizing, &walk->finalizing);
    if (err == 0)
        err = read_at(walk, target->runtime + at->main_thread, &walk->main_thread);
    if (err == 0)
        err = enter_interpreter(walk, head);
    if (err == 0 && pyunw_find_own_thread(target, &walk->memory, &walk->current) < 0)
        walk->current = 0;
    return err;
}

static void tell(const struct thread_walk *walk, const struct thread_fields *fields, pyunw_thread *thread)
{
    uint32_t flags = 0;
    if (fields->thread_id == walk->main_thread)
        flags |= PYUNW_THREAD_MAIN;
    if (walk->tstate == walk->current)
        flags |= PYUNW_THREAD_CURRENT;
    if (walk->tstate == walk->holder)
        flags |= PYUNW_THREAD_HOLDS_GIL;
    if (walk->tstate == walk->finalizing)
        flags |= PYUNW_THREAD_FINALIZING;
    /* Where the GIL is disabled, nothing tells which thread collects. */
    if (walk->collecting && walk->tstate == walk->holder)
        flags |= PYUNW_THREAD_COLLECTING;
    if (fields->attached || (walk->target->layout.is.status_active == 0 && walk->tstate == walk->holder))
        flags |= PYUNW_THREAD_ATTACHED;
    if (fields->waits_for_gil)
        flags |= PYUNW_THREAD_WAITS_FOR_GIL;
    if (fields->has_frames)
        flags |= PYUNW_THREAD_HAS_FRAMES;
    if (fields->frames_unreadable)
        flags |= PYUNW_THREAD_FRAMES_UNREADABLE;
    *thread = (pyunw_thread){
        .tstate = walk->tstate,
        .interpreter = walk->interpreter,
        .interpreter_id = walk->interpreter_id,
        .thread_id = fields->thread_id,
        .native_id = fields->native_id,
        .id = fields->id,
        .flags = flags,
    };
}

enum place { PLACE_FOUND, PLACE_END, PLACE_LOST };

/* Remember where and why the list could not be followed: what stays so is damage, and no thread that ended. */
static enum place lose(struct thread_walk *walk, pyunw_addr tstate, int err, uint64_t word)
{
    bool again = walk->lost_at == tstate && walk->lost_err == err && walk->lost_word == word;
    walk->lost_times = again ? walk->lost_times + 1 : 1;
    walk->lost_at = tstate;
    walk->lost_err = err;
    walk->lost_word = word;
    return PLACE_LOST;
}

/*
 * Is this thread state in the list still? Asked where one says that it is the last: the memory of one that has ended
 * may say so too, while all else in it is as it was (malloc clears the second word of a block that it hands out).
 */
static bool is_linked(const struct thread_walk *walk, pyunw_addr tstate)
{
    const struct layout_offsets *at = &walk->target->layout.at;
    pyunw_addr back = 0;
    pyunw_addr forward = 0;
    if (read_at(walk, tstate + at->thread.prev, &back) < 0)
        return false;
    if (back == 0)
        return read_at(walk, walk->interpreter + at->interpreter.threads_head, &forward) == 0 && forward == tstate;
    return plausible_address(back) && read_at(walk, back + at->thread.next, &forward) == 0 && forward == tstate;
}

/* Find the first thread state of the list that is older than what was told, beginning at its head. */
static enum place find_from_head(struct thread_walk *walk, pyunw_addr *tstate, struct thread_fields *fields)
{
    pyunw_addr previous = 0;
    pyunw_addr head = walk->interpreter + walk->target->layout.at.interpreter.threads_head;
    int err = read_at(walk, head, tstate);
    if (err < 0)
        return lose(walk, head, err, 0);
    for (int n = 0; *tstate != 0; n++) {
        err = pyunw_read_thread(walk->target, &walk->memory, *tstate, fields);
        if (err < 0)
            return lose(walk, *tstate, err, 0);
        if (n == MAX_THREADS || fields->interpreter != walk->interpreter || (n > 0 && fields->prev != previous))
            return lose(walk, *tstate, PYUNW_ERR_CORRUPT, fields->prev);
        /* 3.11 makes a new one the head before its next is written, and its pthread_t after that (new_threadstate). */
        if (fields->next == 0 && fields->thread_id == 0)
            return lose(walk, *tstate, PYUNW_ERR_CORRUPT, 0);
        if (!walk->told_any || fields->id < walk->told_id)
            return PLACE_FOUND;
        previous = *tstate;
        *tstate = fields->next;
    }
    return previous == 0 || is_linked(walk, previous) ? PLACE_END : lose(walk, previous, PYUNW_ERR_CORRUPT, 0);
}

/* Find the next thread state from the one that was told last, if that is still where it was. */
static enum place find_from_last(struct thread_walk *walk, pyunw_addr *tstate, struct thread_fields *fields)
{
    struct thread_fields last;
    if (pyunw_read_thread(walk->target, &walk->memory, walk->tstate, &last) < 0 ||
        last.interpreter != walk->interpreter || last.id != walk->told_id)
        return PLACE_LOST;
    *tstate = last.next;
    if (*tstate == 0)
        return is_linked(walk, walk->tstate) ? PLACE_END : PLACE_LOST;
    if (pyunw_read_thread(walk->target, &walk->memory, *tstate, fields) < 0 ||
        fields->interpreter != walk->interpreter || fields->prev != walk->tstate || fields->id >= walk->told_id)
        return PLACE_LOST;
    return PLACE_FOUND;
}

static int next_thread(struct thread_walk *walk, pyunw_thread *thread)
{
    enum { TRIES = 16 };
    pyunw_addr tstate = 0;
    struct thread_fields fields;
    for (;;) {
        if (walk->interpreter == 0)
            return 0;
        enum place place = walk->told_any ? find_from_last(walk, &tstate, &fields) : PLACE_LOST;
        for (int n = 0; place == PLACE_LOST && n < TRIES; n++) {
            if (n > 0 || walk->told_any)
                target_renew(walk->target, PYUNW_FOR_THREADS);
            place = find_from_head(walk, &tstate, &fields);
        }
        if (place == PLACE_LOST)
            return walk->lost_times >= TRIES ? walk->lost_err : PYUNW_ERR_TORN;
        walk->lost_times = 0;
        if (place == PLACE_FOUND) {
            if (walk->threads++ == MAX_THREADS)
                return PYUNW_ERR_CORRUPT;
            walk->tstate = tstate;
            walk->told_id = fields.id;
            walk->told_any = true;
            pyunw_expect_threads(walk->target, &walk->memory, tstate, &fields);
            tell(walk, &fields, thread);
            return 1;
        }
        pyunw_addr next = 0;
        int err = read_at(walk, walk->interpreter + walk->target->layout.at.interpreter.next, &next);
        if (err == 0)
            err = enter_interpreter(walk, next);
        if (err < 0)
            return err;
    }
}

static struct thread_walk *open_cursor(pyunw_thread_cursor *cursor)
{
    struct thread_walk *walk = (struct thread_walk *)(void *)cursor;
    return walk != NULL && walk->magic == CURSOR_MAGIC ? walk : NULL;
}

int pyunw_threads_begin(const pyunw_target *handle, pyunw_thread_cursor *cursor)
{
    const struct target *target = open_target(handle);
    if (target == NULL)
        return not_open(handle);
    if (cursor == NULL)
        return PYUNW_ERR_ARGUMENT;
    struct thread_walk *walk = (struct thread_walk *)(void *)cursor;
    int err = begin(target, walk);
    if (err < 0)
        walk->interpreter = 0;
    return err;
}

int pyunw_threads_next(pyunw_thread_cursor *cursor, pyunw_thread *thread)
{
    struct thread_walk *walk = open_cursor(cursor);
    if (cursor == NULL || thread == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (walk == NULL)
        return PYUNW_ERR_NOT_OPEN;
    int result = next_thread(walk, thread);
    if (result < 0)
        walk->interpreter = 0;
    return result;
}

int pyunw_thread_find(const pyunw_target *handle, pyunw_addr tstate, pyunw_thread *thread)
{
    pyunw_thread_cursor cursor;
    pyunw_thread found;
    int result = pyunw_threads_begin(handle, &cursor);
    if (result < 0)
        return result;
    while ((result = pyunw_threads_next(&cursor, &found)) == 1) {
        if (found.tstate == tstate) {
            if (thread != NULL)
                *thread = found;
            return PYUNW_OK;
        }
    }
    return result < 0 ? result : PYUNW_ERR_NO_THREAD;
}
