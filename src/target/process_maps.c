/*
 * Read /proc/PID/maps. A path is the last field of its line; the kernel writes a newline in it as \012.
 * Signal-safe: no.
 */
#include "process_maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { MANY_MAPPINGS = 1 << 20 };

/* In place: \012 to a newline, and the mark of a deleted file off. */
static bool take_path(char *path)
{
    static const char mark[] = " (deleted)";
    char *to = path;
    for (const char *from = path; *from != '\0'; to++) {
        *to = *from;
        if (strncmp(from, "\\012", 4) == 0) {
            *to = '\n';
            from += 3;
        }
        from++;
    }
    *to = '\0';
    size_t length = (size_t)(to - path);
    if (length < sizeof mark || strcmp(to - (sizeof mark - 1), mark) != 0)
        return false;
    to[-(ptrdiff_t)(sizeof mark - 1)] = '\0';
    return true;
}

static bool parse_line(char *line, struct mapping *mapping)
{
    char access[5] = "";
    unsigned device[2] = {0, 0};
    int path_at = 0;
    /* NOLINTNEXTLINE(cert-err34-c): the kernel writes these numbers, and what does not fit them is refused below */
    int fields = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &mapping->begin,
                        &mapping->end, access, &mapping->offset, &device[0], &device[1], &mapping->inode, &path_at);
    if (fields != 7 || path_at == 0 || mapping->begin >= mapping->end)
        return false;
    line[strcspn(line, "\n")] = '\0';
    mapping->device = makedev(device[0], device[1]);
    mapping->readable = access[0] == 'r';
    mapping->writable = access[1] == 'w';
    mapping->shared = access[3] == 's';
    mapping->deleted = take_path(line + path_at);
    mapping->path = strdup(line + path_at);
    return mapping->path != NULL;
}

static bool add_mapping(struct process_maps *maps, size_t *room, const struct mapping *mapping)
{
    if (maps->count == *room) {
        size_t more = *room == 0 ? 64 : *room * 2;
        struct mapping *grown = realloc(maps->mappings, more * sizeof *grown);
        if (grown == NULL)
            return false;
        maps->mappings = grown;
        *room = more;
    }
    maps->mappings[maps->count++] = *mapping;
    return true;
}

static int err_from_errno(int error)
{
    if (error == ENOENT || error == ESRCH)
        return PYUNW_ERR_NO_PROCESS;
    return error == EACCES || error == EPERM ? PYUNW_ERR_PERMISSION : PYUNW_ERR_SYSTEM;
}

static int read_lines(FILE *file, struct process_maps *maps)
{
    char *line = NULL;
    size_t line_room = 0;
    size_t room = 0;
    int err = PYUNW_OK;
    errno = 0;
    while (err == PYUNW_OK && maps->count < MANY_MAPPINGS && getline(&line, &line_room, file) > 0) {
        struct mapping mapping = {0};
        if (!parse_line(line, &mapping))
            continue;
        if (!add_mapping(maps, &room, &mapping)) {
            free(mapping.path);
            err = PYUNW_ERR_SYSTEM;
        }
    }
    if (ferror(file))
        err = err_from_errno(errno);
    free(line);
    return err;
}

int pyunw_process_maps_read(pid_t pid, struct process_maps *maps)
{
    char path[64];
    *maps = (struct process_maps){.pid = pid};
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_from_errno(errno);
    /* The kernel gives no more than a page at once. */
    char buffer[4096];
    (void)setvbuf(file, buffer, _IOFBF, sizeof buffer);
    int err = read_lines(file, maps);
    (void)fclose(file);
    if (err < 0)
        pyunw_process_maps_free(maps);
    return err;
}

void pyunw_process_maps_free(struct process_maps *maps)
{
    for (size_t n = 0; n < maps->count; n++)
        free(maps->mappings[n].path);
    free(maps->mappings);
    *maps = (struct process_maps){0};
}

const struct mapping *pyunw_process_maps_find(const struct process_maps *maps, pyunw_addr address)
{
    size_t low = 0;
    size_t high = maps->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct mapping *mapping = &maps->mappings[middle];
        if (address < mapping->begin)
            high = middle;
        else if (address >= mapping->end)
            low = middle + 1;
        else
            return mapping;
    }
    return NULL;
}
