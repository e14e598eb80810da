/*
 * Read the static data of a loaded file.
 * Signal-safe: no.
 */
#include "static_data.h"

#include <stdlib.h>

enum { LONG_DATA = 1 << 24, PAGE = 4096 };

static bool is_of_file(const struct mapping *mapping, const struct mapping *first)
{
    bool of_file = mapping->inode == first->inode && mapping->device == first->device && mapping->offset != 0;
    bool behind_it = mapping->inode == 0 && mapping->path[0] == '\0' && mapping->begin == mapping[-1].end;
    return of_file || behind_it;
}

static bool is_data(const struct mapping *mapping)
{
    return mapping->readable && mapping->writable && !mapping->shared;
}

/* Take up the next writable mappings, as one. */
static bool begin_run(const struct source *source, const struct mapping *first, struct static_data *data)
{
    const struct mapping *end = source->maps->mappings + source->maps->count;
    while (data->next < end && is_of_file(data->next, first)) {
        const struct mapping *mapping = data->next++;
        if (!is_data(mapping))
            continue;
        data->left = mapping->end - mapping->begin;
        data->at = mapping->begin;
        while (data->next < end && is_of_file(data->next, first) && is_data(data->next) &&
               data->next->begin == data->at + data->left) {
            data->left += data->next->end - data->next->begin;
            data->next++;
        }
        if (data->left > LONG_DATA)
            data->left = LONG_DATA;
        return true;
    }
    return false;
}

/*
 * As many bytes as can be read from data->at on. Mostly all; a page that cannot be, since a core file does not have it,
 * or since its file ends before it, hides no other.
 */
static size_t read_readable(const struct source *source, const struct static_data *data, size_t most)
{
    if (source_read(source, data->at, data->bytes, most) == 0)
        return most;
    size_t size = 0;
    while (size < most) {
        size_t part = PAGE - (size_t)((data->at + size) % PAGE);
        if (part > most - size)
            part = most - size;
        if (source_read(source, data->at + size, data->bytes + size, part) < 0)
            break;
        size += part;
    }
    return size;
}

static void go_on(struct static_data *data, size_t size)
{
    data->at += size;
    data->left -= size;
}

static void pass_page(struct static_data *data)
{
    size_t size = PAGE - (size_t)(data->at % PAGE);
    go_on(data, size < data->left ? size : data->left);
}

/*
 * Pass the pages that cannot be read: a core file may claim very many, and have none of them. False where no other can
 * be read either: the process has ended, or enough was read.
 */
static bool pass_unreadable(const struct source *source, struct static_data *data)
{
    uint8_t byte;
    int err = PYUNW_ERR_FAULT;
    while (data->left > 0 && (err = source_read(source, data->at, &byte, 1)) == PYUNW_ERR_FAULT)
        pass_page(data);
    return data->left == 0 || err == PYUNW_OK;
}

bool pyunw_static_data_next(const struct source *source, const struct mapping *first, struct static_data *data)
{
    free(data->bytes);
    data->bytes = NULL;
    while (data->left > 0 || begin_run(source, first, data)) {
        if (!pass_unreadable(source, data))
            return false;
        size_t most = data->left;
        if (most == 0)
            continue;
        data->bytes = malloc(most);
        if (data->bytes == NULL)
            return false;
        data->begin = data->at;
        data->size = read_readable(source, data, most);
        go_on(data, data->size);
        if (data->size > 0)
            return true;
        /* It was there a moment ago. */
        free(data->bytes);
        data->bytes = NULL;
        pass_page(data);
    }
    return false;
}
