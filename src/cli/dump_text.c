/*
 * A dump for a person to read. Names come from a foreign process: whatever could move a cursor is escaped.
 */
#include "dump_output.h"

#include "control_group.h"
#include "native_stacks.h"
#include "page.h"
#include "signal_names.h"

#include <inttypes.h>
#include <string.h>

/* ---- The process ---- */

void format_version(uint32_t version, char text[VERSION_TEXT_SIZE])
{
    static const struct {
        uint32_t level;
        const char *word;
    } levels[] = {{0xa, "a"}, {0xb, "b"}, {0xc, "rc"}};
    uint32_t level = version >> 4 & 15u;
    int length = snprintf(text, VERSION_TEXT_SIZE, "%u.%u", version >> 24, version >> 16 & 255u);
    if (level == 0) /* of no version: only the minor is known */
        return;
    length += snprintf(text + length, VERSION_TEXT_SIZE - (size_t)length, ".%u", version >> 8 & 255u);
    for (size_t n = 0; n < sizeof levels / sizeof levels[0]; n++) {
        if (levels[n].level == level)
            (void)snprintf(text + length, VERSION_TEXT_SIZE - (size_t)length, "%s%u", levels[n].word, version & 15u);
    }
}

static void print_command(FILE *out, const struct process_info *info)
{
    const char *at = info->command;
    const char *end = at + info->command_size;
    while (at < end) {
        size_t length = strnlen(at, (size_t)(end - at));
        (void)fputc(' ', out);
        if (length == 0)
            (void)fputs("''", out);
        page_bytes(out, at, length);
        at += length + 1;
    }
}

/* Nothing for the root group, in which a process is that nobody has put elsewhere. */
static void print_control_group(FILE *out, const char *path)
{
    char id[CONTAINER_ID_SIZE];
    if (path == NULL || strcmp(path, "/") == 0)
        return;
    control_group_container(path, id);
    if (id[0] != '\0')
        (void)fprintf(out, "Container %s, control group ", id);
    else
        (void)fputs("Control group ", out);
    page_bytes(out, path, strlen(path));
    (void)fputc('\n', out);
}

static void print_signal(const struct page *page, const struct crash *crash)
{
    const char *name = signal_name(crash->signal);
    const char *code = crash->has_code ? signal_code_name(crash->signal, crash->code) : NULL;
    const char *words = crash->has_code ? signal_code_words(crash->signal, crash->code) : NULL;
    if (name != NULL)
        (void)fprintf(page->out, "Ended by %s", name);
    else
        (void)fprintf(page->out, "Ended by signal %d", crash->signal);
    if (code != NULL)
        (void)fprintf(page->out, " (%s%s%s)", code, words != NULL ? ", " : "", words != NULL ? words : "");
    else if (crash->has_code)
        (void)fprintf(page->out, " (code %d)", crash->code);
}

static bool has_crashed_thread(const struct snapshot *snapshot)
{
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        if (is_crashed(snapshot, &snapshot->threads[n]))
            return true;
    }
    return false;
}

/* "Ended by SIGSEGV (SEGV_MAPERR, nothing is mapped there) at 0x0, in thread 1234" */
static void print_crash(const struct page *page, const struct snapshot *snapshot)
{
    const struct crash *crash = &snapshot->crash;
    if (crash->signal == 0) {
        (void)fputs(crash->has_threads ? "No signal ended it: the core was made while it ran\n"
                                       : "What ended it is not known: the core file tells of no thread\n",
                    page->out);
        return;
    }
    page_begin_style(page, STYLE_WARNING);
    print_signal(page, crash);
    if (crash->has_address)
        (void)fprintf(page->out, " at 0x%" PRIx64, (uint64_t)crash->address);
    (void)fprintf(page->out, ", in thread %d%s", (int)crash->thread,
                  has_crashed_thread(snapshot) ? "" : ", which runs no Python");
    page_end_style(page);
    (void)fputc('\n', page->out);
}

static void print_process(const struct page *page, const struct snapshot *snapshot)
{
    char version[VERSION_TEXT_SIZE];
    const struct process_info *info = &snapshot->info;
    format_version(snapshot->version, version);
    page_begin_style(page, STYLE_PROCESS);
    if (info->pid > 0)
        (void)fprintf(page->out, "Process %d:", (int)info->pid);
    else
        (void)fputs("Process, its number unknown:", page->out);
    print_command(page->out, info);
    page_end_style(page);
    (void)fprintf(page->out, "\nCPython %s%s, ", version, snapshot->free_threaded ? " (free-threaded)" : "");
    if (info->executable != NULL)
        page_bytes(page->out, info->executable, strlen(info->executable));
    else
        (void)fputs("executable unknown", page->out);
    if (info->uptime >= 0) {
        (void)fputs(", up ", page->out);
        page_uptime(page->out, info->uptime);
    }
    (void)fputc('\n', page->out);
    print_control_group(page->out, info->control_group);
    if (snapshot->crash.is_known)
        print_crash(page, snapshot);
}

/* ---- Threads ---- */

/* NULL where nothing is said of it: a core file does not tell whether a thread ran. */
static const char *state_words(const struct snapshot *snapshot, const struct thread *thread)
{
    if (is_crashed(snapshot, thread))
        return "crashed";
    if (waits_for_gil(thread))
        return "waiting for the GIL";
    if (snapshot->crash.is_known)
        return NULL;
    if (thread->task == NULL)
        return "state unknown";
    return is_running(thread->task) ? "running" : "idle";
}

/* One more of what is said behind a thread's name. */
static void print_trait(const struct page *page, const char *trait, bool *first)
{
    if (trait == NULL)
        return;
    (void)fprintf(page->out, "%s%s", *first ? ": " : ", ", trait);
    *first = false;
}

static void print_thread_head(const struct page *page, const struct snapshot *snapshot, const struct thread *thread)
{
    uint32_t flags = thread->python.flags;
    const struct task *task = thread->task;
    bool holds_gil = (flags & PYUNW_THREAD_HOLDS_GIL) != 0;
    page_begin_style(page, STYLE_THREAD);
    if (task != NULL) {
        (void)fprintf(page->out, "Thread %d", (int)task->id);
        if (task->name_length > 0) {
            (void)fputs(" \"", page->out);
            page_bytes(page->out, task->name, task->name_length);
            (void)fputc('"', page->out);
        }
    } else {
        (void)fputs("Thread", page->out);
    }
    if (thread->is_python)
        (void)fprintf(page->out, " 0x%016" PRIx64, thread->python.thread_id);
    page_end_style(page);
    bool first = true;
    print_trait(page, state_words(snapshot, thread), &first);
    print_trait(page, thread->is_python ? NULL : "not Python's", &first);
    print_trait(page, (flags & PYUNW_THREAD_FINALIZING) != 0 ? "finalizing" : NULL, &first);
    print_trait(page, holds_gil ? "holds the GIL" : NULL, &first);
    /* Without the GIL nothing says which thread collects. */
    print_trait(page, holds_gil && (flags & PYUNW_THREAD_COLLECTING) != 0 ? "collecting garbage" : NULL, &first);
    if (thread->python.interpreter_id != 0)
        (void)fprintf(page->out, "%sinterpreter %" PRId64, first ? ": " : ", ", thread->python.interpreter_id);
    (void)fputc('\n', page->out);
}

static struct line_text line_text(const struct text *text)
{
    return (struct line_text){text->bytes, text->length, text->cut};
}

static struct line_text line_string(const char *string)
{
    return (struct line_text){string, string != NULL ? strlen(string) : 0, false};
}

static void print_frame(const struct page *page, const struct frame *frame)
{
    const struct frame_line line = {
        .function = line_text(frame->qualname.bytes != NULL ? &frame->qualname : &frame->name),
        .filename = line_text(&frame->filename),
        .lineno = frame->position.lineno,
    };
    page_python_frame(page, &line);
}

static void print_native_frame(const struct page *page, const pyunw_native_frame *frame)
{
    const struct frame_line line = {
        .function = line_string(frame->function),
        .filename = line_string(frame->filename),
        .module = line_string(frame->module),
        .lineno = frame->lineno,
        .module_offset = frame->module_offset,
        .address = frame->address,
    };
    page_native_frame(page, &line);
}

static void print_locals(const struct page *page, const struct frame_locals *locals)
{
    for (int n = 0; n < locals->count; n++) {
        const struct local *local = &locals->list[n];
        (void)fputs("        ", page->out);
        page_bytes(page->out, local->name != NULL ? local->name : "???", local->name != NULL ? local->name_length : 3);
        (void)fputs(" = ", page->out);
        const char *value = local->value != NULL ? local->value : "<unreadable>";
        page_bytes(page->out, value, strlen(value));
        (void)fputc('\n', page->out);
    }
    if (locals->wanted && !locals->known)
        page_note(page, "    its locals could not be read");
    else if (locals->wanted && !locals->confirmed)
        page_note(page, "    unconfirmed: the frame moved on while its locals were read");
    else if (locals->cut)
        page_note(page, "    and more, which could not be read");
}

static void print_python_frame(const struct page *page, const struct frame *frame)
{
    print_frame(page, frame);
    print_locals(page, &frame->locals);
}

static void print_frames(const struct page *page, const struct thread *thread)
{
    const struct native_stack *native = thread->native;
    if (native == NULL || native->rows == NULL) {
        for (int n = 0; n < thread->frame_count; n++)
            print_python_frame(page, &thread->frames[n]);
        return;
    }
    for (int n = 0; n < native->row_count; n++) {
        if (native->rows[n].native >= 0)
            print_native_frame(page, &native->frames[native->rows[n].native]);
        else
            print_python_frame(page, &thread->frames[native->rows[n].python]);
    }
}

/* What the Python stack does not say: native frames of their own where they were not merged, and how they end. */
static void print_native_end(const struct page *page, const struct native_stack *native)
{
    char note[160];
    if (native->error < 0) {
        (void)snprintf(note, sizeof note, "the native stack could not be read: %s", pyunw_strerror(native->error));
        page_note(page, note);
        return;
    }
    if (native->rows == NULL) {
        page_note(page, "native and Python frames could not be aligned; the native ones:");
        for (int n = 0; n < native->frame_count; n++)
            print_native_frame(page, &native->frames[n]);
    }
    if (native->end == PYUNW_NATIVE_CUT)
        page_note(page, "the native stack is cut: nothing tells who called the last native frame");
    if (native->end == PYUNW_NATIVE_TRUNCATED)
        page_note(page, "the native stack is truncated: more frames than fit");
}

/* What is missing is said where it is missing: innermost frames before the first, the rest behind the last. */
static void print_stack(const struct page *page, const struct thread *thread)
{
    const pyunw_status *status = &thread->status;
    char note[160];
    if (thread->error < 0) {
        (void)snprintf(note, sizeof note, "the stack could not be read: %s", pyunw_strerror(thread->error));
        page_note(page, note);
        return;
    }
    if (status->unconfirmed > 0) {
        (void)snprintf(note, sizeof note, "%d innermost frame%s came or went while it was read",
                       (int)status->unconfirmed, status->unconfirmed == 1 ? "" : "s");
        page_note(page, note);
    }
    print_frames(page, thread);
    switch ((enum pyunw_end)status->end) {
    case PYUNW_COMPLETE:
    case PYUNW_NO_FRAME:
        if (thread->frame_count == 0 && thread->is_python)
            page_note(page, "no Python frame");
        break;
    case PYUNW_TRUNCATED:
        page_note(page, "truncated: more frames than fit");
        break;
    case PYUNW_TORN:
        page_note(page, "torn: it ran on faster than it could be read");
        break;
    case PYUNW_CORRUPT:
        (void)snprintf(note, sizeof note, "corrupt: nothing to be believed at 0x%" PRIx64, (uint64_t)status->address);
        page_note(page, note);
        break;
    }
}

void dump_text_process(FILE *out, const struct snapshot *snapshot, bool first, bool coloured)
{
    struct page page = {out, coloured};
    if (!first)
        (void)fputc('\n', out);
    print_process(&page, snapshot);
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        (void)fputc('\n', out);
        print_thread_head(&page, snapshot, &snapshot->threads[n]);
        print_stack(&page, &snapshot->threads[n]);
        if (snapshot->threads[n].native != NULL)
            print_native_end(&page, snapshot->threads[n].native);
    }
    if (snapshot->thread_count == 0)
        page_note(&page, "no Python thread");
}
