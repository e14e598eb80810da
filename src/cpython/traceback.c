/*
 * pyunwind under CPython's names (include/pyunwind_python.h).
 * Signal-safe: yes, but for pyunw_init() and the constructor.
 */
#include "pyunwind_python.h"

#include "code.h"
#include "digest.h"
#include "output.h"
#include "walk.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* ---- The own process ---- */

/* The calling thread is read by one, every other by the other. */
struct own_process {
    pyunw_target direct;
    pyunw_target guarded;
};

/*
 * What was published is never written to again: a thread, or a handler that interrupts it, may read by it for as long
 * as it likes. Opening again mostly tells nothing new; what is new is another interpreter, or another moment of its
 * life.
 */
enum { OPENED_MAX = 32 };
static struct own_process opened[OPENED_MAX];
static int opened_count;
static _Atomic(const struct own_process *) own_process;

/* NULL: there is no room for another. */
static const struct own_process *keep(const struct own_process *process)
{
    for (int n = 0; n < opened_count; n++) {
        if (memcmp(&opened[n], process, sizeof *process) == 0)
            return &opened[n];
    }
    if (opened_count == OPENED_MAX)
        return NULL;
    opened[opened_count] = *process;
    return &opened[opened_count++];
}

int pyunw_init(void)
{
    static struct own_process process;
    pyunw_options options = {.size = sizeof options, .memory = PYUNW_MEMORY_DIRECT};
    int err = pyunw_open_self(&process.direct, &options);
    options.memory = PYUNW_MEMORY_GUARDED;
    if (err == 0 || err == PYUNW_ERR_FINALIZED)
        err = pyunw_open_self(&process.guarded, &options);
    if (err != 0 && err != PYUNW_ERR_FINALIZED)
        return err;
    const struct own_process *kept = keep(&process);
    if (kept == NULL)
        return PYUNW_ERR_SYSTEM;
    atomic_store(&own_process, kept);
    return err;
}

__attribute__((constructor)) static void open_when_loaded(void)
{
    /* A process without an interpreter is no error yet: pyunw_init() may be called later. */
    (void)pyunw_init();
}

/* The target that is to read tstate, or NULL where it is no thread state. */
__attribute__((noinline)) static const pyunw_target *choose_target(pyunw_addr tstate)
{
    const struct own_process *process = atomic_load(&own_process);
    pyunw_addr own = 0;
    if (process == NULL || tstate == 0)
        return NULL;
    if (pyunw_current_thread(&process->direct, &own) == 0 && own == tstate)
        return &process->direct;
    return pyunw_thread_find(&process->guarded, tstate, NULL) == 0 ? &process->guarded : NULL;
}

static pyunw_addr address_of(const void *pointer)
{
    return (pyunw_addr)(uintptr_t)pointer;
}

/* ---- Collecting into entries of any type ---- */

/* Fill one entry from a frame's code object and line. */
typedef void (*fill_function)(const struct target *target, const struct memory *memory,
                              const struct code_fields *fields, int lineno, void *entry);

struct entries {
    uint8_t *begin;
    size_t size; /* bytes of one: a multiple of its alignment, and at least 16 raw frames */
    int max;
    fill_function fill;
};

/* The raw frames are kept at the front of the entries, until these are filled from the last one on. */
static pyunw_raw_frame *raw_frames(const struct entries *entries)
{
    return (pyunw_raw_frame *)(void *)(entries->begin + (8 - (uintptr_t)entries->begin % 8) % 8);
}

/* As many raw frames as the memory of the entries holds: more than there are entries. */
static int room_for_raw_frames(const struct entries *entries)
{
    size_t begin = (size_t)((uint8_t *)raw_frames(entries) - entries->begin);
    size_t room = entries->max > 0 ? ((size_t)entries->max * entries->size - begin) / sizeof(pyunw_raw_frame) : 0;
    return room < INT32_MAX ? (int)room : INT32_MAX;
}

static void fill_all(const struct target *target, const struct memory *memory, const struct entries *entries, int count)
{
    for (int n = count - 1; n >= 0; n--) {
        pyunw_raw_frame raw = raw_frames(entries)[n];
        struct code_fields fields = {0};
        pyunw_position position = {.lineno = -1};
        if (pyunw_code_read(target, memory, raw.code, &fields) == 0)
            (void)pyunw_code_position(target, memory, &fields, raw.offset, &position);
        entries->fill(target, memory, &fields, position.lineno, entries->begin + (size_t)n * entries->size);
    }
}

/* ---- The calling thread ---- */

/* It stands still while it is read. */
static int collect_own(const pyunw_target *handle, pyunw_addr tstate, const struct entries *entries,
                       pyunw_status *status)
{
    int count = pyunw_walk(handle, tstate, raw_frames(entries), entries->max, status);
    if (count < 0)
        return -1;
    const struct target *target = open_target(handle);
    struct memory memory = pyunw_own_memory(target);
    fill_all(target, &memory, entries, count);
    return count;
}

/* ---- Another thread, which may run on ---- */

/*
 * The first tries take what pyunw_walk() confirms. Where that does not come to an end (a program that does nothing but
 * call and return), the others read the stack once, and confirm it by the walk that follows the description anyway.
 * Each time that fails, more of the innermost frames are left out: what is nearer to the root stands longer.
 */
enum { CONFIRMED_TRIES = 4, TRIES = 40 };

/* Frames of a stack, to be compared with what it is later. */
struct run {
    pyunw_addr innermost;
    uint32_t most;  /* how many frames are compared: those of the run, or all, where it ends at the root */
    bool confirmed; /* by pyunw_walk(); else no walk is believed that shows a frame which is not being executed */
    struct frame_digest digest;
};

/* The innermost frame may move on while it is described: its line is of one moment, its name of all. */
static void add_to_run(struct frame_digest *digest, pyunw_raw_frame raw)
{
    if (digest->count == 0)
        raw.offset = 0;
    digest_add(digest, &raw);
}

/*
 * Is this run of frames still part of the thread's stack? Then the code objects lived while they were described. A
 * walk that comes in the middle of a call does not get so far as to tell: any that shows the run does, and reaches the
 * root, also beyond the run: a frame object that is free links to other free ones (3.8-3.10), which are no callers.
 */
__attribute__((noinline)) static bool run_still_stands(const struct target *target, const struct memory *memory,
                                                       pyunw_addr tstate, const struct run *run)
{
    enum { WALKS = 8 };
    struct walk walk;
    pyunw_raw_frame raw;
    for (int n = 0; n < WALKS; n++) {
        struct frame_digest again = {0};
        if (pyunw_walk_begin(&walk, target, memory, tstate, THREAD_MAY_RUN) < 0)
            return false;
        while (pyunw_walk_take(&walk, &raw, sizeof raw, 1) == 1) {
            if (again.count > 0 ? again.count < run->most : raw.frame == run->innermost)
                add_to_run(&again, raw);
        }
        bool believed = run->confirmed || !walk.saw_idle;
        bool at_root = walk.end == PYUNW_COMPLETE || (walk.end == PYUNW_TORN && walk.end_address == 0);
        if (believed && digest_equal(&again, &run->digest) && at_root)
            return true;
    }
    return false;
}

/*
 * Describe the frames but the first `left_out` of them, as many as there are entries for. How many those are; 0 where
 * they did not stand so long.
 */
__attribute__((noinline)) static int fill_standing(const pyunw_target *handle, pyunw_addr tstate,
                                                   const struct entries *entries, int left_out, int count,
                                                   bool confirmed)
{
    const struct target *target = open_target(handle);
    struct memory memory = pyunw_safe_memory(target);
    pyunw_raw_frame *frames = raw_frames(entries);
    bool to_root = count - left_out <= entries->max;
    int kept = to_root ? count - left_out : entries->max;
    struct run run = {frames[left_out].frame, to_root ? MAX_FRAMES : (uint32_t)kept, confirmed, {0}};
    for (int n = 0; n < kept; n++) {
        frames[n] = frames[left_out + n];
        add_to_run(&run.digest, frames[n]);
    }
    fill_all(target, &memory, entries, kept);
    return run_still_stands(target, &memory, tstate, &run) ? kept : 0;
}

/*
 * Read the stack once. 3.8-3.10: without the frames that are not being executed (returned from, or traced), and without
 * those inward of them.
 */
__attribute__((noinline)) static int read_once(const pyunw_target *handle, pyunw_addr tstate,
                                               const struct entries *entries, pyunw_status *status)
{
    const struct target *target = open_target(handle);
    struct memory memory = pyunw_safe_memory(target);
    struct walk walk;
    int room = room_for_raw_frames(entries);
    int count = 0;
    int err = pyunw_walk_begin(&walk, target, &memory, tstate, THREAD_MAY_RUN);
    if (err < 0)
        return err;
    while (count < room && pyunw_walk_take(&walk, &raw_frames(entries)[count], sizeof(pyunw_raw_frame), 1) == 1) {
        count = walk.saw_idle ? 0 : count + 1;
        walk.saw_idle = false;
    }
    bool beyond = false;
    pyunw_raw_frame raw;
    while (!walk.ended && pyunw_walk_take(&walk, &raw, sizeof raw, 1) == 1)
        beyond = true;
    pyunw_walk_status(&walk, status);
    if (beyond && status->end != PYUNW_CORRUPT)
        status->end = PYUNW_TRUNCATED;
    return walk.saw_idle ? 0 : count;
}

/*
 * Are these frames the outermost of the stack? Of a thread that runs, a bad pointer is a moment's: the frames before it
 * are cut off from their root. A torn stack has it, but lacks its innermost frames (3.11, 3.12, at the entry of the
 * evaluation loop): better than none.
 */
static bool may_be_given(int end, int try)
{
    return end == PYUNW_COMPLETE || end == PYUNW_TRUNCATED || (end == PYUNW_TORN && try >= TRIES / 2);
}

static int collect_running(const pyunw_target *handle, pyunw_addr tstate, const struct entries *entries,
                           pyunw_status *status)
{
    int left_out = 0;
    for (int try = 0; try < TRIES; try++) {
        bool confirmed = try < CONFIRMED_TRIES;
        int room = room_for_raw_frames(entries);
        int count = confirmed ? pyunw_walk(handle, tstate, raw_frames(entries), room, status)
                              : read_once(handle, tstate, entries, status);
        if (count < 0)
            return -1;
        if (entries->max == 0 || (confirmed && status->end == PYUNW_NO_FRAME))
            return 0;
        /* What remains reaches to the root, or is more than there are entries for. */
        int most = status->end == PYUNW_TRUNCATED ? count - entries->max - 1 : count - 1;
        if (most < 0 || !may_be_given(status->end, try))
            continue;
        int filled = fill_standing(handle, tstate, entries, left_out < most ? left_out : most, count, confirmed);
        if (filled > 0)
            return filled;
        if (!confirmed && left_out < MAX_FRAMES)
            left_out = 2 * left_out + 1;
    }
    /* It may have ended meanwhile. */
    return pyunw_thread_find(handle, tstate, NULL) == PYUNW_ERR_NO_THREAD ? -1 : 0;
}

static int collect(pyunw_addr tstate, const struct entries *entries, pyunw_status *status)
{
    const struct own_process *process = atomic_load(&own_process);
    const pyunw_target *handle = choose_target(tstate);
    if (handle == NULL)
        return -1;
    return handle == &process->direct ? collect_own(handle, tstate, entries, status)
                                      : collect_running(handle, tstate, entries, status);
}

/* ---- PyTracebackFrameInfo ---- */

static const char ELLIPSIS[] = "...";
enum { ELLIPSIS_LENGTH = sizeof ELLIPSIS - 1 };

/* Text that does not fit is written again with room for the dots. */
static void fill_text(const struct target *target, const struct memory *memory, pyunw_addr object, enum text_keep keep,
                      char *buffer, size_t size)
{
    struct text text;
    size_t length = 0;
    bool truncated = false;
    buffer[0] = '\0';
    if (pyunw_text_open(target, memory, object, MAX_STR, &text) < 0 ||
        pyunw_text_to_utf8(&text, keep, buffer, size, &length, &truncated) < 0 || !truncated)
        return;
    char *kept = keep == TEXT_KEEP_END ? buffer + ELLIPSIS_LENGTH : buffer;
    if (pyunw_text_to_utf8(&text, keep, kept, size - ELLIPSIS_LENGTH, &length, &truncated) < 0)
        buffer[0] = '\0';
    else if (keep == TEXT_KEEP_END)
        memcpy(buffer, ELLIPSIS, ELLIPSIS_LENGTH);
    else
        memcpy(buffer + length, ELLIPSIS, sizeof ELLIPSIS);
}

static void fill_traceback_frame(const struct target *target, const struct memory *memory,
                                 const struct code_fields *fields, int lineno, void *entry)
{
    /* By its bytes: the caller may have put the array at any address. */
    char *bytes = entry;
    int line = lineno < 0 ? -1 : lineno;
    memcpy(bytes + offsetof(PyTracebackFrameInfo, lineno), &line, sizeof line);
    fill_text(target, memory, fields->filename, TEXT_KEEP_END, bytes + offsetof(PyTracebackFrameInfo, filename),
              sizeof((PyTracebackFrameInfo *)0)->filename);
    fill_text(target, memory, fields->name, TEXT_KEEP_BEGINNING, bytes + offsetof(PyTracebackFrameInfo, name),
              sizeof((PyTracebackFrameInfo *)0)->name);
}

_Static_assert(sizeof(PyTracebackFrameInfo) >= 16 * sizeof(pyunw_raw_frame), "raw frames fit before the entries");
_Static_assert(sizeof(pyunw_python_frame) >= 16 * sizeof(pyunw_raw_frame), "raw frames fit before the entries");

int _Py_GetTracebackFrames(PyThreadState *tstate, PyTracebackFrameInfo *frames, int max_frames)
{
    struct entries entries = {(uint8_t *)frames, sizeof *frames, max_frames, fill_traceback_frame};
    pyunw_status status;
    if (frames == NULL || max_frames <= 0)
        return -1;
    return collect(address_of(tstate), &entries, &status);
}

/* ---- The proposed PyUnstable_CollectCallStack ---- */

/* One character as CPython's dumps escape it (Python/traceback.c, _Py_DumpASCII): 1 to 10 bytes. */
static size_t escape(uint32_t code_point, char out[10])
{
    static const char letters[] = {[2] = 'x', [4] = 'u', [8] = 'U'};
    unsigned digits = code_point <= 0xff ? 2 : code_point <= 0xffff ? 4 : 8;
    if (code_point >= ' ' && code_point <= '~') {
        out[0] = (char)code_point;
        return 1;
    }
    out[0] = '\\';
    out[1] = letters[digits];
    for (unsigned n = 0; n < digits; n++)
        out[2 + n] = "0123456789abcdef"[code_point >> 4 * (digits - 1 - n) & 15];
    return 2 + digits;
}

static int fill_escaped(const struct target *target, const struct memory *memory, pyunw_addr object, char *buffer,
                        size_t size)
{
    struct text text;
    struct text_reader reader;
    uint32_t code_point = 0;
    size_t done = 0;
    buffer[0] = '\0';
    if (pyunw_text_open(target, memory, object, MAX_STR, &text) < 0)
        return 0;
    pyunw_text_begin(&text, 0, &reader);
    while (pyunw_text_next(&reader, &code_point) == 1) {
        char bytes[10];
        size_t count = escape(code_point, bytes);
        if (count > size - 1 - done) {
            buffer[done] = '\0';
            return 1;
        }
        memcpy(buffer + done, bytes, count);
        done += count;
    }
    buffer[done] = '\0';
    return 0;
}

static void fill_python_frame(const struct target *target, const struct memory *memory,
                              const struct code_fields *fields, int lineno, void *entry)
{
    pyunw_python_frame *frame = entry;
    frame->lineno = lineno < 0 ? -1 : lineno;
    frame->filename_truncated = fill_escaped(target, memory, fields->filename, frame->filename, sizeof frame->filename);
    frame->name_truncated = fill_escaped(target, memory, fields->name, frame->name, sizeof frame->name);
}

int pyunw_python_collect(PyThreadState *tstate, pyunw_python_frame *frames, int max_frames)
{
    struct entries entries = {(uint8_t *)frames, sizeof *frames, max_frames, fill_python_frame};
    pyunw_status status = {0};
    if (frames == NULL || max_frames < 0)
        return -1;
    int count = collect(address_of(tstate), &entries, &status);
    return count == 0 && status.end == PYUNW_NO_FRAME ? -1 : count;
}

/* ---- Text ---- */

static void print_text(struct output *output, const char *text, int truncated)
{
    pyunw_output_string(output, text);
    if (truncated)
        pyunw_output_string(output, ELLIPSIS);
}

static void print_frame(struct output *output, const pyunw_python_frame *frame)
{
    pyunw_output_string(output, "  File ");
    if (frame->filename[0] != '\0') {
        pyunw_output_string(output, "\"");
        print_text(output, frame->filename, frame->filename_truncated);
        pyunw_output_string(output, "\"");
    } else {
        pyunw_output_string(output, "???");
    }
    pyunw_output_string(output, ", line ");
    if (frame->lineno >= 0)
        pyunw_output_decimal(output, frame->lineno);
    else
        pyunw_output_string(output, "???");
    pyunw_output_string(output, " in ");
    print_text(output, frame->name[0] != '\0' ? frame->name : "???", frame->name_truncated);
    pyunw_output_string(output, "\n");
}

static const char HEADER[] = "Stack (most recent call first):\n";

void pyunw_python_print(int fd, const pyunw_python_frame *frames, int n_frames, int write_header)
{
    struct output output;
    pyunw_output_begin(&output, fd);
    if (write_header)
        pyunw_output_string(&output, HEADER);
    for (int n = 0; frames != NULL && n < n_frames; n++)
        print_frame(&output, &frames[n]);
    (void)pyunw_output_flush(&output);
}

const char *pyunw_python_dump(int fd, PyThreadState *tstate)
{
    const pyunw_target *handle = choose_target(address_of(tstate));
    if (handle != NULL) {
        int err = pyunw_write_text(handle, fd, address_of(tstate));
        return err < 0 ? pyunw_strerror(err) : NULL;
    }
    struct output output;
    pyunw_output_begin(&output, fd);
    pyunw_output_string(&output, HEADER);
    pyunw_output_string(&output, "  <freed thread state>\n");
    (void)pyunw_output_flush(&output);
    return pyunw_strerror(PYUNW_ERR_NO_THREAD);
}

void pyunw_python_dump_quietly(int fd, PyThreadState *tstate)
{
    (void)pyunw_python_dump(fd, tstate);
}

const char *pyunw_python_dump_threads(int fd, PyInterpreterState *interp, PyThreadState *current_tstate,
                                      ssize_t max_threads)
{
    enum { CPYTHON_MAX_THREADS = 100 };
    const struct own_process *process = atomic_load(&own_process);
    pyunw_addr current = address_of(current_tstate);
    if (process == NULL)
        return pyunw_strerror(PYUNW_ERR_NO_PYTHON);
    if (max_threads < 0 || max_threads > INT32_MAX)
        return pyunw_strerror(PYUNW_ERR_ARGUMENT);
    if (current == 0 && pyunw_current_thread(&process->direct, &current) < 0)
        current = 0;
    int err = pyunw_write_text_threads(&process->direct, fd, address_of(interp), current,
                                       max_threads == 0 ? CPYTHON_MAX_THREADS : (int)max_threads);
    return err < 0 ? pyunw_strerror(err) : NULL;
}
