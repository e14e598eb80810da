/*
 * Bytes of an input as memory: at one address, and nothing else.
 * Include from: fuzz.
 */
#ifndef PYUNW_FUZZ_BYTES_AT_H
#define PYUNW_FUZZ_BYTES_AT_H

#include "fuzz.h"

#include <pyunwind.h>
#include <string.h>

struct bytes_at {
    pyunw_addr address;
    const uint8_t *bytes;
    size_t size;
    uint64_t reads;
};

/* A pyunw_read_function; context is a struct bytes_at. */
static inline int read_bytes_at(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct bytes_at *at = context;
    at->reads++;
    REQUIRE(size > 0);
    if (address < at->address || address - at->address > at->size || size > at->size - (address - at->address))
        return PYUNW_ERR_FAULT;
    memcpy(buffer, at->bytes + (address - at->address), size);
    return 0;
}

#endif
