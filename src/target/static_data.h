/*
 * The static data of a loaded file, as it is now.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_STATIC_DATA_H
#define PYUNW_TARGET_STATIC_DATA_H

#include "source.h"

#include <stddef.h>

/*
 * Writable mappings that follow each other without a gap, as one, but for pages that cannot be read: what stands behind
 * those is another piece. Begin with {.next = first + 1}.
 */
struct static_data {
    const struct mapping *next;
    pyunw_addr at; /* where the next piece is looked for */
    size_t left;   /* bytes of these mappings from there on */
    pyunw_addr begin;
    uint8_t *bytes; /* freed by the next call */
    size_t size;
};

/*
 * The next piece of the file whose offset 0 is mapped by first: its writable mappings, and the nameless one behind them
 * (.bss). False at the end. To be called until then.
 */
bool pyunw_static_data_next(const struct source *source, const struct mapping *first, struct static_data *data);

#endif
