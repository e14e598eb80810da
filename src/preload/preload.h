/*
 * The preloaded library's parts.
 * Signal-safe: no. Include from: preload.
 */
#ifndef PYUNW_PRELOAD_PRELOAD_H
#define PYUNW_PRELOAD_PRELOAD_H

#include "crash.h"

#include <stdbool.h>
#include <stdint.h>

/* A function that this library is called with the name of must be seen by others. */
#define PRELOAD_API __attribute__((visibility("default")))

/* The function of that name which would have been called without this library; NULL: there is none. */
void *preload_next(const char *name);

/* Is the crash tracker at work here? */
bool preload_is_installed(void);

/* Signals that are reported before the program's handlers see them: bit n - 1 for signal n. */
uint64_t preload_kept_first(void);

/* Install the crash tracker where an interpreter is in the executable or its libraries. */
void preload_find_interpreter(void);

/* The same, for the object that holds this address. */
void preload_find_interpreter_at(const void *address);

#endif
