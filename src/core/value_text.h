/*
 * Write the text of values into a caller's buffer: whole characters, or none and "..." at the end.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_VALUE_TEXT_H
#define PYUNW_CORE_VALUE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct value_text {
    char *buffer;
    size_t size; /* bytes of room, at least VALUE_TEXT_SIZE_MIN */
    size_t used;
    bool full; /* something did not fit: what follows is dropped */
};

enum { VALUE_TEXT_SIZE_MIN = 8 };

/* One piece, whole or not at all: complete characters of UTF-8. */
void pyunw_value_text_bytes(struct value_text *text, const char *bytes, size_t size);
void pyunw_value_text_string(struct value_text *text, const char *string);
void pyunw_value_text_hex(struct value_text *text, uint64_t value);

/* One character inside quotes, as repr() writes it: quote is ' or ", or 0 where none is to be escaped. */
void pyunw_value_text_quoted(struct value_text *text, uint32_t code_point, char quote);

/* The same of a byte of bytes. */
void pyunw_value_text_quoted_byte(struct value_text *text, uint8_t byte, char quote);

/* The length of the UTF-8 sequence at the beginning of bytes (RFC 3629), 0 where there is none. */
size_t pyunw_utf8_decode(const uint8_t *bytes, size_t size, uint32_t *code_point);

/* Put the NUL behind it, and "..." where something was dropped. The length. */
size_t pyunw_value_text_end(struct value_text *text);

#endif
