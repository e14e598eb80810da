/*
 * Where an interpreter is searched for, whatever it lies in: another process, or a core file.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_SOURCE_H
#define PYUNW_TARGET_SOURCE_H

#include "process_maps.h"

struct source {
    const struct process_maps *maps; /* borrowed */
    pyunw_read_function read;
    void *context; /* of read */
    /* A descriptor of the file behind a mapping, to be closed, or -1 where that file is not to be had. */
    int (*open_file)(void *files, const struct mapping *mapping);
    void *files; /* of open_file */
    /*
     * Of a reader that keeps pages, else NULL. true: from now on a read of what is not kept fails, and is noted. false:
     * all that was noted is read at once; the count of pages.
     */
    int (*look_ahead)(void *context, bool begin);
};

/* Copy size bytes from address, at least one, all or nothing. */
static inline int source_read(const struct source *source, pyunw_addr address, void *buffer, size_t size)
{
    return source->read(source->context, address, buffer, size);
}

#endif
