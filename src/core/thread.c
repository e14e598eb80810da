/*
 * The calling thread's own thread state, and the fields of any. What is never freed (the runtime, and from 3.11 on
 * the main interpreter and the main thread's state inside it) is loaded plainly; all else by a memory that may refuse.
 * Signal-safe: yes.
 */
#include "thread.h"

#include "trap.h"

int pyunw_check_runtime(const struct target *target, const struct memory *memory, pyunw_addr *main_interpreter)
{
    struct memory runtime_memory = memory_of_runtime(target, memory);
    return pyunw_runtime_state(target, &runtime_memory, main_interpreter);
}

int pyunw_is_finalizing(const pyunw_target *handle)
{
    const struct target *target = open_target(handle);
    if (target == NULL)
        return not_open(handle);
    struct memory memory = pyunw_own_memory(target);
    target_renew(target, PYUNW_FOR_THREADS);
    pyunw_addr main_interpreter = 0;
    pyunw_addr finalizing = 0;
    int err = pyunw_check_runtime(target, &memory, &main_interpreter);
    struct memory here = memory_of_runtime(target, &memory);
    if (err == 0)
        err = pyunw_read_u64(&here, target->runtime + target->layout.at.runtime.finalizing, &finalizing);
    return err < 0 ? err : finalizing != 0;
}

static bool is_attached(const struct layout *layout, uint64_t status_word, uint64_t state_word)
{
    if (layout->at.thread.state != 0)
        return (uint32_t)state_word == 1;
    return layout->is.status_active != 0 && ((uint32_t)status_word & layout->is.status_active) != 0;
}

static void look_for_frames(const struct target *target, const struct memory *memory, pyunw_addr frame,
                            pyunw_addr base_frame, struct thread_fields *fields)
{
    const struct layout *layout = &target->layout;
    pyunw_addr current = frame;
    fields->frames_unreadable =
        layout->is.has_cframe &&
        (!plausible_address(frame) || pyunw_read_u64(memory, frame + layout->at.cframe.current_frame, &current) < 0);
    fields->has_frames = !fields->frames_unreadable && current != 0 && current != base_frame;
}

/* Before 3.11 no thread state holds the kernel's id; the C library's thread descriptor does (pthread_t points to it).
 */
static uint64_t native_id_from_pthread(const struct target *target, const struct memory *memory, uint64_t thread_id)
{
    uint32_t tid = 0;
    if (target->tid_offset == 0 || !plausible_address(thread_id) ||
        pyunw_read_u32(memory, thread_id + target->tid_offset, &tid) < 0)
        return 0;
    long pid = raw_syscall0(SYS_getpid);
    return (int32_t)tid > 0 && raw_syscall3(SYS_tgkill, pid, (long)tid, 0) == 0 ? tid : 0;
}

static uint64_t word_at(const uint8_t *bytes, uint32_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof word);
    return word;
}

/*
 * Frames from the innermost outward, those in so many pages and the first behind them: what lies in another page than
 * the frame before is not known to be at hand.
 */
static void expect_frames(const struct target *target, const struct memory *memory, pyunw_addr frame, int pages)
{
    enum { LOOK_AHEAD = 64, PAGE = 4096 };
    const struct layout_frame *at = &target->layout.at.frame;
    pyunw_addr page = 0;
    for (int n = 0; n < LOOK_AHEAD && plausible_address(frame); n++) {
        if (frame / PAGE != page) {
            memory_expect(memory, frame, at->size);
            page = frame / PAGE;
            if (pages-- == 0)
                return;
        }
        if (pyunw_read_u64(memory, frame + at->previous, &frame) < 0)
            return;
    }
}

/*
 * A thread state and its frames, followed through so many pages. What stands there is only told: nothing is checked.
 * The next in the list, or 0.
 */
static pyunw_addr expect_thread(const struct target *target, const struct memory *memory, pyunw_addr tstate, int pages)
{
    enum { LONG_CHUNK = 1 << 16 };
    const struct layout_offsets *at = &target->layout.at;
    pyunw_addr next = 0;
    pyunw_addr frame = 0;
    pyunw_addr chunk = 0;
    pyunw_addr end = 0;
    memory_expect(memory, tstate, target->layout.thread_span);
    if (pyunw_read_u64(memory, tstate + at->thread.next, &next) < 0 ||
        pyunw_read_u64(memory, tstate + at->thread.frame, &frame) < 0)
        return 0;
    uint32_t end_at = target->layout.is.has_cframe ? at->thread.datastack_top : at->thread.frame;
    /* The pages between are the chunk's own. */
    if (at->chunk.data != 0 && pyunw_read_u64(memory, tstate + at->thread.datastack_chunk, &chunk) == 0 &&
        pyunw_read_u64(memory, tstate + end_at, &end) == 0 && plausible_address(chunk) && end > chunk &&
        end - chunk < LONG_CHUNK)
        memory_expect(memory, chunk, (size_t)(end - chunk));
    expect_frames(target, memory, frame, target->layout.is.has_cframe ? 0 : pages);
    return plausible_address(next) ? next : 0;
}

void pyunw_expect_threads(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                          const struct thread_fields *fields)
{
    if (!memory_takes_hints(memory))
        return;
    /* Where the list ends, its head is asked whether it still does. */
    if (fields->next == 0)
        memory_expect(memory, fields->interpreter + target->layout.at.interpreter.threads_head, sizeof(uint64_t));
    pyunw_addr next = expect_thread(target, memory, tstate, 0);
    if (next != 0)
        next = expect_thread(target, memory, next, 0);
    if (next != 0)
        memory_expect(memory, next, target->layout.thread_span);
}

void pyunw_expect_thread_behind(const struct target *target, const struct memory *memory, pyunw_addr tstate)
{
    pyunw_addr next = 0;
    if (pyunw_read_u64(memory, tstate + target->layout.at.thread.next, &next) == 0 && plausible_address(next))
        (void)expect_thread(target, memory, next, 1);
}

int pyunw_read_thread(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                      struct thread_fields *fields)
{
    const struct layout *layout = &target->layout;
    const struct layout_thread *at = &layout->at.thread;
    uint8_t bytes[LAYOUT_THREAD_SPAN_MAX];
    if (!plausible_address(tstate))
        return PYUNW_ERR_CORRUPT;
    struct memory here = memory_at(target, memory, tstate, layout->thread_span);
    int err = pyunw_read(&here, tstate, bytes, layout->thread_span);
    if (err < 0)
        return err;
    fields->prev = word_at(bytes, at->prev);
    fields->next = word_at(bytes, at->next);
    fields->interpreter = word_at(bytes, at->interp);
    fields->thread_id = word_at(bytes, at->thread_id);
    fields->id = word_at(bytes, at->id);
    uint32_t requested = 0;
    if (at->gil_requested != 0 && !layout->at.free_threaded)
        memcpy(&requested, bytes + at->gil_requested, sizeof requested);
    fields->waits_for_gil = requested != 0;
    fields->attached = is_attached(layout, word_at(bytes, at->status), word_at(bytes, at->state));
    look_for_frames(target, memory, word_at(bytes, at->frame), at->base_frame != 0 ? word_at(bytes, at->base_frame) : 0,
                    fields);
    fields->native_id = at->native_thread_id != 0 ? word_at(bytes, at->native_thread_id)
                                                  : native_id_from_pthread(target, memory, fields->thread_id);
    return PYUNW_OK;
}

/* Bytes of a GIL, up to the last field that is read. */
static uint64_t gil_span(const struct layout_gil *at)
{
    uint32_t last = at->locked > at->last_holder ? at->locked : at->last_holder;
    return (last > at->enabled ? last : at->enabled) + sizeof(uint64_t);
}

int pyunw_gil_holder(const struct target *target, const struct memory *memory, pyunw_addr interpreter,
                     pyunw_addr *holder)
{
    const struct layout_offsets *at = &target->layout.at;
    *holder = 0;
    if (at->runtime.tstate_current != 0) {
        struct memory runtime_memory = memory_of_runtime(target, memory);
        return pyunw_read_u64(&runtime_memory, target->runtime + at->runtime.tstate_current, holder);
    }
    pyunw_addr gil = 0;
    int err = read_word_at(target, memory, interpreter + at->interpreter.gil, &gil);
    if (err < 0 || gil == 0)
        return err;
    if (!plausible_address(gil))
        return PYUNW_ERR_CORRUPT;
    uint64_t size = gil_span(&at->gil);
    struct memory here = memory_at(target, memory, gil, size);
    /* Plain loads are for what the runtime itself holds: a GIL elsewhere is left to a memory that may refuse. */
    if (here.kind == MEMORY_DIRECT && !in_runtime(target, gil, size))
        return PYUNW_OK;
    uint32_t word = 0;
    if (at->free_threaded) {
        err = pyunw_read_u32(&here, gil + at->gil.enabled, &word);
        if (err < 0 || word == 0)
            return err;
    }
    err = pyunw_read_u32(&here, gil + at->gil.locked, &word);
    if (err < 0 || word != 1)
        return err;
    return pyunw_read_u64(&here, gil + at->gil.last_holder, holder);
}

void pyunw_read_gil_moment(const struct target *target, const struct memory *memory, struct gil_moment *moment)
{
    const struct layout_runtime *at = &target->layout.at.runtime;
    uint64_t interpreters = 0;
    *moment = (struct gil_moment){0};
    if (at->gil_switches == 0)
        return;
    struct memory here = memory_of_runtime(target, memory);
    moment->is_known = pyunw_read_u64(&here, target->runtime + at->interpreters_next_id, &interpreters) == 0 &&
                       pyunw_read_u64(&here, target->runtime + at->tstate_current, &moment->holder) == 0 &&
                       pyunw_read_u64(&here, target->runtime + at->gil_last_holder, &moment->last_holder) == 0 &&
                       pyunw_read_u64(&here, target->runtime + at->gil_switches, &moment->switches) == 0 &&
                       interpreters == 1 && moment->last_holder != 0;
}

bool pyunw_was_without_gil(pyunw_addr tstate, const struct gil_moment *from, const struct gil_moment *to)
{
    return from->is_known && to->is_known && from->holder != tstate && to->holder != tstate &&
           from->last_holder != tstate && from->last_holder == to->last_holder && from->switches == to->switches;
}

/* gc.collecting is an int; in 3.8 it belongs to the runtime. */
int pyunw_read_collecting(const struct target *target, const struct memory *memory, pyunw_addr interpreter,
                          bool *collecting)
{
    const struct layout_offsets *at = &target->layout.at;
    pyunw_addr address = at->interpreter.gc_collecting != 0 ? interpreter + at->interpreter.gc_collecting
                                                            : target->runtime + at->runtime.gc_collecting;
    struct memory here = memory_at(target, memory, address, sizeof(uint32_t));
    uint32_t word = 0;
    int err = pyunw_read_u32(&here, address, &word);
    *collecting = word != 0;
    return err;
}

/*
 * Is this thread state the calling thread's? Asked of who held the GIL a moment ago: if it was another thread, it may
 * have given the GIL up and freed its thread state since. memory: NULL for the brief one.
 */
static bool holder_is_own(const struct target *target, const struct memory *memory, pyunw_addr holder, uint64_t own_id)
{
    if (!plausible_address(holder))
        return false;
    pyunw_addr address = holder + target->layout.at.thread.thread_id;
    uint64_t id = 0;
    struct memory here = memory != NULL ? memory_at(target, memory, address, sizeof id) : pyunw_brief_memory(target);
    return pyunw_read_u64(&here, address, &id) == 0 && id == own_id;
}

/* The calling thread's, if it holds the GIL of the main interpreter; else 0. memory: as for holder_is_own(). */
static pyunw_addr find_own_as_holder(const struct target *target, const struct memory *memory,
                                     pyunw_addr main_interpreter, uint64_t own_id)
{
    struct memory plain = {.kind = MEMORY_DIRECT};
    pyunw_addr holder = 0;
    bool by_interpreter = target->layout.at.runtime.tstate_current == 0;
    if ((by_interpreter && !in_runtime(target, main_interpreter + target->layout.at.interpreter.gil, 8)) ||
        pyunw_gil_holder(target, &plain, main_interpreter, &holder) < 0 ||
        !holder_is_own(target, memory, holder, own_id))
        return 0;
    return holder;
}

/* What a scan of the lists for one pthread_t has found so far. */
struct own_search {
    uint64_t own_id;
    pyunw_addr attached;    /* the one that is attached: the answer */
    pyunw_addr with_frames; /* else the newest that has frames */
    pyunw_addr any;         /* else the newest */
    bool changed;           /* a list was changed under the scan: what was not found may be there all the same */
    bool refused;           /* a thread state could not be read */
};

static void consider(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                     struct own_search *search)
{
    struct thread_fields fields;
    if (pyunw_read_thread(target, memory, tstate, &fields) < 0)
        return;
    if (fields.attached)
        search->attached = tstate;
    if (fields.has_frames && search->with_frames == 0)
        search->with_frames = tstate;
    if (search->any == 0)
        search->any = tstate;
}

ALWAYS_INLINE void scan_threads(enum load_kind how, const struct target *target, const struct memory *memory,
                                pyunw_addr interpreter, pyunw_addr head, struct own_search *search)
{
    const struct layout_thread *at = &target->layout.at.thread;
    uint8_t scratch[LAYOUT_THREAD_SPAN_MAX];
    pyunw_addr previous = 0;
    pyunw_addr tstate = head;
    for (int n = 0; tstate != 0; n++) {
        int fault = 0;
        const uint8_t *view = NULL;
        if (n < MAX_THREADS && plausible_address(tstate))
            view = view_structure(how, memory, tstate, target->layout.thread_span, scratch);
        if (view == NULL) {
            search->changed = search->refused = true;
            return;
        }
        pyunw_addr back = load_u64(how, view + at->prev, &fault);
        pyunw_addr next = load_u64(how, view + at->next, &fault);
        pyunw_addr of = load_u64(how, view + at->interp, &fault);
        uint64_t id = load_u64(how, view + at->thread_id, &fault);
        /* A new thread is put in front of the head that was read; any other surprise is a removal. */
        bool strange = fault || of != interpreter || (back != previous && previous != 0);
        /* 3.11 makes a new one the head before its next is written, and its pthread_t after that (new_threadstate). */
        if (strange || (next == 0 && id == 0)) {
            search->changed = true;
            return;
        }
        if (id == search->own_id) {
            consider(target, memory, tstate, search);
            if (search->attached != 0)
                return;
        }
        previous = tstate;
        tstate = next;
    }
    /* A head that ended before it was read may say that it is the last. */
    pyunw_addr again = head;
    pyunw_addr head_at = interpreter + target->layout.at.interpreter.threads_head;
    if (previous == head && (read_word_at(target, memory, head_at, &again) < 0 || again != head))
        search->changed = true;
}

/* Not inlined: each has room for a thread state, and only one is at work. */
__attribute__((noinline)) static void scan_trapped(const struct target *target, const struct memory *memory,
                                                   pyunw_addr interpreter, pyunw_addr head, struct own_search *search)
{
    scan_threads(LOAD_TRAPPED, target, memory, interpreter, head, search);
}

__attribute__((noinline)) static void scan_copied(const struct target *target, const struct memory *memory,
                                                  pyunw_addr interpreter, pyunw_addr head, struct own_search *search)
{
    scan_threads(LOAD_COPY, target, memory, interpreter, head, search);
}

static int scan_interpreters(const struct target *target, const struct memory *memory, struct own_search *search)
{
    const struct layout_offsets *at = &target->layout.at;
    pyunw_addr interpreter = 0;
    int err = read_word_at(target, memory, target->runtime + at->runtime.interpreters_head, &interpreter);
    for (int n = 0; err == 0 && interpreter != 0; n++) {
        pyunw_addr head = 0;
        if (n == MAX_INTERPRETERS || !plausible_address(interpreter))
            return PYUNW_ERR_CORRUPT;
        err = read_word_at(target, memory, interpreter + at->interpreter.threads_head, &head);
        if (err < 0)
            return err;
        if (memory->kind == MEMORY_TRAPPED)
            scan_trapped(target, memory, interpreter, head, search);
        else
            scan_copied(target, memory, interpreter, head, search);
        if (search->attached != 0)
            return PYUNW_OK;
        err = read_word_at(target, memory, interpreter + at->interpreter.next, &interpreter);
    }
    return err;
}

/*
 * One interpreter whose only thread state, or whose main one, is inside the runtime: found by plain loads. Serves
 * the program with one thread, and the main thread of any without sub-interpreters.
 */
static pyunw_addr find_own_in_runtime(const struct target *target, pyunw_addr main_interpreter, uint64_t own_id)
{
    const struct layout_offsets *at = &target->layout.at;
    struct memory plain = {.kind = MEMORY_DIRECT};
    pyunw_addr head = 0;
    pyunw_addr tstate = 0;
    uint64_t id = 0;
    pyunw_read_u64(&plain, target->runtime + at->runtime.interpreters_head, &head);
    if (head != main_interpreter)
        return 0;
    if (at->runtime.main_tstate != 0)
        pyunw_read_u64(&plain, target->runtime + at->runtime.main_tstate, &tstate);
    pyunw_addr threads_head = main_interpreter + at->interpreter.threads_head;
    if (tstate == 0 && in_runtime(target, threads_head, sizeof tstate))
        pyunw_read_u64(&plain, threads_head, &tstate);
    if (!plausible_address(tstate) || !in_runtime(target, tstate, target->layout.thread_span))
        return 0;
    pyunw_read_u64(&plain, tstate + at->thread.thread_id, &id);
    pyunw_read_u64(&plain, tstate + at->thread.interp, &head);
    return id == own_id && head == main_interpreter ? tstate : 0;
}

int pyunw_find_own_thread(const struct target *target, const struct memory *chosen, pyunw_addr *tstate)
{
    enum { TRIES = 64 }; /* threads that come and go can make a scan begin again for long */
    if (is_image(target))
        return PYUNW_ERR_NO_THREAD;
    struct memory plain = {.kind = MEMORY_DIRECT};
    pyunw_addr main_interpreter = 0;
    int err = pyunw_runtime_state(target, &plain, &main_interpreter);
    if (err < 0)
        return err;
    uint64_t own_id = own_thread_id(target);
    bool trusting = target->memory == PYUNW_MEMORY_DIRECT;
    *tstate = find_own_in_runtime(target, main_interpreter, own_id);
    if (*tstate == 0 && trusting)
        *tstate = find_own_as_holder(target, NULL, main_interpreter, own_id);
    if (*tstate != 0)
        return PYUNW_OK;
    struct memory memory = chosen != NULL && chosen->kind != MEMORY_DIRECT ? *chosen : pyunw_safe_memory(target);
    if (!trusting)
        *tstate = find_own_as_holder(target, &memory, main_interpreter, own_id);
    if (*tstate != 0)
        return PYUNW_OK;
    struct own_search search = {.own_id = own_id};
    for (int n = 0; n < TRIES; n++) {
        search = (struct own_search){.own_id = own_id};
        err = scan_interpreters(target, &memory, &search);
        pyunw_addr found = search.attached != 0 ? search.attached : search.with_frames;
        /*
         * The state of a thread that is being started has no frames, and the pthread_t of the one that starts it until
         * it begins: without frames only a scan to the end tells whose it is.
         */
        if (found == 0 && !search.changed)
            found = search.any;
        if (found != 0) {
            *tstate = found;
            return PYUNW_OK;
        }
        if (err == 0 && !search.changed)
            return PYUNW_ERR_NO_THREAD;
    }
    if (err < 0)
        return err;
    return search.refused ? PYUNW_ERR_FAULT : PYUNW_ERR_TORN;
}

int pyunw_current_thread(const pyunw_target *handle, pyunw_addr *tstate)
{
    const struct target *target = open_target(handle);
    if (target == NULL)
        return not_open(handle);
    if (tstate == NULL)
        return PYUNW_ERR_ARGUMENT;
    return pyunw_find_own_thread(target, NULL, tstate);
}
