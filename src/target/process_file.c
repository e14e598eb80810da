/*
 * Open the file behind a mapping: by its name in the process's own root, which other mount namespaces need, by its
 * name here, or by the mapping itself, which works for deleted files too but needs CAP_CHECKPOINT_RESTORE. A name may
 * lead to another file by now, so that what was opened is compared with what is mapped.
 * Signal-safe: no.
 */
#include "process_file.h"

#include "process_read.h"
#include "regular_file.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * The same device and inode; else (overlay and btrfs tell mappings another device than files) the same first page,
 * which holds the ELF header, the program headers and mostly the build id.
 */
static bool is_mapped_file(pid_t pid, const struct mapping *mapping, int fd)
{
    uint8_t in_file[4096];
    uint8_t in_memory[4096];
    struct stat about;
    if (fstat(fd, &about) < 0)
        return false;
    if (about.st_dev == mapping->device && about.st_ino == mapping->inode)
        return true;
    return about.st_ino == mapping->inode && mapping->offset == 0 &&
           pread(fd, in_file, sizeof in_file, 0) == (ssize_t)sizeof in_file &&
           pyunw_process_read(pid, mapping->begin, in_memory, sizeof in_memory) == 0 &&
           memcmp(in_file, in_memory, sizeof in_file) == 0;
}

static int open_if_mapped(pid_t pid, const struct mapping *mapping, const char *path)
{
    int fd = regular_file_open(path);
    if (fd >= 0 && !is_mapped_file(pid, mapping, fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

int pyunw_process_file_open(pid_t pid, const struct mapping *mapping)
{
    char path[PATH_MAX + 64];
    int fd = -1;
    if (mapping->path[0] == '/' && !mapping->deleted && strlen(mapping->path) < PATH_MAX) {
        (void)snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, mapping->path);
        fd = open_if_mapped(pid, mapping, path);
        /* The kernel says a path as this process's own root sees it: in a chroot the two differ. */
        if (fd < 0)
            fd = open_if_mapped(pid, mapping, mapping->path);
    }
    if (fd < 0) {
        (void)snprintf(path, sizeof path, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, mapping->begin,
                       mapping->end);
        fd = open_if_mapped(pid, mapping, path);
    }
    return fd;
}
