/*
 * A report as Markdown, for a bug tracker or a language model, within a number of bytes: the cause first, then the
 * thread that crashed, then as much as fits. What comes from the process stands in blocks of code, whose lines are
 * indented: nothing in it can end the block, for there is no line break in it.
 */
#include "report_output.h"

#include "report_threads.h"
#include "report_view.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_STACK = 6, TITLE_MAX = 160, LINE_MAX_BYTES = 400, CAUSE_MAX = 600, NOTE_SIZE = 64 };

/* ---- The sheet ---- */

struct sheet {
    char *bytes;
    size_t used;
    size_t room;
};

/* All of it or nothing. */
static bool add(struct sheet *sheet, const char *bytes, size_t size)
{
    if (size > sheet->room - sheet->used)
        return false;
    memcpy(sheet->bytes + sheet->used, bytes, size);
    sheet->used += size;
    return true;
}

static bool add_string(struct sheet *sheet, const char *string)
{
    return add(sheet, string, strlen(string));
}

/* The greatest size of at most max that ends no character in its middle. */
static size_t whole_characters(const char *bytes, size_t size, size_t max)
{
    if (size <= max)
        return size;
    while (max > 0 && ((unsigned char)bytes[max] & 0xc0u) == 0x80)
        max--;
    return max;
}

static size_t least(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* As text that has no meaning to Markdown, HTML or a bug tracker; ended by "..." where not all of it has room. */
static void add_escaped(struct sheet *sheet, const char *text, size_t size)
{
    static const char special[] = "\\`*_{}[]<>#|~&!";
    for (size_t n = 0; n < size;) {
        char escaped[8];
        size_t length = utf8_length((const unsigned char *)text + n, size - n);
        length = length == 0 ? 1 : length;
        if (text[n] == '@') /* names somebody, and a tracker knows no escape for it */
            (void)snprintf(escaped, sizeof escaped, "&#64;");
        else
            (void)snprintf(escaped, sizeof escaped, "%s%.*s", strchr(special, text[n]) != NULL ? "\\" : "", (int)length,
                           text + n);
        size_t needed = strlen(escaped) + (n + length < size ? 3 : 0); /* "..." where more follows */
        if (needed > sheet->room - sheet->used) {
            (void)add_string(sheet, "...");
            return;
        }
        (void)add_string(sheet, escaped);
        n += length;
    }
}

/* ---- Parts ---- */

struct part {
    char *title; /* escaped; NULL: none */
    char *text;  /* lines */
    size_t size;
    bool is_indented; /* the lines are, as they are */
    bool both_ends;   /* where not all fits, the middle is left out; else the end */
};

struct line {
    const char *bytes;
    size_t size;  /* without its line break */
    bool is_cut;  /* there is more of it */
    size_t whole; /* with all that is added to it */
};

/* Up to the next line; false behind the last. */
static bool next_line(const struct part *part, size_t *at, struct line *line)
{
    if (*at >= part->size)
        return false;
    const char *begin = part->text + *at;
    const char *newline = memchr(begin, '\n', part->size - *at);
    size_t size = newline != NULL ? (size_t)(newline - begin) : part->size - *at;
    *at += size + (newline != NULL);
    line->bytes = begin;
    line->size = whole_characters(begin, size, LINE_MAX_BYTES);
    line->is_cut = line->size < size;
    bool indent = !part->is_indented && size > 0;
    line->whole = (indent ? 4 : 0) + line->size + (line->is_cut ? 3 : 0) + 1;
    return true;
}

static bool add_line(struct sheet *sheet, const struct part *part, const struct line *line)
{
    if (line->whole > sheet->room - sheet->used)
        return false;
    if (!part->is_indented && line->size > 0)
        (void)add_string(sheet, "    ");
    (void)add(sheet, line->bytes, line->size);
    if (line->is_cut)
        (void)add_string(sheet, "...");
    return add_string(sheet, "\n");
}

static size_t lines_size(const struct part *part)
{
    struct line line;
    size_t size = 0;
    for (size_t at = 0; next_line(part, &at, &line);)
        size += line.whole;
    return size;
}

/* As many lines from the beginning as there is room for, with "..." where these are not all. */
static void add_beginning(struct sheet *sheet, const struct part *part)
{
    static const char more[] = "    ...\n";
    struct line line;
    for (size_t at = 0; next_line(part, &at, &line);) {
        size_t reserved = at < part->size ? sizeof more - 1 : 0;
        if (line.whole + reserved > sheet->room - sheet->used) {
            (void)add_string(sheet, more);
            return;
        }
        (void)add_line(sheet, part, &line);
    }
}

/* Two thirds of the room for the beginning, the rest for the end. */
static void add_ends(struct sheet *sheet, const struct part *part)
{
    char note[NOTE_SIZE];
    struct line line;
    size_t at;
    size_t end = sheet->room - sheet->used - NOTE_SIZE;
    size_t all = lines_size(part);
    size_t head = 0; /* bytes written of the beginning */
    for (at = 0; next_line(part, &at, &line) && head + line.whole <= end / 3 * 2;) {
        (void)add_line(sheet, part, &line);
        head += line.whole;
    }
    size_t skipped = 0; /* lines */
    size_t done = 0;    /* bytes of the lines that have been passed */
    size_t noted = sheet->used;
    for (at = 0; next_line(part, &at, &line); done += line.whole) {
        if (done < head)
            continue;
        if (all - done > end - head) {
            skipped++;
            continue;
        }
        if (skipped > 0 && noted == sheet->used) {
            (void)snprintf(note, sizeof note, "    (%zu lines are left out here)\n", skipped);
            (void)add_string(sheet, note);
        }
        (void)add_line(sheet, part, &line);
    }
    if (skipped > 0 && noted == sheet->used) {
        (void)snprintf(note, sizeof note, "    (%zu more lines are left out)\n", skipped);
        (void)add_string(sheet, note);
    }
}

static void add_title(struct sheet *sheet, const struct part *part)
{
    (void)add_string(sheet, part->title != NULL ? "\n## " : "\n");
    if (part->title == NULL)
        return;
    (void)add_string(sheet, part->title);
    (void)add_string(sheet, "\n\n");
}

static size_t title_size(const struct part *part)
{
    return part->title != NULL ? strlen(part->title) + sizeof "\n## \n\n" - 1 : 1;
}

static size_t part_size(const struct part *part)
{
    return part->size > 0 ? title_size(part) + lines_size(part) : 0;
}

/* All of it, or what there is room for. later: what follows it needs. */
static void add_part(struct sheet *sheet, const struct part *part, size_t later)
{
    enum { SMALL = 2000 };
    struct line first;
    size_t at = 0;
    size_t room = sheet->room - sheet->used;
    if (!next_line(part, &at, &first))
        return;
    bool fits = part_size(part) <= room;
    /* A deep stack leaves something to what follows it. */
    if (!fits && part->both_ends && room > SMALL)
        room -= least(room / 4, later);
    /* A title that stands alone says nothing. */
    if (!fits && title_size(part) + first.whole + NOTE_SIZE > room)
        return;
    struct sheet narrow = {sheet->bytes, sheet->used, sheet->used + room};
    add_title(&narrow, part);
    if (!fits && part->both_ends)
        add_ends(&narrow, part);
    else
        add_beginning(&narrow, part);
    sheet->used = narrow.used;
}

/* ---- The report ---- */

enum { PART_SIGNAL, PART_CRASHED, PART_CIRCUMSTANCES, PART_PROCESS, PART_OTHERS, PART_MORE, PART_COUNT };

struct writing {
    const json_t *report;
    bool verbose;
    struct part parts[PART_COUNT];
    char *cause;
};

static void write_crashed_head(const struct page *page, const struct writing *writing)
{
    const json_t *thread = report_crashed_thread(writing->report);
    if (thread != NULL)
        report_thread_head(page, thread);
}

static void write_crashed(const struct page *page, const struct writing *writing)
{
    const json_t *thread = report_crashed_thread(writing->report);
    if (thread != NULL)
        report_stack(page, thread, 0);
}

static void write_cause(const struct page *page, const struct writing *writing)
{
    report_cause(page, writing->report);
}

static void write_signal(const struct page *page, const struct writing *writing)
{
    report_signal(page, writing->report);
}

static void write_circumstances(const struct page *page, const struct writing *writing)
{
    report_circumstances(page, writing->report);
}

static void write_process(const struct page *page, const struct writing *writing)
{
    report_process(page, writing->report);
    report_memory(page, writing->report);
    report_limits(page, writing->report);
}

static void write_others(const struct page *page, const struct writing *writing)
{
    report_other_threads(page, writing->report, writing->verbose ? 0 : SHORT_STACK, "");
}

static void write_more(const struct page *page, const struct writing *writing)
{
    if (!writing->verbose)
        return;
    report_registers(page, writing->report);
    report_libraries(page, writing->report);
}

/* The text that write() makes, to be freed. NULL: no memory. */
static char *text_of(const struct writing *writing, void (*write)(const struct page *, const struct writing *),
                     size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (out == NULL)
        return NULL;
    const struct page page = {out, false};
    write(&page, writing);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static char *escape(const char *text, size_t size, size_t max)
{
    struct sheet sheet = {.bytes = malloc(max + 1), .room = max};
    if (sheet.bytes == NULL)
        return NULL;
    add_escaped(&sheet, text, size);
    sheet.bytes[sheet.used] = '\0';
    return sheet.bytes;
}

/* One line, escaped, of at most max bytes. */
static char *title_of(const struct writing *writing, void (*write)(const struct page *, const struct writing *),
                      size_t max)
{
    size_t size = 0;
    char *line = text_of(writing, write, &size);
    char *title = line != NULL ? escape(line, size > 0 ? size - 1 : 0, max) : NULL;
    free(line);
    return title;
}

static bool write_parts(struct writing *writing, size_t budget)
{
    static void (*const writers[])(const struct page *, const struct writing *) = {
        write_signal, write_crashed, write_circumstances, write_process, write_others, write_more,
    };
    static const char *const titles[] = {NULL, NULL, "Circumstances", "Process", "Other threads", "Details"};
    _Static_assert(sizeof writers / sizeof writers[0] == PART_COUNT, "a writer for each part");
    _Static_assert(sizeof titles / sizeof titles[0] == PART_COUNT, "a title for each part");
    bool good = true;
    for (int n = 0; n < PART_COUNT; n++) {
        struct part *part = &writing->parts[n];
        part->text = text_of(writing, writers[n], &part->size);
        part->title = titles[n] != NULL ? strdup(titles[n]) : NULL;
        good = good && part->text != NULL && (titles[n] == NULL || part->title != NULL);
    }
    writing->cause = title_of(writing, write_cause, least(budget / 2, CAUSE_MAX));
    struct part *crashed = &writing->parts[PART_CRASHED];
    crashed->title = title_of(writing, write_crashed_head, TITLE_MAX);
    crashed->is_indented = true;
    crashed->both_ends = true;
    return good && writing->cause != NULL && crashed->title != NULL;
}

static void free_parts(const struct writing *writing)
{
    for (int n = 0; n < PART_COUNT; n++) {
        free(writing->parts[n].text);
        free(writing->parts[n].title);
    }
    free(writing->cause);
}

static size_t whole_size(const struct writing *writing)
{
    size_t size = strlen(writing->cause) + sizeof "# \n" - 1;
    for (int n = 0; n < PART_COUNT; n++)
        size += part_size(&writing->parts[n]);
    return size;
}

static bool write_sheet(FILE *out, const struct writing *writing, size_t budget)
{
    static const char cut[] = "\n*Cut to fit.*\n";
    size_t whole = whole_size(writing);
    bool fits = whole <= budget;
    size_t size = fits ? whole : budget;
    struct sheet sheet = {.bytes = malloc(size), .room = fits ? size : size - (sizeof cut - 1)};
    if (sheet.bytes == NULL)
        return false;
    (void)add_string(&sheet, "# ");
    (void)add_string(&sheet, writing->cause);
    (void)add_string(&sheet, "\n");
    size_t later = whole - sheet.used;
    for (int n = 0; n < PART_COUNT; n++) {
        later -= part_size(&writing->parts[n]);
        add_part(&sheet, &writing->parts[n], later);
    }
    sheet.room = size;
    if (!fits)
        (void)add_string(&sheet, cut);
    (void)fwrite(sheet.bytes, 1, sheet.used, out);
    free(sheet.bytes);
    return true;
}

bool report_print_markdown(FILE *out, const json_t *report, size_t budget, bool verbose)
{
    struct writing writing = {.report = report, .verbose = verbose};
    bool good = write_parts(&writing, budget) && write_sheet(out, &writing, budget);
    free_parts(&writing);
    return good;
}
