/*
 * Separate debug information of a mapped file: by its build id below the debug folder, else by its name beside the file
 * or below that folder. libdwfl's own search opens whatever has such a name, and waits for ever where that is a pipe.
 * Nothing comes from a network, for which a process would stand.
 * Signal-safe: no.
 */
#include "native_debuginfo.h"

#include "native_files.h"
#include "regular_file.h"

#include <elfutils/libdwelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* What a file must agree with: its build id, else the checksum of all of it. */
struct wanted {
    const uint8_t *id;
    size_t id_size; /* 0: none */
    bool has_sum;
    uint32_t sum;
    const char *file; /* the mapped one, which is no debug information of its own; NULL: none */
    char **found;     /* out: the path of what was opened, to be freed */
};

/* ---- Is it that file? ---- */

static bool has_id(int fd, const struct wanted *wanted)
{
    const void *id = NULL;
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    ssize_t size = elf != NULL ? dwelf_elf_gnu_build_id(elf, &id) : -1;
    bool same = size == (ssize_t)wanted->id_size && memcmp(id, wanted->id, wanted->id_size) == 0;
    (void)elf_end(elf);
    return same;
}

static bool has_sum(int fd, uint32_t wanted)
{
    uint8_t piece[1 << 14];
    ssize_t n = 0;
    uLong sum = crc32(0, NULL, 0);
    for (off_t at = 0; (n = pread(fd, piece, sizeof piece, at)) > 0; at += n)
        sum = crc32(sum, piece, (uInt)n);
    return n == 0 && sum == wanted;
}

static bool is_file(int fd, const char *path)
{
    struct stat one;
    struct stat other;
    return path != NULL && fstat(fd, &one) == 0 && stat(path, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

static int open_wanted(const char *path, const struct wanted *wanted)
{
    int fd = regular_file_open(path);
    if (fd < 0)
        return -1;
    if (!is_file(fd, wanted->file) &&
        (wanted->id_size > 0 ? has_id(fd, wanted) : wanted->has_sum && has_sum(fd, wanted->sum))) {
        *wanted->found = strdup(path);
        return fd;
    }
    (void)close(fd);
    return -1;
}

/* ---- Where it may be ---- */

static int open_by_id(const char *folder, const struct wanted *wanted)
{
    enum { LONG_ID = 64 };
    char path[PATH_MAX];
    char text[2 * LONG_ID + 1] = "";
    if (wanted->id_size < 2 || wanted->id_size > LONG_ID)
        return -1;
    for (size_t n = 0; n < wanted->id_size; n++)
        (void)snprintf(text + 2 * n, 3, "%02x", wanted->id[n]);
    int length = snprintf(path, sizeof path, "%s/.build-id/%.2s/%s.debug", folder, text, text + 2);
    return length < (int)sizeof path ? open_wanted(path, wanted) : -1;
}

/* Beside file, whose name ends at the last slash of it. */
static int open_beside(const char *folder, const char *file, const char *name, const struct wanted *wanted)
{
    char path[PATH_MAX];
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;
    if (slash == NULL)
        return -1;
    const struct {
        const char *before;
        const char *behind;
    } places[] = {{"", ""}, {"", "/.debug"}, {folder, ""}};
    int fd = -1;
    for (size_t n = 0; fd < 0 && n < sizeof places / sizeof places[0]; n++) {
        int length = snprintf(path, sizeof path, "%s%.*s%s/%s", places[n].before, (int)(slash - file), file,
                              places[n].behind, name);
        if (length < (int)sizeof path)
            fd = open_wanted(path, wanted);
    }
    return fd;
}

/* A link to the file may lie elsewhere than the file. */
static int open_by_name(const char *folder, const char *file, const char *name, const struct wanted *wanted)
{
    int fd = open_beside(folder, file, name, wanted);
    char *real = fd < 0 && file != NULL ? realpath(file, NULL) : NULL;
    if (real != NULL && strcmp(real, file) != 0)
        fd = open_beside(folder, real, name, wanted);
    free(real);
    return fd;
}

/* ---- What is asked for ---- */

static int find_own(Dwfl_Module *module, const char *folder, const char *file, const char *link, GElf_Word sum,
                    char **found)
{
    char name[PATH_MAX];
    GElf_Addr at = 0;
    struct wanted wanted = {.has_sum = link != NULL, .sum = sum, .file = file, .found = found};
    int size = dwfl_module_build_id(module, &wanted.id, &at);
    wanted.id_size = size > 0 ? (size_t)size : 0;
    int fd = open_by_id(folder, &wanted);
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;
    if (fd >= 0 || slash == NULL || strlen(slash + 1) > NAME_MAX)
        return fd;
    (void)snprintf(name, sizeof name, "%s.debug", slash + 1);
    return open_by_name(folder, file, link != NULL ? link : name, &wanted);
}

/* What several files' debug information has in common (dwz): its name is absolute, or as seen from theirs. */
static int find_common(Dwarf *debuginfo, const char *folder, const char *file, char **found)
{
    const char *name = NULL;
    const void *id = NULL;
    ssize_t size = dwelf_dwarf_gnu_debugaltlink(debuginfo, &name, &id);
    if (size <= 0)
        return -1;
    const struct wanted wanted = {.id = id, .id_size = (size_t)size, .found = found};
    int fd = open_by_id(folder, &wanted);
    if (fd < 0)
        fd = name[0] == '/' ? open_wanted(name, &wanted) : open_by_name(folder, file, name, &wanted);
    return fd;
}

int pyunw_native_find_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                                const char *link, GElf_Word link_check, char **found)
{
    struct native_file *of = *data;
    const char *folder = of->debug_folder != NULL ? of->debug_folder : "/usr/lib/debug";
    Dwarf_Addr bias = 0;
    (void)name, (void)base;
    *found = NULL; /* where nothing is found, libdwfl would open that */
    if (of->is_asked)
        return -1;
    /* Asked once more with a name and no sum, it is for what is in common. A sum may be 0: the answer asks again. */
    of->is_asked = true;
    Dwarf *debuginfo = link != NULL && link_check == 0 ? dwfl_module_getdwarf(module, &bias) : NULL;
    of->is_asked = false;
    return debuginfo != NULL ? find_common(debuginfo, folder, file, found)
                             : find_own(module, folder, file, link, link_check, found);
}
