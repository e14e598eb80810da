/*
 * What else is asked of a process whose structures are damaged, beside captures and thread lists: its exceptions, its
 * variables with their values, descriptions of frames that were known before, and the writers.
 * Include from: tests/flips.
 */
#ifndef PYUNW_TESTS_FLIPS_ASKS_H
#define PYUNW_TESTS_FLIPS_ASKS_H

#include "pyunwind.h"

#include <stdbool.h>

enum ask { ASK_EXCEPTION, ASK_VARIABLES, ASK_DESCRIPTIONS, ASK_WRITERS, ASK_THREADS, ASKS };

/* Buffers and a descriptor for all that follow, and the frames that ASK_DESCRIPTIONS goes by: those that stand now. */
int asks_open(const pyunw_target *target, pyunw_addr tstate);

/* NULL, or what no answer may be; *number says more of it. own: target reads the own process, by itself. */
const char *ask_else(enum ask ask, const pyunw_target *target, pyunw_addr tstate, bool own, long *number);

/* The last size bytes before memory that is not there; NULL where there is no room. */
void *before_end_of_memory(size_t size);

/* Does it end within size bytes, at length, and is it valid UTF-8? */
bool is_good_text(const char *text, size_t size, size_t length);

#endif
