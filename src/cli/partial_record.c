/*
 * Take what is whole of a record.
 */
#include "partial_record.h"

#include <stdlib.h>
#include <string.h>

/* ---- Lines ---- */

/* Within a text of JSON a quotation mark is escaped: these bytes are where a record begins, and nowhere else. */
static const char beginning[] = "{\"schema\":\"pyunwind.";

static const char *find_line_end(const struct record_cursor *cursor)
{
    const char *newline = memchr(cursor->at, '\n', (size_t)(cursor->end - cursor->at));
    return newline != NULL ? newline : cursor->end;
}

bool record_next(struct record_cursor *cursor, const char **bytes, size_t *size)
{
    while (cursor->at < cursor->end && *cursor->at == '\n') {
        cursor->at++;
        cursor->line_end = NULL;
    }
    if (cursor->at == cursor->end)
        return false;
    if (cursor->line_end == NULL)
        cursor->line_end = find_line_end(cursor);
    size_t length = (size_t)(cursor->line_end - cursor->at);
    /* Where the disk was full for a moment, a record follows one that has no end. */
    const char *other = memmem(cursor->at + 1, length - 1, beginning, sizeof beginning - 1);
    if (other != NULL)
        length = (size_t)(other - cursor->at);
    *bytes = cursor->at;
    *size = length;
    cursor->at += length;
    return true;
}

/* ---- What can be taken ---- */

/* A record may be cut within its members, and within the items of these; deeper only where an item is whole. */
enum { DEPTH_MAX = 2 };

struct cut {
    size_t size;           /* of what is whole; 0: nothing */
    char close[DEPTH_MAX]; /* the brackets to close */
    size_t depth;
};

struct scan {
    char open[DEPTH_MAX + 1]; /* by depth, from 1 */
    size_t depth;
    struct cut cut;
};

static void allow_cut(struct scan *scan, size_t size)
{
    if (scan->depth == 0 || scan->depth > DEPTH_MAX)
        return;
    scan->cut.size = size;
    scan->cut.depth = scan->depth;
    for (size_t n = 0; n < scan->depth; n++)
        scan->cut.close[n] = scan->open[scan->depth - n] == '{' ? '}' : ']';
}

/* The size of the text from its quotation mark on, 0 where it has no end. */
static size_t text_size(const char *bytes, size_t size)
{
    for (size_t n = 1; n < size; n++) {
        if (bytes[n] == '\\')
            n++;
        else if (bytes[n] == '"')
            return n + 1;
    }
    return 0;
}

/* False where nothing behind it can be right. */
static bool scan_bracket(struct scan *scan, char bracket, size_t at)
{
    if (bracket == '{' || bracket == '[') {
        scan->depth++;
        if (scan->depth <= DEPTH_MAX)
            scan->open[scan->depth] = bracket;
        allow_cut(scan, at + 1);
        return true;
    }
    char opening = bracket == '}' ? '{' : '[';
    if (scan->depth == 0 || (scan->depth <= DEPTH_MAX && scan->open[scan->depth] != opening))
        return false;
    scan->depth--;
    allow_cut(scan, at + 1);
    return scan->depth > 0;
}

/* The last place before limit where it may be cut. */
static struct cut find_cut(const char *bytes, size_t limit)
{
    struct scan scan = {.depth = 0};
    for (size_t n = 0; n < limit; n++) {
        size_t skipped;
        switch (bytes[n]) {
        case '"':
            skipped = text_size(bytes + n, limit - n);
            if (skipped == 0)
                return scan.cut;
            n += skipped - 1;
            break;
        case '{':
        case '[':
        case '}':
        case ']':
            if (!scan_bracket(&scan, bytes[n], n))
                return scan.cut;
            break;
        case ',':
            allow_cut(&scan, n);
            break;
        default:
            break;
        }
    }
    return scan.cut;
}

static bool is_of_number(char byte)
{
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' || byte == 'e' || byte == 'E';
}

/* Numbers that may be too large become null. */
static void blank_large_numbers(char *bytes, size_t size)
{
    enum { SAFE_DIGITS = 18 };
    static const char null[] = {'n', 'u', 'l', 'l'};
    for (size_t n = 0; n < size; n++) {
        if (bytes[n] == '"') {
            size_t skipped = text_size(bytes + n, size - n);
            n += skipped > 0 ? skipped - 1 : size - n;
            continue;
        }
        size_t length = 0;
        while (n + length < size && is_of_number(bytes[n + length]))
            length++;
        if (length >= sizeof null &&
            (length > SAFE_DIGITS || memchr(bytes + n, 'e', length) || memchr(bytes + n, 'E', length))) {
            memset(bytes + n, ' ', length);
            memcpy(bytes + n, null, sizeof null);
        }
        n += length > 0 ? length - 1 : 0;
    }
}

static size_t apply_cut(char *bytes, const struct cut *cut)
{
    memcpy(bytes + cut->size, cut->close, cut->depth);
    return cut->size + cut->depth;
}

/* Shorter and shorter, until it is right. */
static json_t *decode_copy(char *bytes, size_t size, bool *cut)
{
    enum { TRIES = 8 };
    json_error_t error;
    bool blanked = false;
    size_t limit = size;
    for (int tries = 0; tries < TRIES; tries++) {
        json_t *record = json_loadb(bytes, size, JSON_ALLOW_NUL, &error);
        if (record != NULL)
            return record;
        if (json_error_code(&error) == json_error_numeric_overflow && !blanked) {
            blank_large_numbers(bytes, size);
            blanked = true;
            continue;
        }
        size_t position = error.position > 0 ? (size_t)error.position : 0;
        struct cut found = find_cut(bytes, position < limit ? position : limit);
        if (found.size == 0)
            return NULL;
        limit = found.size - 1;
        size = apply_cut(bytes, &found);
        *cut = true;
    }
    return NULL;
}

json_t *record_decode(const char *bytes, size_t size, bool *cut)
{
    char *copy = malloc(size + DEPTH_MAX);
    *cut = false;
    if (copy == NULL)
        return NULL;
    memcpy(copy, bytes, size);
    json_t *record = decode_copy(copy, size, cut);
    free(copy);
    if (!json_is_object(record)) {
        json_decref(record);
        return NULL;
    }
    return record;
}
