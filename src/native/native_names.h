/*
 * What lies at the address of a native frame, found once for each address: a search through a symbol table is long,
 * and stacks have most of their frames in common.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_NAMES_H
#define PYUNW_NATIVE_NATIVE_NAMES_H

#include "pyunwind.h"

#include <elfutils/libdwfl.h>
#include <stdbool.h>

/* Texts are owned by the Dwfl, but for one. */
struct native_name {
    pyunw_addr address; /* of an instruction; 0: not used yet */
    pyunw_addr function_offset;
    const char *function; /* NULL: not known */
    char *unversioned;    /* function, where the symbol has a version: the table's own */
    const char *filename; /* NULL: not known */
    int32_t lineno;       /* -1: not known */
    uint32_t flags;       /* enum pyunw_native_flags */
    bool calls_its_parts; /* a loop so small that each instruction must be a function of its own (3.14+) */
};

/* A table with open addressing, at most half full. Zero-filled: empty. */
struct native_names {
    struct native_name *entries;
    size_t room; /* a power of 2 */
    size_t count;
};

/* The name of what lies at address: valid until the next call. NULL where memory is short. */
const struct native_name *pyunw_native_names_find(struct native_names *names, Dwfl_Module *module, pyunw_addr address);

void pyunw_native_names_free(struct native_names *names);

#endif
