/*
 * Read one process: what /proc says, its thread states, and the stack of each.
 */
#include "snapshot.h"

#include "native_ids.h"
#include "native_stacks.h"

#include <errno.h>
#include <pyunwind_remote.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Texts ---- */

static struct text copy_text(const char *bytes, size_t length, bool cut)
{
    struct text text = {.bytes = malloc(length + 1), .length = length, .cut = cut};
    if (text.bytes != NULL) {
        memcpy(text.bytes, bytes, length);
        text.bytes[length] = '\0';
    }
    return text;
}

static bool is_whole(const pyunw_text *text)
{
    return text->data != NULL && text->length == text->whole;
}

/* Make room in each text for all that it was found to be. */
static void make_room(pyunw_text *text)
{
    static const size_t long_text = (size_t)1 << 22;
    if (text->whole >= long_text)
        return;
    text->size = text->whole + 1;
    text->data = malloc(text->size);
}

/*
 * A text that did not fit into pyunw_frame is described again into room enough. The thread runs on, so that what is
 * there now is believed only where it agrees with what the capture confirmed: the end of a file name, the beginning of
 * the others.
 */
static void complete_text(struct text *text, const pyunw_text *whole, bool keeps_end)
{
    if (!text->cut || text->bytes == NULL || !is_whole(whole) || whole->length < text->length)
        return;
    const char *same = keeps_end ? whole->data + (whole->length - text->length) : whole->data;
    if (memcmp(same, text->bytes, text->length) != 0)
        return;
    struct text complete = copy_text(whole->data, whole->length, false);
    if (complete.bytes != NULL) {
        free(text->bytes);
        *text = complete;
    }
}

static void complete_frame(const pyunw_target *target, const pyunw_raw_frame *raw, struct frame *frame)
{
    pyunw_description description = {0};
    pyunw_text *texts[] = {&description.filename, &description.name, &description.qualname};
    if (pyunw_describe_into(target, raw, &description) < 0)
        return;
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++)
        make_room(texts[n]);
    if (pyunw_describe_into(target, raw, &description) == 0) {
        complete_text(&frame->filename, &description.filename, true);
        complete_text(&frame->name, &description.name, false);
        complete_text(&frame->qualname, &description.qualname, false);
    }
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++)
        free(texts[n]->data);
}

/* ---- Frames ---- */

static void take_frame(const pyunw_target *target, const pyunw_frame *captured, struct frame *frame)
{
    enum { CUT = PYUNW_FILENAME_TRUNCATED | PYUNW_NAME_TRUNCATED | PYUNW_QUALNAME_TRUNCATED };
    uint32_t flags = captured->flags;
    *frame = (struct frame){.position = captured->position, .raw = captured->raw};
    if ((flags & PYUNW_FILENAME_UNREADABLE) == 0)
        frame->filename =
            copy_text(captured->filename, captured->filename_length, (flags & PYUNW_FILENAME_TRUNCATED) != 0);
    if ((flags & PYUNW_NAME_UNREADABLE) == 0)
        frame->name = copy_text(captured->name, captured->name_length, (flags & PYUNW_NAME_TRUNCATED) != 0);
    if ((flags & (PYUNW_QUALNAME_UNREADABLE | PYUNW_QUALNAME_IS_NAME)) == 0)
        frame->qualname =
            copy_text(captured->qualname, captured->qualname_length, (flags & PYUNW_QUALNAME_TRUNCATED) != 0);
    if ((flags & CUT) != 0)
        complete_frame(target, &captured->raw, frame);
}

/* Room for a capture, kept from thread to thread and grown to the deepest stack. */
struct capture_room {
    pyunw_frame *frames;
    int max;
    long patience; /* microseconds that may still be waited in all, for threads that cannot be told yet */
};

enum { ROOM_BEGIN = 64, ROOM_MAX = 1 << 16, PATIENCE = 200000 };

static bool grow_room(struct capture_room *room)
{
    int max = room->max == 0 ? ROOM_BEGIN : room->max * 4;
    pyunw_frame *frames = max <= ROOM_MAX ? realloc(room->frames, (size_t)max * sizeof *frames) : NULL;
    if (frames == NULL)
        return false;
    room->frames = frames;
    room->max = max;
    return true;
}

/*
 * A thread that stands where its stack cannot be told, since others have the processor, or since it is just being made,
 * has to move on first: longer each time.
 */
static void wait_for_thread(struct capture_room *room, int tries)
{
    long microseconds = 200L << tries;
    if (microseconds > room->patience)
        return;
    room->patience -= microseconds;
    const struct timespec moment = {0, 1000 * microseconds};
    (void)nanosleep(&moment, NULL);
}

/* Is it still a thread? What could not be read of one that has ended, or of an interpreter that has, is nothing. */
static bool is_there(const pyunw_target *target, pyunw_addr tstate)
{
    int found = pyunw_thread_find(target, tstate, NULL);
    return found != PYUNW_ERR_NO_THREAD && found != PYUNW_ERR_FINALIZED && found != PYUNW_ERR_NOT_INITIALIZED;
}

/* Whole if it can be: with more room where that was too small, and again where the thread ran on under the reading. */
static int capture(const pyunw_target *target, pyunw_addr tstate, struct capture_room *room, pyunw_status *status)
{
    enum { TRIES = 8 };
    int count = 0;
    for (int n = 0; n < TRIES;) {
        count = pyunw_capture(target, tstate, room->frames, room->max, status);
        /* One that is just being made, or taken down, cannot be told yet, or any more. */
        if (count < 0 && room->patience > 0 && is_there(target, tstate)) {
            wait_for_thread(room, n++);
            continue;
        }
        if (count < 0 || (status->end != PYUNW_TRUNCATED && status->end != PYUNW_TORN && status->end != PYUNW_CORRUPT))
            return count;
        if (status->end == PYUNW_TRUNCATED && grow_room(room))
            continue;
        if (status->end != PYUNW_TRUNCATED)
            wait_for_thread(room, n);
        n++;
    }
    return count;
}

static void take_stack(const pyunw_target *target, struct thread *thread, struct capture_room *room, bool with_locals)
{
    int count = capture(target, thread->python.tstate, room, &thread->status);
    thread->error = count < 0 ? count : 0;
    if (count <= 0)
        return;
    thread->frames = calloc((size_t)count, sizeof *thread->frames);
    if (thread->frames == NULL) {
        thread->error = PYUNW_ERR_SYSTEM;
        return;
    }
    thread->frame_count = count;
    for (int n = 0; n < count; n++)
        take_frame(target, &room->frames[n], &thread->frames[n]);
    for (int n = 0; with_locals && n < count; n++)
        frame_locals_read(target, &room->frames[n].raw, &thread->frames[n].locals);
}

/* ---- Threads ---- */

static void free_frame(struct frame *frame)
{
    free(frame->filename.bytes);
    free(frame->name.bytes);
    free(frame->qualname.bytes);
    frame_locals_free(&frame->locals);
}

static void free_thread(struct thread *thread)
{
    for (int n = 0; n < thread->frame_count; n++)
        free_frame(&thread->frames[n]);
    free(thread->frames);
    native_stack_free(thread->native);
}

static bool add_thread(struct snapshot *snapshot, size_t *room, const struct thread *thread)
{
    if (snapshot->thread_count == *room) {
        size_t more = *room == 0 ? 16 : *room * 2;
        struct thread *grown = realloc(snapshot->threads, more * sizeof *grown);
        if (grown == NULL)
            return false;
        snapshot->threads = grown;
        *room = more;
    }
    snapshot->threads[snapshot->thread_count++] = *thread;
    return true;
}

int snapshot_read_threads(const pyunw_target *target, bool stands, struct snapshot *snapshot)
{
    pyunw_thread_cursor cursor;
    struct capture_room room = {.patience = stands ? 0 : PATIENCE};
    size_t threads_room = 0;
    int result = grow_room(&room) ? pyunw_threads_begin(target, &cursor) : PYUNW_ERR_SYSTEM;
    while (result >= 0) {
        struct thread thread = {.is_python = true};
        result = pyunw_threads_next(&cursor, &thread.python);
        if (result != 1)
            break;
        take_stack(target, &thread, &room, snapshot->with_locals);
        /* A thread that ended before its stack was read is no thread any more. */
        bool ended = thread.error < 0 && !is_there(target, thread.python.tstate);
        bool added = !ended && add_thread(snapshot, &threads_room, &thread);
        if (!added)
            free_thread(&thread);
        if (!added && !ended)
            result = PYUNW_ERR_SYSTEM;
    }
    free(room.frames);
    return result < 0 ? result : 0;
}

/* ---- The process ---- */

static bool say(char *message, size_t size, pid_t pid, const char *what)
{
    (void)snprintf(message, size, "process %d %s", (int)pid, what);
    return false;
}

static bool say_unread(struct snapshot *snapshot, int error, char *message, size_t size)
{
    snapshot->error = PYUNW_ERR_SYSTEM;
    (void)snprintf(message, size, "what /proc tells of process %d could not be read: %s", (int)snapshot->info.pid,
                   strerror(error));
    return false;
}

static bool has_threads(const struct snapshot *snapshot, char *message, size_t size)
{
    if (snapshot->list_error == 0 || snapshot->thread_count > 0)
        return true;
    (void)snprintf(message, size, "the threads of process %d could not be read: %s", (int)snapshot->info.pid,
                   pyunw_strerror(snapshot->list_error));
    return false;
}

static int read_native(const struct standing *standing, const pyunw_target *target, struct snapshot *snapshot,
                       char *message, size_t message_size)
{
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = message_size};
    int err = pyunw_native_open(&snapshot->native, standing->pause, &options);
    if (err == 0)
        err = native_stacks_read(target, snapshot);
    if (err < 0 && message[0] == '\0')
        (void)snprintf(message, message_size, "process %d: %s", (int)snapshot->info.pid, pyunw_strerror(err));
    return err;
}

/* Once. What /proc says comes first: all the rest is to be of the program that it is of. */
static bool read_once(pid_t pid, const struct standing *standing, struct snapshot *snapshot, char *message,
                      size_t message_size)
{
    pyunw_target target;
    pyunw_target_info about;
    static char room[1 << 21]; /* for the pages that are read of the process */
    pyunw_options options = {.size = sizeof options,
                             .message = message,
                             .message_size = message_size,
                             .room = room,
                             .room_size = sizeof room};
    bool stands = standing->pause != NULL;
    message[0] = '\0';
    bool alive = process_info_read(pid, &snapshot->info);
    if (!alive && !has_ended_by(snapshot->info.error))
        return say_unread(snapshot, snapshot->info.error, message, message_size);
    int err = stands ? pyunw_open_paused(&target, standing->pause, &options) : pyunw_open_pid(&target, pid, &options);
    snapshot->error = err;
    if (err < 0 && message[0] == '\0')
        (void)snprintf(message, message_size, "%s", pyunw_strerror(err));
    if (err < 0)
        return false;
    (void)pyunw_target_describe(&target, &about);
    snapshot->version = about.version;
    snapshot->free_threaded = about.free_threaded;
    if (alive)
        standing_tell_states(standing, &snapshot->info);
    if (alive) {
        snapshot->list_error = snapshot_read_threads(&target, stands, snapshot);
        native_ids_match(snapshot);
        if (stands && standing->native)
            snapshot->native_error = read_native(standing, &target, snapshot, message, message_size);
    }
    pyunw_close(&target);
    return snapshot->error >= 0 && has_threads(snapshot, message, message_size);
}

/*
 * A process that replaces its program has other memory from then on, and what was read before does not belong to what
 * was read after: it is read again.
 */
bool snapshot_read(pid_t pid, const struct standing *standing, bool with_locals, struct snapshot *snapshot,
                   char *message, size_t message_size)
{
    enum { TRIES = 4 };
    for (int n = 0; n < TRIES; n++) {
        *snapshot = (struct snapshot){.with_locals = with_locals};
        bool good = read_once(pid, standing, snapshot, message, message_size);
        bool opened = snapshot->version != 0;
        if (!good && snapshot->error == PYUNW_ERR_SYSTEM)
            return false;
        enum process_fate fate = process_info_fate(&snapshot->info);
        if (fate == PROCESS_GOES_ON && good && snapshot->info.error != 0)
            return say_unread(snapshot, snapshot->info.error, message, message_size);
        if (fate == PROCESS_UNKNOWN && good)
            return say_unread(snapshot, errno, message, message_size);
        if (fate == PROCESS_ENDED && opened) {
            snapshot->error = PYUNW_ERR_NO_PROCESS;
            return say(message, message_size, pid, "ended while it was read");
        }
        if (fate != PROCESS_REPLACED_PROGRAM)
            return good;
        snapshot_free(snapshot);
    }
    snapshot->error = PYUNW_ERR_TORN;
    return say(message, message_size, pid, "replaced its program each time it was read: try again in a moment");
}

void snapshot_put_crashed_first(struct snapshot *snapshot)
{
    size_t first = 0;
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        struct thread thread = snapshot->threads[n];
        if (!is_crashed(snapshot, &thread))
            continue;
        memmove(&snapshot->threads[first + 1], &snapshot->threads[first], (n - first) * sizeof thread);
        snapshot->threads[first++] = thread;
    }
}

void snapshot_free(struct snapshot *snapshot)
{
    for (size_t n = 0; n < snapshot->thread_count; n++)
        free_thread(&snapshot->threads[n]);
    free(snapshot->threads);
    pyunw_native_close(snapshot->native);
    process_info_free(&snapshot->info);
    *snapshot = (struct snapshot){0};
}
