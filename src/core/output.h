/*
 * Text to a file descriptor through a buffer: a small one on the caller's stack, or the caller's own.
 * Signal-safe: yes. Include from: core, cpython, crash, faulthandler.
 */
#ifndef PYUNW_CORE_OUTPUT_H
#define PYUNW_CORE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

struct output {
    int fd;
    int error; /* 0, or PYUNW_ERR_WRITE: what follows is dropped */
    size_t used;
    size_t size; /* of buffer */
    char *buffer;
    char own[256];
};

/* The output keeps a pointer into itself: it is not to be moved. */
void pyunw_output_begin(struct output *output, int fd);

/* With a buffer of the caller's: what fits into it is written at once. */
void pyunw_output_begin_with(struct output *output, int fd, char *buffer, size_t size);

void pyunw_output_bytes(struct output *output, const char *bytes, size_t size);
void pyunw_output_string(struct output *output, const char *text);
void pyunw_output_decimal(struct output *output, int64_t value);

/* Lower-case hexadecimal digits, filled up with zeros to at least digits (1 to 16). */
void pyunw_output_hex(struct output *output, uint64_t value, unsigned digits);

/* Write what is in the buffer: 0 or PYUNW_ERR_WRITE, also for all that was written before. */
int pyunw_output_flush(struct output *output);

#endif
