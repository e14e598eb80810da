/*
 * A digest over raw frames, by which two walks of one stack are compared without keeping the first.
 * Signal-safe: yes. Include from: core, cpython.
 */
#ifndef PYUNW_CORE_DIGEST_H
#define PYUNW_CORE_DIGEST_H

#include "pyunwind.h"

struct frame_digest {
    uint32_t count;
    uint64_t words;
};

static inline void digest_add(struct frame_digest *digest, const pyunw_raw_frame *raw)
{
    const uint64_t words[] = {raw->frame, raw->code, (uint64_t)(uint32_t)raw->offset};
    for (size_t n = 0; n < sizeof words / sizeof words[0]; n++)
        digest->words = ((digest->words ^ words[n]) * UINT64_C(0x9e3779b97f4a7c15)) ^ digest->words >> 29;
    digest->count++;
}

static inline int digest_equal(const struct frame_digest *a, const struct frame_digest *b)
{
    return a->count == b->count && a->words == b->words;
}

#endif
