/*
 * The mappings of a core's process: its segments say what memory there was and which of it was dumped, its names
 * (NT_FILE) say which file it was of. The kernel writes a segment for every mapping; gdb none for what it leaves out.
 * Signal-safe: no.
 */
#include "core.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* ---- Files ---- */

/* Without the mark of a deleted file. */
static size_t length_of_path(const char *path)
{
    static const char mark[] = " (deleted)";
    size_t length = strlen(path);
    size_t rest = length > sizeof mark - 1 ? length - (sizeof mark - 1) : length;
    return strcmp(path + rest, mark) == 0 ? rest : length;
}

static bool begins_elf(const pyunw_core *core, pyunw_addr address)
{
    uint8_t magic[SELFMAG];
    return pyunw_core_read_dumped(core, address, magic, sizeof magic) == 0 && memcmp(magic, ELFMAG, SELFMAG) == 0;
}

static struct core_mapped *add_mapped(pyunw_core *core, const char *path)
{
    size_t count = core->mapped_count;
    if (count % 64 == 0) {
        struct core_mapped *grown = realloc(core->mapped, (count + 64) * sizeof *grown);
        if (grown == NULL)
            return NULL;
        core->mapped = grown;
    }
    struct core_mapped mapped = {.fd = -1, .path = strndup(path, length_of_path(path))};
    if (mapped.path == NULL)
        return NULL;
    core->mapped[core->mapped_count++] = mapped;
    return &core->mapped[count];
}

/* A mapping with a name. */
struct named {
    const char *path;
    size_t length; /* of the path without its mark */
    size_t index;  /* of the mapping */
};

static int by_path(const void *left, const void *right)
{
    const struct named *one = left;
    const struct named *other = right;
    if (one->length != other->length)
        return one->length < other->length ? -1 : 1;
    int order = memcmp(one->path, other->path, one->length);
    return order != 0 ? order : (one->index > other->index) - (one->index < other->index);
}

static bool has_same_path(const struct named *one, const struct named *other)
{
    return one->length == other->length && memcmp(one->path, other->path, one->length) == 0;
}

/*
 * One file a path, wherever else its mappings lie: of each mapping with a name, the first one that has its path. They
 * are sorted, since a process may have very many. To be freed; NULL where memory is short.
 */
static size_t *find_firsts(const struct process_maps *maps)
{
    size_t count = 0;
    struct named *list = calloc(maps->count + 1, sizeof *list);
    size_t *firsts = calloc(maps->count + 1, sizeof *firsts);
    for (size_t n = 0; list != NULL && n < maps->count; n++) {
        const char *path = maps->mappings[n].path;
        if (path[0] != '\0')
            list[count++] = (struct named){path, length_of_path(path), n};
    }
    if (list == NULL || firsts == NULL) {
        free(list);
        free(firsts);
        return NULL;
    }
    qsort(list, count, sizeof *list, by_path);
    for (size_t n = 0; n < count; n++) {
        bool is_first = n == 0 || !has_same_path(&list[n], &list[n - 1]);
        firsts[list[n].index] = is_first ? list[n].index : firsts[list[n - 1].index];
    }
    free(list);
    return firsts;
}

/* ---- Mappings ---- */

static bool append(pyunw_core *core, size_t *room, const struct mapping *mapping, const struct core_piece *piece)
{
    struct process_maps *maps = &core->maps;
    if (maps->count == *room) {
        size_t more = *room == 0 ? 256 : *room * 2;
        struct mapping *mappings = realloc(maps->mappings, more * sizeof *mappings);
        if (mappings != NULL)
            maps->mappings = mappings;
        struct core_piece *pieces = realloc(core->pieces, more * sizeof *pieces);
        if (pieces != NULL)
            core->pieces = pieces;
        if (mappings == NULL || pieces == NULL)
            return false;
        *room = more;
    }
    maps->mappings[maps->count] = *mapping;
    core->pieces[maps->count] = *piece;
    maps->count++;
    return true;
}

/* The stretch from begin to end, which is of at most one segment and one name. */
static bool add_stretch(pyunw_core *core, size_t *room, pyunw_addr begin, pyunw_addr end,
                        const struct core_segment *segment, const struct core_name *name)
{
    struct mapping mapping = {.begin = begin, .end = end, .readable = true};
    struct core_piece piece = {0};
    if (segment != NULL) {
        uint64_t into = begin - segment->begin;
        uint64_t size = end - begin;
        piece.at = segment->offset + into;
        piece.present = segment->present > into ? segment->present - into : 0;
        if (piece.present > size)
            piece.present = size;
        mapping.readable = (segment->flags & PF_R) != 0;
        mapping.writable = (segment->flags & PF_W) != 0;
    }
    if (name != NULL)
        mapping.offset = name->offset + (begin - name->begin);
    mapping.path = strdup(name != NULL ? name->path : "");
    if (mapping.path != NULL && append(core, room, &mapping, &piece))
        return true;
    free(mapping.path);
    return false;
}

static pyunw_addr next_bound(pyunw_addr at, pyunw_addr bound, pyunw_addr end)
{
    return bound > at && bound < end ? bound : end;
}

/* Go along both lists, which ascend, from bound to bound. */
static bool merge(pyunw_core *core)
{
    size_t room = 0;
    size_t segment = 0;
    size_t name = 0;
    pyunw_addr at = 0;
    while (segment < core->segment_count || name < core->name_count) {
        const struct core_segment *one = segment < core->segment_count ? &core->segments[segment] : NULL;
        const struct core_name *other = name < core->name_count ? &core->names[name] : NULL;
        pyunw_addr end = UINT64_MAX;
        if (one != NULL)
            end = next_bound(at, one->begin, next_bound(at, one->end, end));
        if (other != NULL)
            end = next_bound(at, other->begin, next_bound(at, other->end, end));
        bool in_segment = one != NULL && at >= one->begin && at < one->end;
        bool in_name = other != NULL && at >= other->begin && at < other->end;
        if ((in_segment || in_name) &&
            !add_stretch(core, &room, at, end, in_segment ? one : NULL, in_name ? other : NULL))
            return false;
        at = end;
        segment += one != NULL && one->end <= at;
        name += other != NULL && other->end <= at;
    }
    return true;
}

/* ---- Which file each mapping is of ---- */

/* first: the mapping that has the same path, which may be itself. */
static bool take_named(pyunw_core *core, struct mapping *mapping, const struct mapping *first, pyunw_addr *base)
{
    struct core_mapped *mapped = mapping == first ? add_mapped(core, mapping->path) : &core->mapped[first->inode - 1];
    if (mapped == NULL)
        return false;
    mapping->inode = (uint64_t)(mapped - core->mapped) + 1;
    mapping->deleted = strcmp(mapping->path, mapped->path) != 0;
    mapping->path[strlen(mapped->path)] = '\0';
    if (mapping->offset == 0)
        mapped->last_base = mapping->begin;
    *base = mapped->last_base;
    if (mapping->offset == 0 && mapped->begin == 0 && begins_elf(core, mapping->begin))
        mapped->begin = mapping->begin;
    return true;
}

/*
 * A core without names: what begins as an ELF file does is one, and what follows it may be of it, up to the next. So
 * its symbols and its data are found where they lie.
 */
static bool take_nameless(pyunw_core *core, struct mapping *mapping)
{
    if (begins_elf(core, mapping->begin)) {
        struct core_mapped *mapped = add_mapped(core, "");
        if (mapped == NULL)
            return false;
        mapped->begin = mapping->begin;
    }
    mapping->inode = core->mapped_count;
    if (core->mapped_count > 0)
        mapping->offset = mapping->begin - core->mapped[core->mapped_count - 1].begin;
    return true;
}

/* By this name /proc/PID/maps has it. */
static bool name_vdso(struct mapping *mapping)
{
    char *name = strdup("[vdso]");
    if (name == NULL)
        return false;
    free(mapping->path);
    mapping->path = name;
    return true;
}

int pyunw_core_make_maps(pyunw_core *core, const pyunw_core_options *options)
{
    bool good = merge(core);
    size_t *firsts = good ? find_firsts(&core->maps) : NULL;
    good = firsts != NULL;
    for (size_t n = 0; good && n < core->maps.count; n++) {
        struct mapping *mapping = &core->maps.mappings[n];
        if (core->name_count == 0)
            good = take_nameless(core, mapping);
        else if (mapping->path[0] != '\0')
            good = take_named(core, mapping, &core->maps.mappings[firsts[n]], &core->pieces[n].base);
        else if (mapping->begin == core->vdso)
            good = name_vdso(mapping);
    }
    free(firsts);
    return good ? PYUNW_OK
                : pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "no memory for the mappings of %s", core->path);
}
