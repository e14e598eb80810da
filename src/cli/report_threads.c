/*
 * The threads of a report. Of a thousand workers most wait at the same place: those are one paragraph.
 */
#include "report_threads.h"

#include "report_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows ---- */

/* "0x7f12"; 0 where it is none. */
static uint64_t address_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? strtoull(text, NULL, 16) : 0;
}

static int64_t line_of(const json_t *frame)
{
    int64_t line;
    return report_number(frame, "lineno", &line) ? line : -1;
}

static void print_locals(const struct page *page, const json_t *frame)
{
    size_t index;
    const json_t *local;
    json_array_foreach(json_object_get(frame, "locals"), index, local)
    {
        struct line_text name = report_text(local, "name");
        struct line_text value = report_text(local, "value");
        (void)fputs("        ", page->out);
        page_bytes(page->out, name.bytes != NULL ? name.bytes : "???", name.bytes != NULL ? name.length : 3);
        (void)fputs(" = ", page->out);
        if (value.bytes != NULL)
            page_bytes(page->out, value.bytes, value.length);
        else
            (void)fputs("<unreadable>", page->out);
        (void)fputc('\n', page->out);
    }
    if (report_text_is(frame, "locals_status", "unreadable"))
        page_note(page, "    its locals could not be read");
    if (report_text_is(frame, "locals_status", "unconfirmed"))
        page_note(page, "    unconfirmed: the frame moved on while its locals were read");
    if (report_text_is(frame, "locals_status", "truncated"))
        page_note(page, "    and more, which could not be read");
}

static void print_python_frame(const struct page *page, const json_t *frame)
{
    struct line_text qualified = report_text(frame, "qualname");
    const struct frame_line line = {
        .function = qualified.bytes != NULL ? qualified : report_text(frame, "name"),
        .filename = report_text(frame, "filename"),
        .lineno = line_of(frame),
    };
    page_python_frame(page, &line);
    print_locals(page, frame);
}

static void print_native_frame(const struct page *page, const json_t *frame)
{
    const struct frame_line line = {
        .function = report_text(frame, "function"),
        .filename = report_text(frame, "filename"),
        .module = report_text(frame, "module"),
        .lineno = line_of(frame),
        .module_offset = address_of(frame, "module_offset"),
        .address = address_of(frame, "address"),
    };
    page_native_frame(page, &line);
}

static void print_repeated(const struct page *page, const json_t *row)
{
    char note[128];
    int64_t frames, count;
    if (!report_number(row, "frames", &frames) || !report_number(row, "count", &count))
        return;
    if (frames == 1)
        (void)snprintf(note, sizeof note, "the frame above %" PRId64 " times more", count);
    else
        (void)snprintf(note, sizeof note, "the %" PRId64 " frames above %" PRId64 " times more", frames, count);
    page_note(page, note);
}

static void print_elided(const struct page *page, const json_t *row)
{
    char note[128];
    int64_t count;
    if (!report_number(row, "count", &count))
        return;
    (void)snprintf(note, sizeof note, "%" PRId64 " frames are left out", count);
    page_note(page, note);
}

void report_row(const struct page *page, const json_t *row)
{
    if (report_text_is(row, "kind", "python"))
        print_python_frame(page, row);
    else if (report_text_is(row, "kind", "native"))
        print_native_frame(page, row);
    else if (report_text_is(row, "kind", "repeated"))
        print_repeated(page, row);
    else if (report_text_is(row, "kind", "elided"))
        print_elided(page, row);
    else
        page_note(page, "a row of a kind that is not known");
}

/* ---- The thread ---- */

const json_t *report_crashed_thread(const json_t *report)
{
    size_t index;
    const json_t *thread;
    json_array_foreach(json_object_get(report, "threads"), index, thread)
    {
        if (json_is_true(json_object_get(thread, "crashed")))
            return thread;
    }
    return NULL;
}

/* "1234 "worker"" */
static void print_thread_name(const struct page *page, const json_t *thread)
{
    int64_t id;
    struct line_text name = report_text(thread, "name");
    if (report_number(thread, "native_id", &id))
        (void)fprintf(page->out, " %" PRId64, id);
    if (name.bytes != NULL) {
        (void)fputs(" \"", page->out);
        page_bytes(page->out, name.bytes, name.length);
        (void)fputc('"', page->out);
    }
}

static const char *state_words(const json_t *thread)
{
    static const struct {
        const char *state;
        const char *words;
    } states[] = {
        {"running", "running"},
        {"waiting_for_gil", "waiting for the GIL"},
        {"idle", "idle"},
        {"finalizing", "finalizing"},
    };
    if (json_is_true(json_object_get(thread, "crashed")))
        return "crashed";
    for (size_t n = 0; n < sizeof states / sizeof states[0]; n++) {
        if (report_text_is(thread, "state", states[n].state))
            return states[n].words;
    }
    return NULL;
}

/* Does Python not know it? Of one that nothing was read of that is not said. */
static bool is_strange(const json_t *thread)
{
    return json_is_null(json_object_get(thread, "thread_id")) &&
           json_is_null(json_object_get(thread, "interpreter_id")) && !report_text_is(thread, "status", "truncated");
}

/* One more of what is said behind a thread's name. */
static void print_trait(const struct page *page, const char *trait, bool *first)
{
    if (trait == NULL)
        return;
    (void)fprintf(page->out, "%s%s", *first ? ": " : ", ", trait);
    *first = false;
}

static void print_traits(const struct page *page, const json_t *thread)
{
    int64_t interpreter;
    bool crashed = json_is_true(json_object_get(thread, "crashed"));
    bool first = true;
    print_trait(page, state_words(thread), &first);
    print_trait(page, is_strange(thread) ? "not Python's" : NULL, &first);
    print_trait(page, crashed && report_text_is(thread, "state", "finalizing") ? "finalizing" : NULL, &first);
    print_trait(page, json_is_true(json_object_get(thread, "holds_gil")) ? "holds the GIL" : NULL, &first);
    print_trait(page, json_is_true(json_object_get(thread, "collecting_garbage")) ? "collecting garbage" : NULL,
                &first);
    if (report_number(thread, "interpreter_id", &interpreter) && interpreter != 0)
        (void)fprintf(page->out, "%sinterpreter %" PRId64, first ? ": " : ", ", interpreter);
}

void report_thread_head(const struct page *page, const json_t *thread)
{
    int64_t id;
    page_begin_style(page, STYLE_THREAD);
    (void)fputs("Thread", page->out);
    print_thread_name(page, thread);
    if (report_number(thread, "thread_id", &id))
        (void)fprintf(page->out, " 0x%016" PRIx64, id);
    page_end_style(page);
    print_traits(page, thread);
    (void)fputc('\n', page->out);
}

static bool has_python(const json_t *rows)
{
    size_t index;
    const json_t *row;
    json_array_foreach(rows, index, row)
    {
        if (report_text_is(row, "kind", "python"))
            return true;
    }
    return false;
}

/* In short a stack is what it waits in, and the Python frames that led there. */
static void print_short(const struct page *page, const json_t *rows, size_t rows_max)
{
    size_t index;
    const json_t *row;
    size_t shown = 0;
    bool pass_native = has_python(rows);
    json_array_foreach(rows, index, row)
    {
        if (shown == rows_max)
            break;
        if (pass_native && index > 0 && report_text_is(row, "kind", "native"))
            continue;
        report_row(page, row);
        shown++;
    }
    char note[64];
    (void)snprintf(note, sizeof note, "and %zu more", json_array_size(rows) - shown);
    page_note(page, note);
}

static void print_rows(const struct page *page, const json_t *rows, size_t rows_max)
{
    size_t index;
    const json_t *row;
    /* To say that one more is left out takes as much room as the one. */
    if (rows_max > 0 && json_array_size(rows) > rows_max + 1) {
        print_short(page, rows, rows_max);
        return;
    }
    json_array_foreach(rows, index, row)
    {
        report_row(page, row);
    }
}

/* What the rows do not say: how the stack ends. */
static void print_ends(const struct page *page, const json_t *thread, size_t rows_max)
{
    const json_t *native = json_object_get(thread, "native_frames");
    bool empty = json_array_size(json_object_get(thread, "frames")) == 0;
    if (report_text_is(thread, "status", "complete") && empty && !is_strange(thread))
        page_note(page, "no Python frame");
    if (report_text_is(thread, "status", "truncated"))
        page_note(page, empty ? "its stack was not saved" : "truncated: no more was saved");
    if (report_text_is(thread, "status", "torn"))
        page_note(page, "torn: it ran on faster than it could be read");
    if (report_text_is(thread, "status", "corrupt"))
        page_note(page, "corrupt: nothing to be believed beyond");
    if (json_array_size(native) > 0) {
        page_note(page, "native and Python frames could not be aligned; the native ones:");
        print_rows(page, native, rows_max);
    }
    if (report_text_is(thread, "native_status", "cut"))
        page_note(page, "the native stack is cut: nothing tells who called the last native frame");
    if (report_text_is(thread, "native_status", "truncated"))
        page_note(page, "the native stack is truncated: no more was saved");
}

void report_stack(const struct page *page, const json_t *thread, size_t rows_max)
{
    char note[96];
    int64_t unconfirmed;
    if (report_number(thread, "unconfirmed", &unconfirmed) && unconfirmed > 0) {
        (void)snprintf(note, sizeof note, "%" PRId64 " innermost frame%s came or went while it was read", unconfirmed,
                       unconfirmed == 1 ? "" : "s");
        page_note(page, note);
    }
    print_rows(page, json_object_get(thread, "frames"), rows_max);
    print_ends(page, thread, rows_max);
}

/* ---- The others ---- */

struct other {
    const json_t *thread;
    size_t index;
    char *text; /* its traits and its stack, without colour; NULL: memory is short */
};

/* Threads with the same text, which follow one another in the sorted list. */
struct group {
    const struct other *first;
    size_t count;
};

static char *write_text(const json_t *thread, size_t rows_max)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    const struct page page = {out, false};
    print_traits(&page, thread);
    (void)fputc('\n', out);
    report_stack(&page, thread, rows_max);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static int compare_indexes(size_t one, size_t other)
{
    return (one > other) - (one < other);
}

static int compare_others(const void *left, const void *right)
{
    const struct other *one = left;
    const struct other *other = right;
    int order = strcmp(one->text != NULL ? one->text : "", other->text != NULL ? other->text : "");
    return order != 0 ? order : compare_indexes(one->index, other->index);
}

static int compare_groups(const void *left, const void *right)
{
    return compare_indexes(((const struct group *)left)->first->index, ((const struct group *)right)->first->index);
}

static bool has_same_text(const struct other *one, const struct other *other)
{
    return one->text != NULL && other->text != NULL && strcmp(one->text, other->text) == 0;
}

/* How many groups the sorted list has. */
static size_t make_groups(const struct other *others, size_t count, struct group *groups)
{
    size_t made = 0;
    for (size_t n = 0; n < count; n++) {
        if (n > 0 && has_same_text(&others[n - 1], &others[n]))
            groups[made - 1].count++;
        else
            groups[made++] = (struct group){&others[n], 1};
    }
    return made;
}

static void print_group(const struct page *page, const struct group *group, size_t rows_max)
{
    enum { NAMES_MAX = 6 };
    const json_t *thread = group->first->thread;
    if (group->count == 1) {
        report_thread_head(page, thread);
        report_stack(page, thread, rows_max);
        return;
    }
    page_begin_style(page, STYLE_THREAD);
    (void)fprintf(page->out, "%zu threads,", group->count);
    for (size_t n = 0; n < group->count && n < NAMES_MAX; n++) {
        if (n > 0)
            (void)fputc(',', page->out);
        print_thread_name(page, group->first[n].thread);
    }
    if (group->count > NAMES_MAX)
        (void)fprintf(page->out, " and %zu more", group->count - NAMES_MAX);
    page_end_style(page);
    print_traits(page, thread);
    (void)fputc('\n', page->out);
    report_stack(page, thread, rows_max);
}

/* How many there are. */
static size_t collect_others(const json_t *report, size_t rows_max, struct other *others)
{
    size_t count = 0;
    size_t index;
    const json_t *thread;
    const json_t *crashed = report_crashed_thread(report);
    json_array_foreach(json_object_get(report, "threads"), index, thread)
    {
        if (thread == crashed)
            continue;
        others[count] = (struct other){.thread = thread, .index = index, .text = write_text(thread, rows_max)};
        count++;
    }
    return count;
}

void report_other_threads(const struct page *page, const json_t *report, size_t rows_max, const char *before)
{
    size_t room = json_array_size(json_object_get(report, "threads")) + 1;
    struct other *others = calloc(room, sizeof *others);
    struct group *groups = calloc(room, sizeof *groups);
    size_t count = others != NULL && groups != NULL ? collect_others(report, rows_max, others) : 0;
    if (count > 0) {
        qsort(others, count, sizeof *others, compare_others);
        size_t made = make_groups(others, count, groups);
        qsort(groups, made, sizeof *groups, compare_groups);
        for (size_t n = 0; n < made; n++) {
            (void)fputs(before, page->out);
            print_group(page, &groups[n], rows_max);
        }
    }
    for (size_t n = 0; n < count; n++)
        free(others[n].text);
    free(groups);
    free(others);
}
