/*
 * The symbols of a loaded file, as they lie in memory.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_DYNAMIC_H
#define PYUNW_TARGET_PROCESS_DYNAMIC_H

#include "process_elf.h"
#include "source.h"

/*
 * Look at the ELF file whose offset 0 is mapped at begin, in the process's own memory: its dynamic symbols by their
 * hash table (DT_GNU_HASH). False where that is no ELF file for this architecture.
 */
bool pyunw_dynamic_look(const struct source *source, pyunw_addr begin, struct elf_marks *marks);

/* Does that file define _PyRuntime, as far as its hash table says? */
bool pyunw_dynamic_has_runtime(const struct source *source, pyunw_addr begin);

#endif
