/*
 * How many reads one call may take, of an image that holds what a fuzzer puts there (docs/fuzzing.md). Far above what
 * a sound interpreter takes, and far below what could be called endless.
 * Include from: fuzz.
 */
#ifndef PYUNW_FUZZ_ASK_BOUNDS_H
#define PYUNW_FUZZ_ASK_BOUNDS_H

#include "ask.h"
#include "fuzz.h"

enum {
    READS_OF_THREADS = 1000000,
    READS_OF_WALK = 1000000,
    READS_OF_CAPTURE = 1000000,
    READS_OF_DESCRIPTION = 1000000,
    READS_OF_LOCAL = 1000000,
    READS_OF_VALUE = 1000000,
    READS_OF_EXCEPTION = 1000000,
    READS_OF_WRITER = 4000000,
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
