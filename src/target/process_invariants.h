/*
 * Find a runtime that nothing names.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_INVARIANTS_H
#define PYUNW_TARGET_PROCESS_INVARIANTS_H

#include "interpreter_marks.h"
#include "source.h"

/*
 * Search the static data of the file whose offset 0 is mapped by first for the _PyRuntime of a CPython 3.8 or 3.9 that
 * is initialized: found->version tells which. True, with found->runtime, where one place and no other is certain to be
 * it.
 */
bool pyunw_invariants_find(const struct source *source, const struct mapping *first, struct found_interpreter *found);

#endif
