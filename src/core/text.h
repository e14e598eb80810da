/*
 * Read CPython's str objects: every form of every version, as code points or as UTF-8.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_TEXT_H
#define PYUNW_CORE_TEXT_H

#include "target.h"

/* Bounds on foreign lengths: longer than any name or path, which are read whole; longer than any str in memory. */
enum { MAX_TEXT = 1 << 24 };
static const uint64_t MAX_STR = UINT64_C(1) << 40;

/* Where the characters of a str object are. */
struct text {
    const struct memory *memory;
    pyunw_addr data;
    uint64_t length;      /* code points */
    uint8_t width;        /* bytes in one: 1, 2 or 4 */
    bool ascii;           /* all below 128, so the object says */
    uint16_t buffered;    /* bytes of data that buffer holds already, from the first one */
    uint16_t buffered_at; /* where in buffer they begin */
    uint8_t buffer[80];
};

/*
 * Look at a str object: 0, PYUNW_ERR_FAULT, or PYUNW_ERR_CORRUPT where it is none, or has bound or more characters
 * (MAX_TEXT, or MAX_STR where only a part of it will be read).
 */
int pyunw_text_open(const struct target *target, const struct memory *memory, pyunw_addr object, uint64_t bound,
                    struct text *text);

/* Code points in order, a buffer at a time. */
struct text_reader {
    const struct text *text;
    uint64_t index; /* of the code point to be given next */
    uint64_t first; /* of the code points in the buffer */
    uint64_t count; /* code points in the buffer */
    int error;
    uint8_t buffer[32];
};

void pyunw_text_begin(const struct text *text, uint64_t index, struct text_reader *reader);

/* 1 for one more, 0 at the end, PYUNW_ERR_FAULT, PYUNW_ERR_CORRUPT for what is no code point. */
int pyunw_text_next(struct text_reader *reader, uint32_t *code_point);

/* Can the first so many code points be read, or all where there are fewer? Of a text that says it is ASCII, too. */
bool pyunw_text_can_be_read(const struct text *text, uint64_t count);

/* Which part of a text that does not fit is kept. */
enum text_keep { TEXT_KEEP_BEGINNING, TEXT_KEEP_END };

/*
 * Write as UTF-8, with a NUL behind it, what fits into size bytes (at least 1), cut between characters. A lone
 * surrogate becomes \udcXX. *length: bytes written. *truncated: something was left out.
 */
int pyunw_text_to_utf8(const struct text *text, enum text_keep keep, char *buffer, size_t size, size_t *length,
                       bool *truncated);

/*
 * The common case at the price of its loads: a compact ASCII object of the type str itself, where plain or trapped
 * loads will do. False where it is none of that, or cannot be read: pyunw_text_open() tells.
 */
bool pyunw_text_copy_ascii(const struct target *target, const struct memory *memory, pyunw_addr object,
                           enum text_keep keep, char *buffer, size_t size, size_t *length, bool *truncated);

/* Bytes that the whole text takes as UTF-8. */
int pyunw_text_utf8_length(const struct text *text, size_t *length);

static inline char hex_digit(uint64_t value)
{
    return "0123456789abcdef"[value & 15u];
}

/* Encode one code point as pyunw_text_to_utf8() does: 1 to 6 bytes. */
size_t pyunw_utf8_encode(uint32_t code_point, char out[6]);

#endif
