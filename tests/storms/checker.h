/*
 * Is a captured stack one that the program could have had? The program says beforehand which of its functions may
 * stand on which line and whom they may call from there; a stack is checked against that table frame by frame.
 *
 * The table is built at start-up (allocates); checking is signal-safe and takes no lock.
 */
#ifndef PYUNW_TESTS_STORMS_CHECKER_H
#define PYUNW_TESTS_STORMS_CHECKER_H

#include "pyunwind.h"

#include <stdbool.h>

enum verdict {
    VERDICT_UNKNOWN = 1,      /* a frame whose file, name and qualified name are no function's */
    VERDICT_WRONG_LINE = 2,   /* a function on a line that is not its own */
    VERDICT_STALE_LINE = 4,   /* a caller that calls this callee, but not from this line */
    VERDICT_ILLEGAL_PAIR = 8, /* a caller that never calls this callee */
    VERDICT_CUT = 16,         /* a complete stack whose outermost frame has a caller */
    VERDICT_DAMAGED = 32,     /* a frame that could not be described */
    VERDICT_LOST = 64,        /* no stack of a thread that has one: found by the storm, not by checker_check() */
};

enum function_flags {
    FUNCTION_BOTTOM = 1,   /* begins a stack */
    FUNCTION_ANYWHERE = 2, /* is called whenever an object dies: by anyone, from any line, or by nobody */
    FUNCTION_OWN = 4,      /* of a file all of whose functions are in the table */
};

/* Begin the table; each of these returns an id, counted from 0, or -1 where memory or room is short. */
int checker_begin(int functions, int spots);
int checker_add_function(const char *filename, const char *name, const char *qualname, int flags);
/* A line of a function; callees: a bitmap of function ids, its size as checker_begin() was told of functions. */
int checker_add_spot(int function, int line, const uint8_t *callees);

/* Frames of functions that are not in the table are good, and may call and be called by anyone. */
void checker_allow_foreign(void);

/* Bits of enum verdict, 0 for a good stack. *where, not NULL: index of the first bad frame. */
int checker_check(const pyunw_frame *frames, int count, bool complete, int *where);

#endif
