/*
 * Read the static data of a loaded file.
 * Signal-safe: no.
 */
#include "static_data.h"

#include <stdlib.h>

enum { LONG_DATA = 1 << 24 };

static bool is_of_file(const struct mapping *mapping, const struct mapping *first)
{
    bool of_file = mapping->inode == first->inode && mapping->device == first->device && mapping->offset != 0;
    bool behind_it = mapping->inode == 0 && mapping->path[0] == '\0' && mapping->begin == mapping[-1].end;
    return of_file || behind_it;
}

static bool is_data(const struct mapping *mapping)
{
    return mapping->readable && mapping->writable;
}

bool pyunw_static_data_next(const struct source *source, const struct mapping *first, struct static_data *data)
{
    const struct mapping *end = source->maps->mappings + source->maps->count;
    free(data->bytes);
    data->bytes = NULL;
    while (data->next < end && is_of_file(data->next, first)) {
        const struct mapping *mapping = data->next++;
        if (!is_data(mapping))
            continue;
        pyunw_addr until = mapping->end;
        while (data->next < end && is_of_file(data->next, first) && is_data(data->next) && data->next->begin == until)
            until = data->next++->end;
        data->begin = mapping->begin;
        data->size = until - mapping->begin < LONG_DATA ? (size_t)(until - mapping->begin) : LONG_DATA;
        data->bytes = malloc(data->size);
        if (data->bytes != NULL && source_read(source, data->begin, data->bytes, data->size) == 0)
            return true;
        free(data->bytes);
        data->bytes = NULL;
    }
    return false;
}
