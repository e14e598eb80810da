/*
 * Complete the report of a crashed process.
 */
#include "crash_document.h"

#include "crash_diagnosis.h"
#include "dump_output.h"
#include "finish.h"
#include "json_text.h"
#include "process_figures.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add_note(json_t *document, json_t *note)
{
    (void)json_array_append_new(json_object_get(document, "notes"), note);
    (void)json_object_set_new(document, "status", json_string("partial"));
}

/* ---- The process, as a dump tells it ---- */

/* To be given back; NULL where memory is short. */
static json_t *dump_process(const struct snapshot *snapshot)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    dump_json_begin(out);
    dump_json_process(out, snapshot, true);
    dump_json_end(out);
    bool good = fclose(out) == 0;
    json_t *dump = good ? json_loadb(text, size, JSON_ALLOW_NUL, NULL) : NULL;
    free(text);
    json_t *process = json_incref(json_array_get(json_object_get(dump, "processes"), 0));
    json_decref(dump);
    return process;
}

static const json_t *crashed_of(const json_t *threads)
{
    size_t index;
    const json_t *thread;
    json_array_foreach(threads, index, thread)
    {
        if (json_is_true(json_object_get(thread, "crashed")))
            return thread;
    }
    return NULL;
}

static bool is_of_kind(const json_t *frame, const char *kind)
{
    return text_is(json_object_get(frame, "kind"), kind);
}

static bool has_python(const json_t *thread)
{
    size_t index;
    const json_t *frame;
    json_array_foreach(json_object_get(thread, "frames"), index, frame)
    {
        if (is_of_kind(frame, "python"))
            return true;
    }
    return false;
}

/* Frames that were merged with Python's come to stand beside them. */
static void set_native_apart(json_t *thread)
{
    size_t index;
    json_t *frame;
    json_t *native = json_array();
    json_array_foreach(json_object_get(thread, "frames"), index, frame)
    {
        if (is_of_kind(frame, "native"))
            (void)json_array_append(native, frame);
    }
    if (json_array_size(native) > 0 && json_is_null(json_object_get(thread, "native_frames")))
        (void)json_object_set(thread, "native_frames", native);
    json_decref(native);
}

/*
 * What the handler wrote of its own stack is older than what was read from outside, and made by the thread itself,
 * which finds its own thread state whatever became of the list of them: where that is whole and this is not, it is
 * taken.
 */
static void prefer_whole(json_t *thread, const json_t *recorded)
{
    static const char *const keys[] = {"thread_id", "interpreter_id"};
    bool is_complete = text_is(json_object_get(thread, "status"), "complete");
    bool none_but_recorded = !has_python(thread) && has_python(recorded);
    bool recorded_whole = text_is(json_object_get(recorded, "status"), "complete");
    if (!none_but_recorded && (is_complete || !recorded_whole))
        return;
    set_native_apart(thread);
    (void)json_object_set(thread, "frames", json_object_get(recorded, "frames"));
    (void)json_object_set(thread, "status", json_object_get(recorded, "status"));
    (void)json_object_set_new(thread, "unconfirmed", json_integer(0));
    for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++) {
        if (json_is_null(json_object_get(thread, keys[n])))
            (void)json_object_set(thread, keys[n], json_object_get(recorded, keys[n]));
    }
}

static void take_as_crashed(json_t *thread, json_t *recorded)
{
    /* It waits in its handler now; when the fault came, it ran. */
    if (!text_is(json_object_get(thread, "state"), "finalizing"))
        (void)json_object_set_new(thread, "state", json_string("running"));
    prefer_whole(thread, recorded);
}

/* Where the kernel's number of a thread is not to be had, the C library's tells that it is the one that crashed. */
static bool mark_by_thread_id(json_t *threads, json_t *recorded)
{
    const json_t *wanted = json_object_get(recorded, "thread_id");
    size_t index;
    json_t *thread;
    json_array_foreach(threads, index, thread)
    {
        if (!json_is_integer(wanted) || !json_equal(json_object_get(thread, "thread_id"), wanted))
            continue;
        (void)json_object_set_new(thread, "crashed", json_true());
        (void)json_object_set(thread, "native_id", json_object_get(recorded, "native_id"));
        take_as_crashed(thread, recorded);
        json_t *moved = json_incref(thread);
        (void)json_array_remove(threads, index);
        (void)json_array_insert_new(threads, 0, moved);
        return true;
    }
    return false;
}

/* A thread that is in several interpreters has a stack in each: the first is the innermost. */
static void mark_one(json_t *threads, json_t *recorded)
{
    size_t index;
    json_t *thread;
    bool found = false;
    json_array_foreach(threads, index, thread)
    {
        if (!json_is_true(json_object_get(thread, "crashed")))
            continue;
        if (found) {
            (void)json_object_set_new(thread, "crashed", json_false());
            continue;
        }
        found = true;
        take_as_crashed(thread, recorded);
    }
    if (!found && !mark_by_thread_id(threads, recorded) && recorded != NULL)
        (void)json_array_insert(threads, 0, recorded);
}

/* The thread that asked for a report of a process that goes on: without the frames of what makes it. */
static void leave_out_asking(json_t *thread, const char *key)
{
    json_t *frames = json_object_get(thread, key);
    size_t index;
    const json_t *frame;
    json_array_foreach(frames, index, frame)
    {
        if (!text_is(json_object_get(frame, "function"), "pyunw_crash_report_now"))
            continue;
        for (size_t n = 0; n <= index; n++)
            (void)json_array_remove(frames, 0);
        return;
    }
}

static void take_threads(json_t *document, const json_t *process, bool crashed)
{
    json_t *threads = json_incref(json_object_get(process, "threads"));
    json_t *recorded = (json_t *)(uintptr_t)crashed_of(json_object_get(document, "threads"));
    size_t index;
    json_t *thread;
    if (crashed)
        mark_one(threads, recorded);
    json_array_foreach(threads, index, thread)
    {
        if (crashed)
            break;
        (void)json_object_set_new(thread, "crashed", json_false());
        if (!json_equal(json_object_get(thread, "native_id"), json_object_get(document, "native_id")))
            continue;
        (void)json_object_set_new(thread, "state", json_string("running"));
        leave_out_asking(thread, "frames");
        leave_out_asking(thread, "native_frames");
    }
    (void)json_object_set_new(document, "threads", threads);
}

static void take_what_proc_tells(json_t *document, const json_t *process, bool with_command)
{
    static const char *const keys[] = {"ppid", "executable", "cgroup", "container_id", "uptime"};
    for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++)
        (void)json_object_set(document, keys[n], json_object_get(process, keys[n]));
    if (with_command)
        (void)json_object_set(document, "command", json_object_get(process, "command"));
}

static void take_process(json_t *document, json_t *process, const struct crash_snapshot *crash, bool with_command)
{
    take_what_proc_tells(document, process, with_command);
    if (crash->snapshot.version != 0)
        (void)json_object_set(document, "python", json_object_get(process, "python"));
    if (crash->is_finalizing >= 0)
        (void)json_object_set_new(document, "finalizing", json_boolean(crash->is_finalizing));
    take_threads(document, process,
                 crash->snapshot.crash.is_known && json_is_object(json_object_get(document, "signal")));
}

static void take_exception(json_t *document, const struct crash_snapshot *crash)
{
    const pyunw_exception_text *text = &crash->exception;
    if (crash->has_exception != 1)
        return;
    json_t *exception = json_pack("{s:s%, s:s%}", "type", text->type, (size_t)text->type_length, "message",
                                  text->message, (size_t)text->message_length);
    if (exception != NULL)
        (void)json_object_set_new(document, "exception", exception);
}

/* ---- What /proc and the files tell ---- */

static void take_working_directory(json_t *document, pid_t pid)
{
    char path[64];
    char target[PATH_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
    ssize_t length = readlink(path, target, sizeof target);
    json_t *text = length > 0 && length < (ssize_t)sizeof target ? json_stringn(target, (size_t)length) : NULL;
    if (text != NULL) /* else it is no UTF-8 */
        (void)json_object_set_new(document, "working_directory", text);
}

static json_t *build_id_of(const pyunw_native_module *module)
{
    char text[129] = "";
    for (uint32_t n = 0; n < module->build_id_size && 2 * n + 2 < sizeof text; n++)
        (void)snprintf(text + 2 * (size_t)n, 3, "%02x", module->build_id[n]);
    return module->build_id != NULL ? json_string(text) : json_null();
}

static void take_libraries(json_t *document, const struct crash_snapshot *crash)
{
    json_t *libraries = json_array();
    if (crash->modules == NULL)
        return json_decref(libraries);
    for (int n = 0; n < crash->module_count; n++) {
        const pyunw_native_module *module = &crash->modules[n];
        char begin[24];
        char end[24];
        json_t *path = json_string(module->path != NULL ? module->path : "");
        (void)snprintf(begin, sizeof begin, "0x%" PRIx64, module->begin);
        (void)snprintf(end, sizeof end, "0x%" PRIx64, module->end);
        (void)json_array_append_new(libraries,
                                    json_pack("{s:o, s:o, s:s, s:s}", "path", path != NULL ? path : json_string(""),
                                              "build_id", build_id_of(module), "begin", begin, "end", end));
    }
    (void)json_object_set_new(document, "libraries", libraries);
}

/* ---- What is missing ---- */

/* Those of threads that the kernel knows, which stand still. */
static void tell_native_stacks(json_t *document, const struct crash_snapshot *crash)
{
    const struct snapshot *snapshot = &crash->snapshot;
    const bool of_all = !crash->native_of_one;
    int missing = 0;
    int err = 0;
    for (size_t n = 0; snapshot->native != NULL && n < snapshot->thread_count; n++) {
        const struct thread *thread = &snapshot->threads[n];
        int unread = of_all && thread->task != NULL ? PYUNW_ERR_SYSTEM : 0;
        int error = thread->native != NULL ? thread->native->error : unread;
        missing += error < 0;
        err = error < 0 ? error : err;
    }
    if (missing > 0)
        add_note(document,
                 json_sprintf("The native stacks of %d threads could not be read: %s.", missing, pyunw_strerror(err)));
}

static void tell_what_is_missing(json_t *document, const struct crash_snapshot *crash)
{
    const struct snapshot *snapshot = &crash->snapshot;
    int err = crash->python_error;
    if (err < 0 && err != PYUNW_ERR_NO_PYTHON && err != PYUNW_ERR_NOT_INITIALIZED && err != PYUNW_ERR_FINALIZED)
        add_note(document, json_sprintf("The interpreter could not be read: %s.", pyunw_strerror(err)));
    if (snapshot->list_error < 0)
        add_note(document, json_sprintf("There may be more threads, the list of which could not be read: %s.",
                                        pyunw_strerror(snapshot->list_error)));
    if (crash->has_exception < 0)
        add_note(document, json_sprintf("Whether an exception was in flight could not be read: %s.",
                                        pyunw_strerror(crash->has_exception)));
    if (crash->why_native[0] != '\0')
        add_note(document, json_sprintf("There are no native stacks: %s.", crash->why_native));
    else
        tell_native_stacks(document, crash);
    if (snapshot->info.error != 0)
        add_note(
            document,
            json_sprintf("Of the process and its threads /proc could not be read whole: %s. What is missing is null.",
                         strerror(snapshot->info.error)));
}

/* The stack that a report is made for is said to be damaged where it is. */
static void tell_what_is_damaged(json_t *document)
{
    const json_t *first = json_array_get(json_object_get(document, "threads"), 0);
    const char *status = json_string_value(json_object_get(first, "status"));
    if (json_is_true(json_object_get(first, "crashed")) && status != NULL && strcmp(status, "complete") != 0)
        add_note(document,
                 json_sprintf("The Python stack of the thread that crashed could not be read to its end: it is %s.",
                              status));
}

/* Nothing is missing yet: what the handler could not tell by itself was to come from here. */
static void begin_complete(json_t *document)
{
    json_t *notes = json_object_get(document, "notes");
    (void)json_array_clear(notes);
    (void)json_object_set_new(document, "status", json_string("complete"));
}

static void take_figures(json_t *document, pid_t pid)
{
    take_working_directory(document, pid);
    (void)json_object_set_new(document, "limits", process_limits(pid));
    (void)json_object_set_new(document, "memory", process_memory(pid));
}

bool crash_document_complete(json_t *document, const struct crash_snapshot *crash, bool with_command)
{
    json_t *process = dump_process(&crash->snapshot);
    if (process == NULL)
        return false;
    begin_complete(document);
    take_process(document, process, crash, with_command);
    json_decref(process);
    take_exception(document, crash);
    take_libraries(document, crash);
    take_figures(document, crash->snapshot.info.pid);
    tell_what_is_missing(document, crash);
    tell_what_is_damaged(document);
    crash_diagnose(document, crash->maps, crash->abort_message);
    return true;
}

/* Beside the Python frames: nothing says how they lie among each other. */
static void take_native_stack(json_t *document, const struct crash_snapshot *crash)
{
    json_t *process = dump_process(&crash->snapshot);
    const json_t *native = json_array_get(json_object_get(process, "threads"), 0);
    json_t *crashed = json_array_get(json_object_get(document, "threads"), 0);
    json_t *frames = json_object_get(native, "native_frames");
    if (json_is_null(frames)) /* there are no others in this stack */
        frames = json_object_get(native, "frames");
    if (json_is_array(frames) && json_is_true(json_object_get(crashed, "crashed"))) {
        (void)json_object_set(crashed, "native_frames", frames);
        (void)json_object_set(crashed, "native_status", json_object_get(native, "native_status"));
    }
    if (crash->snapshot.version != 0)
        (void)json_object_set(document, "python", json_object_get(process, "python"));
    json_decref(process);
}

static void leave_out_note(json_t *document, const char *note)
{
    json_t *notes = json_object_get(document, "notes");
    for (size_t n = json_array_size(notes); n-- > 0;) {
        if (text_is(json_array_get(notes, n), note))
            (void)json_array_remove(notes, n);
    }
}

void crash_document_add(json_t *document, pid_t pid, const struct crash_snapshot *crash, bool with_command)
{
    struct snapshot snapshot = {0};
    bool good = process_info_read(pid, &snapshot.info);
    json_t *process = good ? dump_process(&snapshot) : NULL;
    if (process != NULL)
        take_what_proc_tells(document, process, with_command);
    json_decref(process);
    process_info_free(&snapshot.info);
    take_figures(document, pid);
    leave_out_note(document, REPORT_UNFINISHED);
    add_note(document,
             json_string("The process was not to be stopped and read by another: its Python stacks are those that "
                         "it read of itself, and of native stacks there is only that of the thread that crashed."));
    if (crash != NULL) {
        take_native_stack(document, crash);
        take_libraries(document, crash);
    }
    crash_diagnose(document, crash != NULL ? crash->maps : NULL, crash != NULL ? crash->abort_message : NULL);
}
