/*
 * What a person reads: text whose control characters are escaped, styles of a terminal, the line of a frame.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_PAGE_H
#define PYUNW_CLI_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum style { STYLE_PROCESS, STYLE_THREAD, STYLE_NAME, STYLE_NATIVE, STYLE_WARNING, STYLE_COUNT };

struct page {
    FILE *out;
    bool coloured;
};

void page_begin_style(const struct page *page, enum style style);
void page_end_style(const struct page *page);

/* "    (note)": what is missing, or not to be relied on. */
void page_note(const struct page *page, const char *note);

/* The length of the UTF-8 sequence at the beginning of bytes (RFC 3629), 0 where there is none. */
size_t utf8_length(const unsigned char *bytes, size_t size);

/*
 * Control characters of ASCII and of Latin-1 (U+0080 to U+009F) as \xNN, as is what is not UTF-8; those that break
 * lines, or change the order of what is around them (U+2028, U+202E and their like), as \uNNNN.
 */
void page_bytes(FILE *out, const char *text, size_t size);

struct line_text {
    const char *bytes; /* NULL: not known */
    size_t length;
    bool cut; /* it is longer than this */
};

struct frame_line {
    struct line_text function;
    struct line_text filename;
    struct line_text module; /* of a native frame */
    int64_t lineno;          /* less than 0: not known */
    uint64_t module_offset;
    uint64_t address;
};

/* "    function (file:line)" */
void page_python_frame(const struct page *page, const struct frame_line *frame);

/* Likewise, or function (module+0xoffset) where no debuginfo tells more. */
void page_native_frame(const struct page *page, const struct frame_line *frame);

/* "3 h 5 min" */
void page_uptime(FILE *out, double seconds);

#endif
