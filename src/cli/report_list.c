/*
 * The reports of a folder by fingerprint: how often the same crash was seen, first and last.
 */
#include "report_folder.h"

#include "page.h"
#include "report_file.h"
#include "report_threads.h"
#include "report_view.h"

#include <stdlib.h>
#include <string.h>

/* ---- Groups ---- */

struct list {
    json_t *groups; /* as they are written: that with the newest report first */
    json_t *keys;   /* of each group, what its reports have in common */
    json_t *unreadable;
    size_t reports;
};

/* The innermost row, or of one kind; NULL: none. */
static json_t *innermost(const json_t *report, const char *kind)
{
    size_t index;
    json_t *row;
    json_array_foreach(json_object_get(report_crashed_thread(report), "frames"), index, row)
    {
        if (kind == NULL || report_text_is(row, "kind", kind))
            return row;
    }
    return NULL;
}

static json_t *text_or_null(json_t *value)
{
    return json_is_string(value) ? json_incref(value) : json_null();
}

static json_t *object_or_null(json_t *value)
{
    return json_is_object(value) ? json_incref(value) : json_null();
}

/* The fingerprint; without one the signal, the cause and the innermost functions. */
static json_t *key_of(const json_t *report)
{
    const json_t *top = innermost(report, NULL);
    const json_t *python = innermost(report, "python");
    json_t *fingerprint = json_object_get(report, "fingerprint");
    if (json_is_string(fingerprint))
        return json_incref(fingerprint);
    return json_pack("[o, o, o, o, o]", text_or_null(json_object_get(json_object_get(report, "signal"), "name")),
                     text_or_null(json_object_get(json_object_get(report, "diagnosis"), "cause")),
                     text_or_null(json_object_get(top, "function")), text_or_null(json_object_get(python, "name")),
                     text_or_null(json_object_get(python, "filename")));
}

static json_t *find_group(const struct list *list, const json_t *key)
{
    size_t index;
    const json_t *other;
    json_array_foreach(list->keys, index, other)
    {
        if (json_equal(key, other))
            return json_array_get(list->groups, index);
    }
    return NULL;
}

/* The newest report of a group speaks for all. key is given up. NULL: no memory. */
static json_t *add_group(const struct list *list, const json_t *report, const char *time, json_t *key)
{
    const json_t *diagnosis = json_object_get(report, "diagnosis");
    json_t *group = json_pack("{s:o, s:i, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:[]}",               //
                              "fingerprint", text_or_null(json_object_get(report, "fingerprint")), //
                              "count", 0, "unfinished", 0, "first_seen", time, "last_seen", time,  //
                              "cause", text_or_null(json_object_get(diagnosis, "cause")),          //
                              "sentence", text_or_null(json_object_get(diagnosis, "sentence")),    //
                              "frame", object_or_null(innermost(report, NULL)),                    //
                              "python_frame", object_or_null(innermost(report, "python")), "reports");
    if (json_array_append_new(list->groups, group) != 0)
        group = NULL;
    (void)json_array_append_new(list->keys, key);
    return group;
}

static void count_up(json_t *group, const char *key)
{
    (void)json_object_set_new(group, key, json_integer(json_integer_value(json_object_get(group, key)) + 1));
}

static void add_report(struct list *list, const struct report_entry *entry, const struct report_file *file)
{
    json_t *key = key_of(file->document);
    json_t *group = key != NULL ? find_group(list, key) : NULL;
    if (group != NULL)
        json_decref(key);
    else
        group = add_group(list, file->document, entry->name.time, key);
    count_up(group, "count");
    if (file->is_partial)
        count_up(group, "unfinished");
    (void)json_object_set_new(group, "first_seen", json_string(entry->name.time)); /* they come newest first */
    (void)json_array_append_new(json_object_get(group, "reports"), json_string(entry->file));
    list->reports++;
}

static bool read_list(const struct report_folder *folder, struct list *list, report_complain *complain)
{
    *list = (struct list){.groups = json_array(), .keys = json_array(), .unreadable = json_array()};
    for (size_t n = 0; n < folder->count; n++) {
        const struct report_entry *entry = &folder->entries[n];
        struct report_file file;
        char message[512];
        if (entry->name.kind == REPORT_TEMPORARY)
            continue;
        if (report_file_load(folder->fd, entry->file, &file, message, sizeof message)) {
            add_report(list, entry, &file);
            report_file_free(&file);
            continue;
        }
        complain(entry->file, message);
        json_t *reason = json_string(message);
        (void)json_array_append_new(list->unreadable, json_pack("{s:s, s:o}", "file", entry->file, "reason",
                                                                reason != NULL ? reason : json_null()));
    }
    return json_array_size(list->unreadable) == 0;
}

static void free_list(const struct list *list)
{
    json_decref(list->groups);
    json_decref(list->keys);
    json_decref(list->unreadable);
}

/* ---- Output ---- */

bool report_folder_list_json(FILE *out, const struct report_folder *folder, report_complain *complain)
{
    struct list list;
    bool good = read_list(folder, &list, complain);
    json_t *path = json_string(folder->path);
    json_t *document =
        json_pack("{s:s, s:o, s:O, s:O}", "schema", "pyunwind.crashes/1", "folder", path != NULL ? path : json_null(),
                  "crashes", list.groups, "unreadable", list.unreadable);
    good = document != NULL && json_dumpf(document, out, JSON_COMPACT) == 0 && good;
    (void)fputc('\n', out);
    json_decref(document);
    free_list(&list);
    return good;
}

static void print_text(const struct page *page, const char *before, const json_t *group, const char *key)
{
    struct line_text text = report_text(group, key);
    (void)fputs(before, page->out);
    if (text.bytes != NULL)
        page_bytes(page->out, text.bytes, text.length);
}

static void print_group(const struct page *page, const json_t *group)
{
    const json_t *frame = json_object_get(group, "frame");
    const json_t *python = json_object_get(group, "python_frame");
    const json_t *newest = json_array_get(json_object_get(group, "reports"), 0);
    int64_t count = json_integer_value(json_object_get(group, "count"));
    int64_t unfinished = json_integer_value(json_object_get(group, "unfinished"));
    (void)fputc('\n', page->out);
    page_begin_style(page, STYLE_PROCESS);
    print_text(page, "", group, json_is_string(json_object_get(group, "fingerprint")) ? "fingerprint" : "cause");
    page_end_style(page);
    (void)fprintf(page->out, ": %lld time%s", (long long)count, count == 1 ? "" : "s");
    print_text(page, ", ", group, "first_seen");
    if (count > 1)
        print_text(page, " to ", group, "last_seen");
    if (unfinished > 0)
        (void)fprintf(page->out, ", %lld unfinished", (long long)unfinished);
    (void)fputc('\n', page->out);
    page_begin_style(page, STYLE_WARNING);
    print_text(page, "    ", group, "sentence");
    page_end_style(page);
    (void)fputc('\n', page->out);
    if (json_is_object(frame))
        report_row(page, frame);
    if (json_is_object(python) && python != frame)
        report_row(page, python);
    (void)fprintf(page->out, "    %s\n", json_string_value(newest));
}

bool report_folder_list_text(FILE *out, const struct report_folder *folder, bool coloured, report_complain *complain)
{
    struct list list;
    size_t index;
    const json_t *group;
    const struct page page = {out, coloured};
    bool good = read_list(folder, &list, complain);
    size_t crashes = json_array_size(list.groups);
    page_bytes(out, folder->path, strlen(folder->path));
    (void)fprintf(out, ": %zu report%s", list.reports, list.reports == 1 ? "" : "s");
    if (crashes > 0)
        (void)fprintf(out, " of %zu crash%s", crashes, crashes == 1 ? "" : "es");
    (void)fputc('\n', out);
    json_array_foreach(list.groups, index, group)
    {
        print_group(&page, group);
    }
    free_list(&list);
    return good;
}
