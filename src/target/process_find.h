/*
 * Find the interpreters of a process that runs, or of which a core file is left.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_FIND_H
#define PYUNW_TARGET_PROCESS_FIND_H

#include "interpreter_marks.h"
#include "source.h"

enum { MANY_INTERPRETERS = 8 };

/* What a search of a process found, with loaded addresses. */
struct process_found {
    struct found_interpreter interpreters[MANY_INTERPRETERS];
    int count;
    uint32_t old_version; /* of an interpreter without a _PyRuntime (before 3.7); 0: none, or unknown */
    bool has_old;         /* there is such an interpreter */
    bool has_pypy;
    uint32_t hidden_version; /* of a CPython whose texts are there, and whose runtime is not to be found; 0: none */
    bool has_hidden;         /* it is one for certain: it exports its functions, and has no symbol of its runtime */
    bool is_cut;             /* there was more to be searched than is searched */
    int files;               /* ELF files that were looked at */
    int unreadable;          /* files that could neither be opened nor read in the process's memory */
};

/*
 * Look at every ELF file that is mapped, whatever its name; then, where none has said anything, for the cookie in the
 * writable data, and for what only a runtime can be (3.8 to 3.12), as far as a search may go. 0, or
 * PYUNW_ERR_PERMISSION where the process's memory is refused.
 */
int pyunw_process_find(const struct source *source, struct process_found *found);

/*
 * Only look for interpreters whose symbols the dynamic linker knows, as most are: in memory alone, by few reads of a
 * source that looks ahead. What is not found may be there all the same.
 */
void pyunw_process_find_exported(const struct source *source, struct process_found *found);

#endif
