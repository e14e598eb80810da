/*
 * What every fuzz target is made of.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

uint64_t take_number(struct input *input, size_t size)
{
    uint64_t value = 0;
    for (size_t n = 0; n < size && input->left > 0; n++) {
        value |= (uint64_t)*input->at++ << 8 * n;
        input->left--;
    }
    return value;
}

bool is_utf8(const char *text, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t at = 0; at < size;) {
        uint32_t first = bytes[at];
        size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
        if (length == 0 || length > size - at)
            return false;
        uint32_t value = length == 1 ? first : first & (0x7fu >> length);
        for (size_t n = 1; n < length; n++) {
            if ((bytes[at + n] & 0xc0u) != 0x80)
                return false;
            value = value << 6 | (bytes[at + n] & 0x3fu);
        }
        if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
            return false;
        at += length;
    }
    return true;
}

void require_text(const char *buffer, size_t room, size_t length)
{
    REQUIRE(length < room);
    REQUIRE(buffer[length] == '\0');
    REQUIRE(is_utf8(buffer, length));
}

static int make_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(fd >= 0);
    return fd;
}

int file_of(const void *bytes, size_t size)
{
    int fd = make_file("input");
    REQUIRE(write(fd, bytes, size) == (ssize_t)size);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static int output = -1;
static size_t output_room;
static char *output_view;

int output_begin(size_t size)
{
    if (output < 0) {
        output = make_file("output");
        output_room = size;
        REQUIRE(ftruncate(output, (off_t)size) == 0);
        REQUIRE(fcntl(output, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0);
        output_view = mmap(NULL, size, PROT_READ, MAP_SHARED, output, 0);
        REQUIRE(output_view != MAP_FAILED);
    }
    REQUIRE(size == output_room);
    REQUIRE(lseek(output, 0, SEEK_SET) == 0);
    return output;
}

const char *output_bytes(size_t *size)
{
    off_t end = lseek(output, 0, SEEK_CUR);
    REQUIRE(end >= 0 && (size_t)end <= output_room);
    *size = (size_t)end;
    return output_view;
}
