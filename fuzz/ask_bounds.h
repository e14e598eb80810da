/*
 * How many reads one call may take, of an image that holds what a fuzzer puts there: ten times as many as any input of
 * 64 KiB was seen to take, and more (docs/fuzzing.md). A chain of frames, or a text, takes as many as it is long.
 * Include from: fuzz.
 */
#ifndef PYUNW_FUZZ_ASK_BOUNDS_H
#define PYUNW_FUZZ_ASK_BOUNDS_H

#include "ask.h"
#include "fuzz.h"

enum {
    READS_OF_THREADS = 20000,
    READS_OF_WALK = 100000,
    READS_OF_CAPTURE = 100000,
    READS_OF_DESCRIPTION = 50000,
    READS_OF_LOCAL = 50000,
    READS_OF_VALUE = 20000,
    READS_OF_EXCEPTION = 50000,
    READS_OF_WRITER = 400000,
};

/* The thread states, at most max; how many. */
int list_threads(struct asked *asked, pyunw_addr *found, int max);

/* The result of a call that has taken no more reads than bound, since the one before. */
static inline int bounded(struct asked *asked, uint64_t bound, int result)
{
    uint64_t reads = asked->reads != NULL ? *asked->reads : 0;
    uint64_t taken = reads - asked->seen;
    asked->seen = reads;
    if (taken > asked->most_reads)
        asked->most_reads = taken;
    REQUIRE(taken <= bound);
    return result;
}

#endif
