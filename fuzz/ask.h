/*
 * Ask everything that the public interface tells of a target, and see that each answer keeps what the header says, be
 * the memory what it may. The snapshots are taken with the same questions, so that they hold what will be read.
 * Include from: fuzz.
 */
#ifndef PYUNW_FUZZ_ASK_H
#define PYUNW_FUZZ_ASK_H

#include "pyunwind.h"

#include <stdbool.h>

struct asked {
    const pyunw_target *target;
    const uint64_t *reads; /* the count of the target's reader; NULL: it has none */
    bool steady;           /* the memory does not change: what is asked twice is answered alike */
    uint64_t seen;         /* *reads when a call returned last */
    uint64_t most_reads;   /* by one call, so far */
};

/* The thread states, the stacks of the first few, and other, which need be none: an address to be taken for one. */
void ask_threads(struct asked *asked, pyunw_addr other);

/*
 * The variables and values in the stacks of the first few threads, and of object, which may be any address or 0; type:
 * what it says to be an instance of.
 */
void ask_values(struct asked *asked, pyunw_addr object, pyunw_addr type);

/* Once: what every function says of arguments that it does not allow, and the words of every error. */
void ask_arguments(void);

#endif
