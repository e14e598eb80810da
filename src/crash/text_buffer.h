/*
 * Texts made in a buffer of the caller's: the core's output, which is not written to a descriptor.
 * Signal-safe: yes. Include from: crash.
 */
#ifndef PYUNW_CRASH_TEXT_BUFFER_H
#define PYUNW_CRASH_TEXT_BUFFER_H

#include "output.h"

#include <stddef.h>
#include <stdint.h>

/* size: of the buffer, which must have room for all and a NUL. */
static inline void text_begin(struct output *text, char *buffer, size_t size)
{
    pyunw_output_begin_with(text, -1, buffer, size);
    buffer[0] = '\0';
}

static inline void text_end(struct output *text)
{
    text->buffer[text->used < text->size ? text->used : text->size - 1] = '\0';
}

/* A number of 0 or more, with zeros before it up to so many digits (1 to 6). */
static inline void put_padded(struct output *output, const char *before, int64_t value, int digits)
{
    int64_t least = 1;
    for (int n = 1; n < digits; n++)
        least *= 10;
    pyunw_output_string(output, before);
    for (; least > 1 && value < least; least /= 10)
        pyunw_output_string(output, "0");
    pyunw_output_decimal(output, value);
}

#endif
