/*
 * Records of an unfinished report, made into a document. They may be damaged: a value goes into the document only where
 * its schema (docs/crash.schema.json) allows it.
 */
#include "fault_diagnosis.h"

#include "finish.h"
#include "json_text.h"
#include "partial_record.h"
#include "signal_names.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- Values ---- */

enum value_kind { VALUE_INTEGER, VALUE_TEXT, VALUE_NAME, VALUE_ADDRESS, VALUE_BUILD_ID, VALUE_TRUTH };

struct field {
    const char *name;
    enum value_kind kind;
    json_int_t least; /* of an integer */
};

static bool is_hexadecimal(const char *digits, size_t max)
{
    size_t length = strlen(digits);
    return length > 0 && length <= max && strspn(digits, "0123456789abcdef") == length;
}

static bool is_address(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && text[0] == '0' && text[1] == 'x' && is_hexadecimal(text + 2, 16) &&
           strlen(text) == json_string_length(value);
}

static bool is_allowed(const json_t *value, const struct field *field)
{
    enum { BUILD_ID_DIGITS = 128 };
    const char *text = json_string_value(value);
    switch (field->kind) {
    case VALUE_INTEGER:
        return json_is_integer(value) && json_integer_value(value) >= field->least;
    case VALUE_TEXT:
        return text != NULL;
    case VALUE_NAME:
        return text != NULL && json_string_length(value) > 0;
    case VALUE_ADDRESS:
        return is_address(value);
    case VALUE_BUILD_ID:
        return text != NULL && is_hexadecimal(text, BUILD_ID_DIGITS) && strlen(text) % 2 == 0 &&
               strlen(text) == json_string_length(value);
    case VALUE_TRUTH:
        return json_is_boolean(value);
    }
    return false;
}

/* The fields of an object, each as it is there, or null; to be given back. */
static json_t *take_fields(const json_t *from, const struct field *fields, size_t count)
{
    json_t *object = json_object();
    for (size_t n = 0; n < count; n++) {
        json_t *value = json_object_get(from, fields[n].name);
        value = is_allowed(value, &fields[n]) ? json_incref(value) : json_null();
        (void)json_object_set_new(object, fields[n].name, value);
    }
    return object;
}

#define TAKE_FIELDS(from, fields) take_fields(from, fields, sizeof(fields) / sizeof(fields)[0])

/* One of a list of words; "or" where it is none. */
static const char *take_word(const json_t *value, const char *const *words, size_t count, const char * or)
{
    const char *text = json_string_value(value);
    for (size_t n = 0; text != NULL && n < count; n++) {
        if (strcmp(text, words[n]) == 0)
            return words[n];
    }
    return or ;
}

#define TAKE_WORD(value, words, or) take_word(value, words, sizeof(words) / sizeof(words)[0], or)

/* "2026-11-25T07:40:49.123456Z" */
static bool is_time(const json_t *value)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != json_string_length(value))
        return false;
    for (size_t n = 0; n < sizeof form - 1; n++) {
        bool digit = text[n] >= '0' && text[n] <= '9';
        if (form[n] == 'd' ? !digit : text[n] != form[n])
            return false;
    }
    text += sizeof form - 1;
    if (*text == '.') {
        size_t digits = strspn(text + 1, "0123456789");
        if (digits == 0)
            return false;
        text += 1 + digits;
    }
    return strcmp(text, "Z") == 0;
}

/* ---- Frames ---- */

static json_t *take_locals(const json_t *list)
{
    static const struct field fields[] = {
        {"name", VALUE_TEXT, 0}, {"argument", VALUE_TRUTH, 0}, {"value", VALUE_TEXT, 0}};
    size_t index;
    const json_t *local;
    if (!json_is_array(list))
        return json_null();
    json_t *taken = json_array();
    json_array_foreach(list, index, local)
    {
        if (json_is_boolean(json_object_get(local, "argument")))
            (void)json_array_append_new(taken, TAKE_FIELDS(local, fields));
    }
    return taken;
}

static json_t *take_python_frame(const json_t *frame)
{
    static const struct field fields[] = {
        {"name", VALUE_TEXT, 0},         {"qualname", VALUE_TEXT, 0},      {"filename", VALUE_TEXT, 0},
        {"lineno", VALUE_INTEGER, 0},    {"end_lineno", VALUE_INTEGER, 0}, {"colno", VALUE_INTEGER, 0},
        {"end_colno", VALUE_INTEGER, 0},
    };
    static const char *const statuses[] = {"complete", "truncated", "unconfirmed", "unreadable"};
    json_t *taken = TAKE_FIELDS(frame, fields);
    const json_t *locals = json_object_get(frame, "locals");
    if (locals != NULL) {
        const char *status = TAKE_WORD(json_object_get(frame, "locals_status"), statuses, "unreadable");
        (void)json_object_set_new(taken, "locals", take_locals(locals));
        (void)json_object_set_new(taken, "locals_status", json_string(status));
    }
    return taken;
}

static json_t *take_native_frame(const json_t *frame)
{
    static const struct field fields[] = {
        {"function", VALUE_NAME, 0},         {"filename", VALUE_TEXT, 0},     {"lineno", VALUE_INTEGER, 1},
        {"module", VALUE_TEXT, 0},           {"build_id", VALUE_BUILD_ID, 0}, {"address", VALUE_ADDRESS, 0},
        {"module_offset", VALUE_ADDRESS, 0},
    };
    return is_address(json_object_get(frame, "address")) ? TAKE_FIELDS(frame, fields) : NULL;
}

static json_t *take_counts(const json_t *row)
{
    static const struct field repeated[] = {{"frames", VALUE_INTEGER, 1}, {"count", VALUE_INTEGER, 1}};
    static const struct field elided[] = {{"count", VALUE_INTEGER, 1}};
    bool folded = text_is(json_object_get(row, "kind"), "repeated");
    if (!is_allowed(json_object_get(row, "count"), &elided[0]) ||
        (folded && !is_allowed(json_object_get(row, "frames"), &repeated[0])))
        return NULL;
    return folded ? TAKE_FIELDS(row, repeated) : TAKE_FIELDS(row, elided);
}

/* NULL for what is no frame. */
static json_t *take_frame(const json_t *frame)
{
    static const struct {
        const char *kind;
        json_t *(*take)(const json_t *frame);
    } kinds[] = {
        {"python", take_python_frame},
        {"native", take_native_frame},
        {"repeated", take_counts},
        {"elided", take_counts},
    };
    const json_t *kind = json_object_get(frame, "kind");
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++) {
        if (!text_is(kind, kinds[n].kind))
            continue;
        json_t *taken = kinds[n].take(frame);
        json_t *row = taken != NULL ? json_pack("{s:s}", "kind", kinds[n].kind) : NULL;
        (void)json_object_update(row, taken);
        json_decref(taken);
        return row;
    }
    return NULL;
}

/* ---- The report ---- */

struct report {
    json_t *threads; /* in the order of the records */
    json_t *by_key;  /* the same by what tells them apart */
    json_t *notes;
    json_t *fault;  /* the record; NULL: none yet */
    json_int_t pid; /* 0: not known */
    int records;    /* of any kind that is known */
};

static void add_note(struct report *report, json_t *note)
{
    (void)json_array_append_new(report->notes, note);
}

static json_t *take_frames(struct report *report, const json_t *record)
{
    size_t index;
    const json_t *frame;
    size_t lost = 0;
    json_t *frames = json_array();
    json_array_foreach(json_object_get(record, "frames"), index, frame)
    {
        json_t *taken = take_frame(frame);
        lost += taken == NULL;
        if (taken != NULL)
            (void)json_array_append_new(frames, taken);
    }
    if (lost > 0)
        add_note(report, json_sprintf("%zu rows of a stack were damaged, and are left out.", lost));
    return frames;
}

static bool is_whole(const json_t *thread)
{
    return text_is(json_object_get(thread, "status"), "complete");
}

/* What is the same in all records of a thread; a copy of the process has other kernel ids. False: not known. */
static bool thread_key(const json_t *thread, char key[64])
{
    const json_t *id = json_object_get(thread, "thread_id");
    const json_t *interpreter = json_object_get(thread, "interpreter_id");
    (void)snprintf(key, 64, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, json_integer_value(id),
                   json_integer_value(interpreter));
    return json_is_integer(id);
}

/* Of a thread that is told twice the first is kept, but for one that is not whole. thread is given up. */
static void add_thread(struct report *report, json_t *thread)
{
    char key[64];
    bool known = thread_key(thread, key);
    json_t *before = known ? json_object_get(report->by_key, key) : NULL;
    if (before == NULL) {
        if (known)
            (void)json_object_set(report->by_key, key, thread);
        (void)json_array_append(report->threads, thread);
    } else if (!is_whole(before) && is_whole(thread)) {
        (void)json_object_set(thread, "native_id", json_object_get(before, "native_id"));
        (void)json_object_update(before, thread);
    }
    json_decref(thread);
}

static void take_thread(struct report *report, const json_t *record)
{
    static const struct field fields[] = {
        {"thread_id", VALUE_INTEGER, 1},
        {"native_id", VALUE_INTEGER, 1},
        {"interpreter_id", VALUE_INTEGER, 0},
        {"name", VALUE_NAME, 0},
        {"state", VALUE_NAME, 0},
        {"crashed", VALUE_TRUTH, 0},
        {"holds_gil", VALUE_TRUTH, 0},
        {"collecting_garbage", VALUE_TRUTH, 0},
    };
    static const char *const states[] = {"running", "waiting_for_gil", "idle", "finalizing"};
    static const char *const statuses[] = {"complete", "truncated", "torn", "corrupt"};
    json_t *thread = TAKE_FIELDS(record, fields);
    const char *state = TAKE_WORD(json_object_get(record, "state"), states, NULL);
    const char *status = TAKE_WORD(json_object_get(record, "status"), statuses, "truncated");
    (void)json_object_set_new(thread, "state", state != NULL ? json_string(state) : json_null());
    (void)json_object_set_new(thread, "crashed", json_false());
    (void)json_object_set_new(thread, "frames", take_frames(report, record));
    (void)json_object_set_new(thread, "unconfirmed", json_integer(0));
    (void)json_object_set_new(thread, "status", json_string(status));
    (void)json_object_set_new(thread, "native_status", json_null());
    (void)json_object_set_new(thread, "native_frames", json_null());
    const json_t *pid = json_object_get(record, "pid");
    if (report->pid == 0 && json_integer_value(pid) > 0)
        report->pid = json_integer_value(pid);
    add_thread(report, thread);
}

static void take_fault(struct report *report, const json_t *record)
{
    json_int_t pid = json_integer_value(json_object_get(record, "pid"));
    if (report->fault != NULL) {
        const json_t *name = json_object_get(json_object_get(record, "signal"), "name");
        json_int_t thread = json_integer_value(json_object_get(record, "native_id"));
        add_note(report, json_sprintf("There was another fault after the first: %s in thread %lld.",
                                      json_is_string(name) ? json_string_value(name) : "a signal", thread));
        return;
    }
    report->fault = json_deep_copy(record);
    if (pid > 0)
        report->pid = pid;
}

static void take_note(struct report *report, const json_t *record)
{
    json_t *note = json_object_get(record, "note");
    if (json_is_string(note))
        add_note(report, json_incref(note));
}

static void take_record(struct report *report, const json_t *record, bool cut)
{
    static const struct {
        const char *schema;
        void (*take)(struct report *report, const json_t *record);
    } kinds[] = {
        {"pyunwind.fault/1", take_fault},
        {"pyunwind.thread/1", take_thread},
        {"pyunwind.note/1", take_note},
    };
    const char *schema = json_string_value(json_object_get(record, "schema"));
    for (size_t n = 0; schema != NULL && n < sizeof kinds / sizeof kinds[0]; n++) {
        if (strcmp(schema, kinds[n].schema) != 0)
            continue;
        kinds[n].take(report, record);
        report->records++;
        if (cut)
            add_note(report, json_string("A record is cut, or damaged: it is told as far as it is whole."));
        return;
    }
    json_t *note =
        json_sprintf("A record of a kind that is not known was left out: %s.", schema != NULL ? schema : "?");
    add_note(report, note);
}

/* ---- The crash ---- */

/* null, where there is none, or nothing to be believed. */
static json_t *take_signal(const json_t *signal)
{
    static const struct field fields[] = {{"number", VALUE_INTEGER, 1},     {"name", VALUE_NAME, 0},
                                          {"code", VALUE_INTEGER, INT_MIN}, {"code_name", VALUE_NAME, 0},
                                          {"address", VALUE_ADDRESS, 0},    {"system_call", VALUE_INTEGER, 0},
                                          {"sender", VALUE_NAME, 0}};
    static const struct field sender_fields[] = {{"pid", VALUE_INTEGER, 0}, {"uid", VALUE_INTEGER, 0}};
    json_int_t number = json_integer_value(json_object_get(signal, "number"));
    const json_t *sender = json_object_get(signal, "sender");
    if (number < 1 || number > INT_MAX)
        return json_null();
    json_t *taken = TAKE_FIELDS(signal, fields);
    const json_t *code = json_object_get(taken, "code");
    const char *name = signal_name((int)number);
    const char *code_name = NULL;
    if (json_is_integer(code) && json_integer_value(code) <= INT_MAX)
        code_name = signal_code_name((int)number, (int)json_integer_value(code));
    (void)json_object_set_new(taken, "name", name != NULL ? json_string(name) : json_null());
    (void)json_object_set_new(taken, "code_name", code_name != NULL ? json_string(code_name) : json_null());
    bool sent = is_allowed(json_object_get(sender, "pid"), &sender_fields[0]) &&
                is_allowed(json_object_get(sender, "uid"), &sender_fields[1]);
    (void)json_object_set_new(taken, "sender", sent ? TAKE_FIELDS(sender, sender_fields) : json_null());
    return taken;
}

static bool is_register_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < 16 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static json_t *take_registers(json_t *registers)
{
    const char *name;
    json_t *value;
    json_t *taken = json_is_object(registers) ? json_object() : json_null();
    json_object_foreach(registers, name, value)
    {
        if (is_register_name(name) && is_address(value))
            (void)json_object_set(taken, name, value);
    }
    return taken;
}

static bool is_of_fault(const json_t *thread, const json_t *fault)
{
    const json_t *native_id = json_object_get(fault, "native_id");
    const json_t *thread_id = json_object_get(fault, "thread_id");
    return (json_is_integer(native_id) && json_equal(native_id, json_object_get(thread, "native_id"))) ||
           (json_is_integer(thread_id) && json_equal(thread_id, json_object_get(thread, "thread_id")));
}

/* One of which nothing is known but that it crashed. */
static json_t *unknown_thread(const json_t *fault)
{
    static const struct field fields[] = {{"thread_id", VALUE_INTEGER, 1}, {"native_id", VALUE_INTEGER, 1}};
    json_t *thread = TAKE_FIELDS(fault, fields);
    json_t *rest = json_pack("{s:n,s:n,s:n,s:b,s:n,s:n,s:[],s:i,s:s,s:n,s:n}", "interpreter_id", "name", "state",
                             "crashed", 1, "holds_gil", "collecting_garbage", "frames", "unconfirmed", 0, "status",
                             "truncated", "native_status", "native_frames");
    (void)json_object_update(thread, rest);
    json_decref(rest);
    return thread;
}

/* The thread that crashed comes first. */
static void mark_crashed(struct report *report)
{
    size_t index;
    json_t *thread;
    json_array_foreach(report->threads, index, thread)
    {
        if (!is_of_fault(thread, report->fault))
            continue;
        json_incref(thread);
        (void)json_array_remove(report->threads, index);
        (void)json_object_set_new(thread, "crashed", json_true());
        (void)json_array_insert_new(report->threads, 0, thread);
        return;
    }
    add_note(report, json_string("The Python stack of the thread that crashed was not saved, or it has none."));
    (void)json_array_insert_new(report->threads, 0, unknown_thread(report->fault));
}

static json_t *find_finalizing(const struct report *report)
{
    size_t index;
    const json_t *thread;
    json_array_foreach(report->threads, index, thread)
    {
        if (text_is(json_object_get(thread, "state"), "finalizing"))
            return json_true();
    }
    return json_null();
}

static const json_t *innermost_frame(const json_t *threads)
{
    const json_t *thread = json_array_get(threads, 0);
    if (!json_is_true(json_object_get(thread, "crashed")))
        return NULL;
    return json_array_get(json_object_get(thread, "frames"), 0);
}

static json_t *make_document(struct report *report)
{
    static const struct field id = {"native_id", VALUE_INTEGER, 1};
    json_t *signal = take_signal(json_object_get(report->fault, "signal"));
    json_t *registers = take_registers(json_object_get(report->fault, "registers"));
    json_t *native_id = json_object_get(report->fault, "native_id");
    json_t *time = json_object_get(report->fault, "time");
    if (report->fault == NULL)
        add_note(report, json_string("What the fault was, was not saved."));
    else if (json_is_object(signal))
        mark_crashed(report);
    const struct fault fault = {
        .pid = report->pid,
        .native_id = json_integer_value(native_id),
        .signal = signal,
        .registers = registers,
        .is_known =
            report->fault != NULL && (json_is_object(signal) || json_is_null(json_object_get(report->fault, "signal"))),
        .recovered = json_is_true(json_object_get(report->fault, "recovered")),
    };
    json_t *diagnosis = fault_diagnose(&fault, innermost_frame(report->threads));
    add_note(report, json_string(REPORT_UNFINISHED));
    return json_pack("{s:s, s:o, s:s, s:O, s:o, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:o, s:o, s:o, s:o, s:n, s:n, s:n, "
                     "s:n, s:o, s:n, s:n, s:O, s:n}",
                     "schema", "pyunwind.crash/1",                                                               //
                     "time", is_time(time) ? json_incref(time) : json_null(),                                    //
                     "status", "partial",                                                                        //
                     "notes", report->notes,                                                                     //
                     "pid", report->pid > 0 ? json_integer(report->pid) : json_null(),                           //
                     "ppid", "command", "executable", "working_directory", "cgroup", "container_id", "uptime",   //
                     "signal", signal,                                                                           //
                     "native_id", is_allowed(native_id, &id) ? json_incref(native_id) : json_null(),             //
                     "registers", registers,                                                                     //
                     "diagnosis", diagnosis,                                                                     //
                     "fatal_error", "exception", "fingerprint", "python", "finalizing", find_finalizing(report), //
                     "limits", "memory", "threads", report->threads, "libraries");
}

json_t *report_from_partial(const char *lines, size_t size)
{
    struct report report = {.threads = json_array(), .by_key = json_object(), .notes = json_array()};
    struct record_cursor cursor = {.at = lines, .end = lines + size};
    const char *bytes;
    size_t length;
    size_t lost = 0;
    while (record_next(&cursor, &bytes, &length)) {
        bool cut;
        json_t *record = record_decode(bytes, length, &cut);
        lost += record == NULL;
        if (record != NULL)
            take_record(&report, record, cut);
        json_decref(record);
    }
    if (lost > 0)
        add_note(&report, json_sprintf("%zu records were damaged, and are left out.", lost));
    json_t *document = report.records > 0 ? make_document(&report) : NULL;
    json_decref(report.by_key);
    json_decref(report.threads);
    json_decref(report.notes);
    json_decref(report.fault);
    return document;
}
