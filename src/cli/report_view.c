/*
 * The parts of a report but its threads, as lines.
 */
#include "report_view.h"

#include "signal_names.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

/* ---- Values ---- */

struct line_text report_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return (struct line_text){json_string_value(value), json_string_length(value), false};
}

bool report_number(const json_t *object, const char *key, int64_t *number)
{
    const json_t *value = json_object_get(object, key);
    *number = json_integer_value(value);
    return json_is_integer(value) && *number >= 0;
}

bool report_text_is(const json_t *object, const char *key, const char *text)
{
    const char *found = json_string_value(json_object_get(object, key));
    return found != NULL && strcmp(found, text) == 0;
}

/* Before and the text, and after; nothing where there is no text. */
static void print_text(const struct page *page, const char *before, const struct line_text *text, const char *after)
{
    if (text->bytes == NULL)
        return;
    (void)fputs(before, page->out);
    page_bytes(page->out, text->bytes, text->length);
    (void)fputs(after, page->out);
}

static void print_field(const struct page *page, const char *before, const json_t *object, const char *key,
                        const char *after)
{
    struct line_text text = report_text(object, key);
    print_text(page, before, &text, after);
}

/* ---- The cause ---- */

void report_cause(const struct page *page, const json_t *report)
{
    struct line_text sentence = report_text(json_object_get(report, "diagnosis"), "sentence");
    page_begin_style(page, STYLE_WARNING);
    if (sentence.bytes == NULL)
        (void)fputs("The cause is not known.", page->out);
    print_text(page, "", &sentence, "");
    page_end_style(page);
    (void)fputc('\n', page->out);
}

static void print_code(const struct page *page, const json_t *signal, int number)
{
    const json_t *code = json_object_get(signal, "code");
    struct line_text name = report_text(signal, "code_name");
    json_int_t value = json_integer_value(code);
    if (!json_is_integer(code))
        return;
    const char *words = value >= INT_MIN && value <= INT_MAX ? signal_code_words(number, (int)value) : NULL;
    if (name.bytes == NULL) {
        (void)fprintf(page->out, " (code %" PRId64 ")", (int64_t)value);
        return;
    }
    print_text(page, " (", &name, "");
    (void)fprintf(page->out, words != NULL ? ", %s)" : ")", words);
}

void report_signal(const struct page *page, const json_t *report)
{
    const json_t *signal = json_object_get(report, "signal");
    const json_t *sender = json_object_get(signal, "sender");
    struct line_text name = report_text(signal, "name");
    int64_t number, thread, pid, uid;
    if (!report_number(signal, "number", &number) || number > INT_MAX)
        return;
    if (name.bytes == NULL)
        (void)fprintf(page->out, "signal %" PRId64, number);
    print_text(page, "", &name, "");
    print_code(page, signal, (int)number);
    print_field(page, " at ", signal, "address", "");
    if (report_number(report, "native_id", &thread))
        (void)fprintf(page->out, ", in thread %" PRId64, thread);
    if (report_number(sender, "pid", &pid) && report_number(sender, "uid", &uid))
        (void)fprintf(page->out, ", sent by process %" PRId64 " of user %" PRId64, pid, uid);
    (void)fputc('\n', page->out);
}

/* ---- The process ---- */

static void print_command(const struct page *page, const json_t *command)
{
    size_t index;
    const json_t *argument;
    json_array_foreach(command, index, argument)
    {
        (void)fputc(' ', page->out);
        if (json_string_length(argument) == 0)
            (void)fputs("''", page->out);
        else
            page_bytes(page->out, json_string_value(argument), json_string_length(argument));
    }
}

static void print_python(const struct page *page, const json_t *report)
{
    const json_t *python = json_object_get(report, "python");
    struct line_text version = report_text(python, "version");
    struct line_text executable = report_text(report, "executable");
    double uptime = json_number_value(json_object_get(report, "uptime"));
    if (version.bytes == NULL && executable.bytes == NULL)
        return;
    if (version.bytes == NULL)
        (void)fputs("No Python that is known", page->out);
    print_text(page, "CPython ", &version,
               json_is_true(json_object_get(python, "free_threaded")) ? " (free-threaded)" : "");
    print_text(page, ", ", &executable, "");
    if (json_is_number(json_object_get(report, "uptime")) && uptime >= 0 && uptime < 1e12) {
        (void)fputs(", up ", page->out);
        page_uptime(page->out, uptime);
    }
    if (json_is_true(json_object_get(report, "finalizing")))
        (void)fputs(", being finalized", page->out);
    (void)fputc('\n', page->out);
}

void report_process(const struct page *page, const json_t *report)
{
    int64_t pid, parent;
    struct line_text cgroup = report_text(report, "cgroup");
    page_begin_style(page, STYLE_PROCESS);
    if (report_number(report, "pid", &pid))
        (void)fprintf(page->out, "Process %" PRId64 ":", pid);
    else
        (void)fputs("Process:", page->out);
    print_command(page, json_object_get(report, "command"));
    page_end_style(page);
    (void)fputc('\n', page->out);
    print_python(page, report);
    print_field(page, "Time ", report, "time", "\n");
    print_field(page, "Working directory ", report, "working_directory", "\n");
    if (report_number(report, "ppid", &parent))
        (void)fprintf(page->out, "Parent %" PRId64 "\n", parent);
    print_field(page, "Container ", report, "container_id", "\n");
    /* The root group is the one in which a process is that nobody has put elsewhere. */
    if (cgroup.bytes != NULL && strcmp(cgroup.bytes, "/") != 0)
        print_text(page, "Control group ", &cgroup, "\n");
    print_field(page, "Fingerprint ", report, "fingerprint", "\n");
}

/* ---- Circumstances ---- */

static void print_list(const struct page *page, const json_t *list)
{
    size_t index;
    const json_t *item;
    json_array_foreach(list, index, item)
    {
        if (!json_is_string(item))
            continue;
        (void)fputs("    ", page->out);
        page_bytes(page->out, json_string_value(item), json_string_length(item));
        (void)fputc('\n', page->out);
    }
}

void report_circumstances(const struct page *page, const json_t *report)
{
    const json_t *exception = json_object_get(report, "exception");
    const json_t *fatal_error = json_object_get(report, "fatal_error");
    const json_t *evidence = json_object_get(json_object_get(report, "diagnosis"), "evidence");
    const json_t *notes = json_object_get(report, "notes");
    struct line_text type = report_text(exception, "type");
    if (type.bytes != NULL) {
        print_text(page, "Exception in flight: ", &type, "");
        print_field(page, ": ", exception, "message", "");
        (void)fputc('\n', page->out);
    }
    if (json_is_object(fatal_error)) {
        (void)fputs("Fatal Python error: ", page->out);
        struct line_text message = report_text(fatal_error, "message");
        print_text(page, "", &message, "");
        (void)fputs(message.bytes == NULL ? "its message is not known\n" : "\n", page->out);
    }
    if (json_array_size(evidence) > 0)
        (void)fputs("Evidence:\n", page->out);
    print_list(page, evidence);
    if (json_array_size(notes) > 0) {
        page_begin_style(page, STYLE_WARNING);
        (void)fputs("Of this report:\n", page->out);
        print_list(page, notes);
        page_end_style(page);
    }
}

/* ---- Figures ---- */

static void print_bytes(const struct page *page, int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024) {
        (void)fprintf(page->out, "%" PRId64 " bytes", bytes);
        return;
    }
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    (void)fprintf(page->out, "%.1f %s", value, units[unit]);
}

struct figure {
    const char *key;
    const char *words;
    bool counts; /* no bytes */
};

/* "Memory: resident 3.1 MiB, swap 0 bytes"; nothing where none is known. */
static void print_figures(const struct page *page, const char *title, const json_t *object,
                          const struct figure *figures, size_t count)
{
    bool first = true;
    for (size_t n = 0; n < count; n++) {
        int64_t value;
        bool unlimited = report_text_is(object, figures[n].key, "unlimited");
        if (!report_number(object, figures[n].key, &value) && !unlimited)
            continue;
        (void)fprintf(page->out, "%s%s ", first ? title : ", ", figures[n].words);
        first = false;
        if (unlimited)
            (void)fputs("unlimited", page->out);
        else if (figures[n].counts)
            (void)fprintf(page->out, "%" PRId64, value);
        else
            print_bytes(page, value);
    }
    if (!first)
        (void)fputc('\n', page->out);
}

void report_memory(const struct page *page, const json_t *report)
{
    static const struct figure figures[] = {
        {"resident", "resident", false},
        {"peak", "at most", false},
        {"virtual", "virtual", false},
        {"swap", "swapped out", false},
        {"cgroup_current", "control group", false},
        {"cgroup_limit", "its limit", false},
        {"oom_kills", "killed in it for want of memory", true},
    };
    print_figures(page, "Memory: ", json_object_get(report, "memory"), figures, sizeof figures / sizeof figures[0]);
}

void report_limits(const struct page *page, const json_t *report)
{
    static const struct figure figures[] = {
        {"core", "core file", false},       {"address_space", "address space", false}, {"stack", "stack", false},
        {"open_files", "open files", true}, {"processes", "processes", true},
    };
    print_figures(page, "Limits: ", json_object_get(report, "limits"), figures, sizeof figures / sizeof figures[0]);
}

void report_registers(const struct page *page, const json_t *report)
{
    enum { ROW = 4 };
    const json_t *registers = json_object_get(report, "registers");
    int count = 0;
    const char *name;
    json_t *value;
    if (json_object_size(registers) == 0)
        return;
    (void)fputs("Registers:", page->out);
    json_object_foreach((json_t *)registers, name, value)
    {
        (void)fputs(count++ % ROW == 0 ? "\n    " : "  ", page->out);
        page_bytes(page->out, name, strlen(name));
        print_field(page, " ", registers, name, "");
    }
    (void)fputc('\n', page->out);
}

void report_libraries(const struct page *page, const json_t *report)
{
    size_t index;
    const json_t *library;
    const json_t *libraries = json_object_get(report, "libraries");
    if (json_array_size(libraries) > 0)
        (void)fputs("Libraries:\n", page->out);
    json_array_foreach(libraries, index, library)
    {
        print_field(page, "    ", library, "begin", "");
        print_field(page, "-", library, "end", "");
        print_field(page, " ", library, "path", "");
        print_field(page, " build id ", library, "build_id", "");
        (void)fputc('\n', page->out);
    }
}
