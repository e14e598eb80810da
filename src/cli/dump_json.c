/*
 * A dump as one JSON document (docs/dump.md). Unknown is null. Whatever the names contain, it is valid JSON in valid
 * UTF-8: a byte that is not UTF-8 is written as Python decodes it, as the six characters \udcXX.
 */
#include "dump_output.h"

#include "control_group.h"
#include "native_stacks.h"
#include "page.h"
#include "signal_names.h"

#include <inttypes.h>
#include <string.h>

/* ---- Values ---- */

static void write_bytes(FILE *out, const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    (void)fputc('"', out);
    for (size_t n = 0; n < size;) {
        size_t length = utf8_length(bytes + n, size - n);
        if (length == 0) {
            (void)fprintf(out, "\\\\udc%02x", bytes[n]);
            n++;
            continue;
        }
        if (bytes[n] < 0x20)
            (void)fprintf(out, "\\u%04x", bytes[n]);
        else if (bytes[n] == '"' || bytes[n] == '\\')
            (void)fprintf(out, "\\%c", bytes[n]);
        else
            (void)fwrite(bytes + n, 1, length, out);
        n += length;
    }
    (void)fputc('"', out);
}

static void write_string(FILE *out, const char *text)
{
    if (text == NULL)
        (void)fputs("null", out);
    else
        write_bytes(out, text, strlen(text));
}

/* A name that is not known whole is not known. */
static void write_text(FILE *out, const struct text *text)
{
    if (text->bytes == NULL || text->cut)
        (void)fputs("null", out);
    else
        write_bytes(out, text->bytes, text->length);
}

static void write_number(FILE *out, const char *key, int64_t value, bool known)
{
    (void)fprintf(out, known ? "%s%" PRId64 : "%snull", key, value);
}

static void write_truth(FILE *out, const char *key, bool value, bool known)
{
    (void)fprintf(out, "%s%s", key, !known ? "null" : value ? "true" : "false");
}

/* ---- Objects ---- */

static const char *locals_status_name(const struct frame_locals *locals)
{
    if (!locals->known)
        return "unreadable";
    if (!locals->confirmed)
        return "unconfirmed";
    return locals->cut ? "truncated" : "complete";
}

static void write_locals(FILE *out, const struct frame_locals *locals)
{
    (void)fputs(locals->known ? ",\"locals\":[" : ",\"locals\":null", out);
    for (int n = 0; n < locals->count; n++) {
        const struct local *local = &locals->list[n];
        (void)fputs(n > 0 ? ",\n       {\"name\":" : "\n       {\"name\":", out);
        if (local->name != NULL)
            write_bytes(out, local->name, local->name_length);
        else
            (void)fputs("null", out);
        write_truth(out, ",\"argument\":", local->argument, true);
        (void)fputs(",\"value\":", out);
        write_string(out, local->value);
        (void)fputc('}', out);
    }
    (void)fputs(locals->known ? "]" : "", out);
    (void)fprintf(out, ",\"locals_status\":\"%s\"", locals_status_name(locals));
}

static void write_frame(FILE *out, const struct frame *frame)
{
    const pyunw_position *position = &frame->position;
    (void)fputs("{\"kind\":\"python\",\"name\":", out);
    write_text(out, &frame->name);
    (void)fputs(",\"qualname\":", out);
    write_text(out, &frame->qualname);
    (void)fputs(",\"filename\":", out);
    write_text(out, &frame->filename);
    write_number(out, ",\"lineno\":", position->lineno, position->lineno >= 0);
    write_number(out, ",\"end_lineno\":", position->end_lineno, position->end_lineno >= 0);
    write_number(out, ",\"colno\":", position->colno, position->colno >= 0);
    write_number(out, ",\"end_colno\":", position->end_colno, position->end_colno >= 0);
    if (frame->locals.wanted)
        write_locals(out, &frame->locals);
    (void)fputc('}', out);
}

static void write_address(FILE *out, const char *key, pyunw_addr address, bool known)
{
    (void)fprintf(out, known ? "%s\"0x%" PRIx64 "\"" : "%snull", key, (uint64_t)address);
}

static void write_native_frame(FILE *out, const pyunw_native_frame *frame)
{
    (void)fputs("{\"kind\":\"native\",\"function\":", out);
    write_string(out, frame->function);
    (void)fputs(",\"filename\":", out);
    write_string(out, frame->filename);
    write_number(out, ",\"lineno\":", frame->lineno, frame->lineno >= 0);
    (void)fputs(",\"module\":", out);
    write_string(out, frame->module);
    (void)fputs(frame->build_id != NULL ? ",\"build_id\":\"" : ",\"build_id\":null", out);
    for (uint32_t n = 0; frame->build_id != NULL && n < frame->build_id_size; n++)
        (void)fprintf(out, "%02x", frame->build_id[n]);
    write_address(out, frame->build_id != NULL ? "\",\"address\":" : ",\"address\":", frame->address, true);
    write_address(out, ",\"module_offset\":", frame->module_offset, frame->module != NULL);
    (void)fputc('}', out);
}

/* Merged where they could be, else Python's alone. */
static void write_frames(FILE *out, const struct thread *thread)
{
    const struct native_stack *native = thread->native;
    bool merged = native != NULL && native->rows != NULL;
    int count = merged ? native->row_count : thread->frame_count;
    for (int n = 0; n < count; n++) {
        (void)fputs(n > 0 ? ",\n      " : "\n      ", out);
        if (merged && native->rows[n].native >= 0)
            write_native_frame(out, &native->frames[native->rows[n].native]);
        else
            write_frame(out, &thread->frames[merged ? native->rows[n].python : n]);
    }
}

static void write_native_stack(FILE *out, const struct native_stack *native)
{
    static const char *const ends[] = {"complete", "truncated", "cut"};
    bool known = native != NULL && native->error == 0;
    (void)fputs(",\"native_status\":", out);
    write_string(out, known ? ends[native->end] : NULL);
    (void)fputs(",\"native_frames\":", out);
    if (!known || native->rows != NULL) {
        (void)fputs("null", out);
        return;
    }
    (void)fputc('[', out);
    for (int n = 0; n < native->frame_count; n++) {
        (void)fputs(n > 0 ? ",\n      " : "\n      ", out);
        write_native_frame(out, &native->frames[n]);
    }
    (void)fputc(']', out);
}

static const char *state_name(const struct thread *thread)
{
    if ((thread->python.flags & PYUNW_THREAD_FINALIZING) != 0)
        return "finalizing";
    if (waits_for_gil(thread))
        return "waiting_for_gil";
    if (thread->task == NULL || thread->task->state == '\0')
        return NULL;
    return is_running(thread->task) ? "running" : "idle";
}

static const char *status_name(const struct thread *thread)
{
    /* No frame is a whole stack of none; none that could be read is not. */
    if (thread->error < 0)
        return pyunw_end_name(PYUNW_CORRUPT);
    return pyunw_end_name(thread->status.end == PYUNW_NO_FRAME ? PYUNW_COMPLETE : thread->status.end);
}

static void write_thread(FILE *out, const struct snapshot *snapshot, const struct thread *thread)
{
    const struct task *task = thread->task;
    bool holds_gil = (thread->python.flags & PYUNW_THREAD_HOLDS_GIL) != 0;
    write_number(out, "{\"thread_id\":", (int64_t)thread->python.thread_id, thread->python.thread_id != 0);
    write_number(out, ",\"native_id\":", task != NULL ? task->id : 0, task != NULL);
    write_number(out, ",\"interpreter_id\":", thread->python.interpreter_id, thread->is_python);
    (void)fputs(",\"name\":", out);
    if (task != NULL && task->name_length > 0)
        write_bytes(out, task->name, task->name_length);
    else
        (void)fputs("null", out);
    (void)fputs(",\"state\":", out);
    write_string(out, state_name(thread));
    if (snapshot->crash.is_known)
        write_truth(out, ",\"crashed\":", is_crashed(snapshot, thread), true);
    write_truth(out, ",\"holds_gil\":", holds_gil, true);
    /* Without the GIL nothing says which thread collects. */
    write_truth(out, ",\"collecting_garbage\":", (thread->python.flags & PYUNW_THREAD_COLLECTING) != 0,
                !snapshot->free_threaded || holds_gil);
    (void)fputs(",\"frames\":[", out);
    write_frames(out, thread);
    (void)fprintf(out, "],\"unconfirmed\":%d,\"status\":\"%s\"", (int)thread->status.unconfirmed, status_name(thread));
    write_native_stack(out, thread->native);
    (void)fputc('}', out);
}

static void write_command(FILE *out, const struct process_info *info)
{
    const char *at = info->command;
    const char *end = at + info->command_size;
    (void)fputs(",\"command\":[", out);
    for (bool first = true; at < end; first = false) {
        size_t length = strnlen(at, (size_t)(end - at));
        if (!first)
            (void)fputc(',', out);
        write_bytes(out, at, length);
        at += length + 1;
    }
    (void)fputc(']', out);
}

static void write_control_group(FILE *out, const char *path)
{
    char id[CONTAINER_ID_SIZE];
    control_group_container(path != NULL ? path : "", id);
    (void)fputs(",\"cgroup\":", out);
    write_string(out, path);
    (void)fputs(",\"container_id\":", out);
    write_string(out, id[0] != '\0' ? id : NULL);
}

/* Of a core file; null: no signal ended the process. */
static void write_signal(FILE *out, const struct crash *crash)
{
    (void)fputs(",\"signal\":", out);
    if (crash->signal == 0) {
        (void)fputs("null", out);
        return;
    }
    (void)fprintf(out, "{\"number\":%d,\"name\":", crash->signal);
    write_string(out, signal_name(crash->signal));
    write_number(out, ",\"code\":", crash->code, crash->has_code);
    (void)fputs(",\"code_name\":", out);
    write_string(out, crash->has_code ? signal_code_name(crash->signal, crash->code) : NULL);
    (void)fprintf(out, crash->has_address ? ",\"address\":\"0x%" PRIx64 "\"}" : ",\"address\":null}",
                  (uint64_t)crash->address);
}

void dump_json_process(FILE *out, const struct snapshot *snapshot, bool first)
{
    char version[VERSION_TEXT_SIZE];
    const struct process_info *info = &snapshot->info;
    format_version(snapshot->version, version);
    (void)fputs(first ? "\n  " : ",\n  ", out);
    write_number(out, "{\"pid\":", info->pid, info->pid > 0);
    /* A core file that does not tell it has 0, too. */
    write_number(out, ",\"ppid\":", info->parent, info->parent > 0 || !snapshot->crash.is_known);
    write_command(out, info);
    (void)fputs(",\"executable\":", out);
    write_string(out, info->executable);
    write_control_group(out, info->control_group);
    (void)fprintf(out, info->uptime >= 0 ? ",\"uptime\":%.2f" : ",\"uptime\":null", info->uptime);
    if (snapshot->crash.is_known)
        write_signal(out, &snapshot->crash);
    (void)fprintf(out, ",\"python\":{\"version\":\"%s\",\"free_threaded\":%s}", version,
                  snapshot->free_threaded ? "true" : "false");
    (void)fputs(",\"threads\":[", out);
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        (void)fputs(n > 0 ? ",\n    " : "\n    ", out);
        write_thread(out, snapshot, &snapshot->threads[n]);
    }
    (void)fputs("]}", out);
}

void dump_json_begin(FILE *out)
{
    (void)fputs("{\"schema\":\"pyunwind.dump/1\",\"processes\":[", out);
}

void dump_json_end(FILE *out)
{
    (void)fputs("]}\n", out);
}
