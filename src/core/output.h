/*
 * Text to a file descriptor through a small buffer on the caller's stack.
 * Signal-safe: yes. Include from: core, cpython.
 */
#ifndef PYUNW_CORE_OUTPUT_H
#define PYUNW_CORE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

struct output {
    int fd;
    int error; /* 0, or PYUNW_ERR_WRITE: what follows is dropped */
    size_t used;
    char buffer[256];
};

void pyunw_output_begin(struct output *output, int fd);
void pyunw_output_bytes(struct output *output, const char *bytes, size_t size);
void pyunw_output_string(struct output *output, const char *text);
void pyunw_output_decimal(struct output *output, int64_t value);

/* Lower-case hexadecimal digits, filled up with zeros to at least digits (1 to 16). */
void pyunw_output_hex(struct output *output, uint64_t value, unsigned digits);

/* Write what is in the buffer: 0 or PYUNW_ERR_WRITE, also for all that was written before. */
int pyunw_output_flush(struct output *output);

#endif
