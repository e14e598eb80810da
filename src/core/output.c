/*
 * Text to a file descriptor through a buffer.
 * Signal-safe: yes.
 */
#include "output.h"

#include "pyunwind.h"
#include "syscalls.h"

#include <errno.h>
#include <string.h>

void pyunw_output_begin_with(struct output *output, int fd, char *buffer, size_t size)
{
    output->fd = fd;
    output->error = PYUNW_OK;
    output->used = 0;
    output->size = size;
    output->buffer = buffer;
}

void pyunw_output_begin(struct output *output, int fd)
{
    pyunw_output_begin_with(output, fd, output->own, sizeof output->own);
}

int pyunw_output_flush(struct output *output)
{
    size_t done = 0;
    while (done < output->used && output->error == PYUNW_OK) {
        long n = raw_syscall3(SYS_write, output->fd, (long)(output->buffer + done), (long)(output->used - done));
        if (n > 0)
            done += (size_t)n;
        else if (n != -EINTR)
            output->error = PYUNW_ERR_WRITE;
    }
    output->used = 0;
    return output->error;
}

void pyunw_output_bytes(struct output *output, const char *bytes, size_t size)
{
    while (size > 0) {
        size_t room = output->size - output->used;
        size_t part = size < room ? size : room;
        memcpy(output->buffer + output->used, bytes, part);
        output->used += part;
        bytes += part;
        size -= part;
        if (output->used == output->size)
            pyunw_output_flush(output);
    }
}

void pyunw_output_string(struct output *output, const char *text)
{
    size_t size = 0;
    while (text[size] != '\0')
        size++;
    pyunw_output_bytes(output, text, size);
}

void pyunw_output_decimal(struct output *output, int64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    pyunw_output_bytes(output, digits + at, sizeof digits - at);
}

void pyunw_output_hex(struct output *output, uint64_t value, unsigned digits)
{
    char text[16];
    size_t at = sizeof text;
    do {
        text[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value > 0 || sizeof text - at < digits);
    pyunw_output_bytes(output, text + at, sizeof text - at);
}
