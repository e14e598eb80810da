/*
 * The files that a core's process had mapped: found on this machine, or below another root, and used only where their
 * build id is the one that the core itself holds in the first page of the mapping.
 * Signal-safe: no.
 */
#include "core.h"
#include "process_elf.h"
#include "regular_file.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_PAGE = 4096, LONG_HEAD = 1 << 16 };

/* ---- What the core holds of a file ---- */

/* The bytes from a file's beginning on that were dumped, at most LONG_HEAD. To be freed; NULL: none. */
static char *read_head(const pyunw_core *core, const struct core_mapped *mapped, size_t *size)
{
    const struct mapping *mapping = mapped->begin != 0 ? pyunw_process_maps_find(&core->maps, mapped->begin) : NULL;
    if (mapping == NULL)
        return NULL;
    uint64_t present = core->pieces[mapping - core->maps.mappings].present;
    *size = present < LONG_HEAD ? (size_t)present : LONG_HEAD;
    char *head = malloc(*size + 1);
    if (head != NULL && pyunw_core_read_dumped(core, mapped->begin, head, *size) == 0)
        return head;
    free(head);
    return NULL;
}

static void read_id_in_core(const pyunw_core *core, struct core_mapped *mapped)
{
    size_t size = 0;
    char *head = read_head(core, mapped, &size);
    Elf *elf = head != NULL ? elf_memory(head, size) : NULL;
    (void)pyunw_build_id_of(elf, &mapped->in_core);
    (void)elf_end(elf);
    free(head);
}

/*
 * A file whose build id the core has not, or that has none, is told by its program headers: where and how large its
 * segments are. More of its first page may be changed once it is loaded.
 */
static bool has_same_headers(const pyunw_core *core, const struct core_mapped *mapped, int fd)
{
    Elf64_Ehdr header;
    uint8_t there[FIRST_PAGE];
    size_t size = 0;
    char *head = read_head(core, mapped, &size);
    bool same = head != NULL && size >= sizeof header;
    if (same) {
        memcpy(&header, head, sizeof header);
        uint64_t end = header.e_phoff + (uint64_t)header.e_phnum * header.e_phentsize;
        same = header.e_phoff <= sizeof there && end <= size && end <= sizeof there &&
               pyunw_core_bytes(core, fd, 0, there, sizeof header > end ? sizeof header : (size_t)end) &&
               memcmp(head, there, sizeof header) == 0 &&
               memcmp(head + header.e_phoff, there + header.e_phoff, (size_t)(end - header.e_phoff)) == 0;
    }
    free(head);
    return same;
}

/* ---- One file on disk ---- */

/* Its first bytes, at most LONG_HEAD. To be freed; NULL: they cannot be had (errno). */
static char *read_head_of_file(const pyunw_core *core, int fd, size_t *size)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return NULL;
    *size = about.st_size < LONG_HEAD ? (size_t)about.st_size : LONG_HEAD;
    char *head = malloc(*size + 1);
    if (head != NULL && pyunw_core_bytes(core, fd, 0, head, *size))
        return head;
    errno = head != NULL ? EIO : ENOMEM;
    free(head);
    return NULL;
}

/* libelf does not tell a read that fails from what is not there: it is given bytes that were read. */
static void read_id_of_file(const char *head, size_t size, int fd, struct build_id *id)
{
    Elf *elf = elf_memory((char *)head, size);
    bool found = pyunw_build_id_of(elf, id);
    (void)elf_end(elf);
    if (found || size < LONG_HEAD)
        return;
    elf = elf_begin(fd, ELF_C_READ, NULL); /* its notes may be further on */
    (void)pyunw_build_id_of(elf, id);
    (void)elf_end(elf);
}

static int open_elf(const pyunw_core *core, const char *path, struct build_id *id)
{
    size_t size = 0;
    int fd = regular_file_open(path);
    char *head = fd >= 0 ? read_head_of_file(core, fd, &size) : NULL;
    int error = errno;
    if (head != NULL && pyunw_elf_kind_of(head, size) == ELF_KIND_OWN) {
        read_id_of_file(head, size, fd, id);
        free(head);
        return fd;
    }
    if (head != NULL)
        error = ENOEXEC;
    free(head);
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* error: of open_elf(). */
static const char *why_no_elf(int error)
{
    switch (error) {
    case ENOEXEC:
        return "not an ELF file of 64 bits";
    case EISDIR:
        return "a folder";
    case ENXIO:
        return "a pipe or a device";
    default:
        return strerror(error);
    }
}

static void add_written(struct core_mapped *mapped, const struct core_written *written)
{
    struct core_written *last = &mapped->written[WRITTEN_MAX - 1];
    if (mapped->written_count < WRITTEN_MAX)
        mapped->written[mapped->written_count++] = *written;
    else if (written->end > last->end) /* segments ascend */
        last->end = written->end;
}

static void take_written(Elf *elf, size_t count, struct core_mapped *mapped)
{
    GElf_Phdr segment;
    bool has_first = false;
    pyunw_addr first = 0; /* the address that the file gives to its offset 0 */
    uint64_t in_page = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
    mapped->written_count = 0;
    for (size_t n = 0; n < count; n++) {
        if (gelf_getphdr(elf, (int)n, &segment) == NULL || segment.p_type != PT_LOAD)
            continue;
        if (!has_first)
            first = (segment.p_vaddr - segment.p_offset) & ~in_page;
        has_first = true;
        const struct core_written written = {.begin = (segment.p_vaddr & ~in_page) - first,
                                             .end = segment.p_vaddr + segment.p_memsz - first,
                                             .offset = segment.p_offset & ~in_page};
        if ((segment.p_flags & PF_W) != 0)
            add_written(mapped, &written);
    }
}

static bool take_segments(Elf *elf, struct core_mapped *mapped)
{
    size_t count = 0;
    GElf_Phdr segment;
    bool good = elf != NULL && elf_getphdrnum(elf, &count) == 0 &&
                (count == 0 || gelf_getphdr(elf, 0, &segment) != NULL); /* all are read with the first */
    if (good)
        take_written(elf, count, mapped);
    (void)elf_end(elf);
    return good;
}

/* False: what is written to is not known, and so no byte of the file can be used. */
static bool read_written(const pyunw_core *core, int fd, struct core_mapped *mapped)
{
    size_t size = 0;
    char *head = read_head_of_file(core, fd, &size);
    bool good = head != NULL && (take_segments(elf_memory(head, size), mapped) ||
                                 take_segments(elf_begin(fd, ELF_C_READ, NULL), mapped));
    free(head);
    return good;
}

static bool same_id(const struct build_id *one, const struct build_id *other)
{
    return one->size == other->size && memcmp(one->bytes, other->bytes, one->size) == 0;
}

static int judge(const pyunw_core *core, const struct core_mapped *mapped, int fd, const struct build_id *id)
{
    if (mapped->in_core.size > 0)
        return same_id(&mapped->in_core, id) ? PYUNW_CORE_FILE_MATCHES : PYUNW_CORE_FILE_DIFFERS;
    if (mapped->begin == 0)
        return PYUNW_CORE_FILE_UNCHECKED;
    return has_same_headers(core, mapped, fd) ? PYUNW_CORE_FILE_UNCHECKED : PYUNW_CORE_FILE_DIFFERS;
}

/* Take the file at path for the mapped one, if it is. What is not there is no reason to forget what differs elsewhere.
 */
static bool try_path(const pyunw_core *core, struct core_mapped *mapped, const char *path)
{
    struct build_id id;
    int fd = open_elf(core, path, &id);
    if (fd < 0)
        return false;
    int state = judge(core, mapped, fd, &id);
    bool good = state == PYUNW_CORE_FILE_MATCHES || state == PYUNW_CORE_FILE_UNCHECKED;
    if (good && !read_written(core, fd, mapped)) {
        close(fd);
        return false;
    }
    if (good || mapped->state == PYUNW_CORE_FILE_MISSING) {
        free(mapped->found);
        mapped->found = strdup(path);
        mapped->state = state;
        mapped->on_disk = id;
    }
    if (good)
        mapped->fd = fd;
    else
        close(fd);
    return good;
}

/* ---- Where it may be ---- */

/* DIR/.build-id/xx/yyyyyy and a suffix. */
static bool id_path(const char *folder, const struct build_id *id, const char *suffix, char path[PATH_MAX])
{
    char text[BUILD_ID_TEXT];
    if (id->size < 2)
        return false;
    pyunw_build_id_text(id, text);
    return snprintf(path, PATH_MAX, "%s/.build-id/%.2s/%s%s", folder, text, text + 2, suffix) < PATH_MAX;
}

static const char *debug_folder(const pyunw_core *core)
{
    return core->debug_dir != NULL ? core->debug_dir : "/usr/lib/debug";
}

/* Of separate debug information only the symbols are used: the bytes that a program maps are not in it. */
static void find_symbols(const pyunw_core *core, struct core_mapped *mapped)
{
    char path[PATH_MAX];
    struct build_id id;
    const char *folder = debug_folder(core);
    for (int n = 0; n < 2 && mapped->symbols == NULL && mapped->in_core.size > 0; n++) {
        bool named = n == 0 ? id_path(folder, &mapped->in_core, ".debug", path)
                            : snprintf(path, sizeof path, "%s%s.debug", folder, mapped->path) < (int)sizeof path;
        int fd = named ? open_elf(core, path, &id) : -1;
        if (fd >= 0 && same_id(&id, &mapped->in_core))
            mapped->symbols = strdup(path);
        if (fd >= 0)
            close(fd);
    }
}

static void find_file(const pyunw_core *core, struct core_mapped *mapped)
{
    char path[PATH_MAX];
    const char *root = core->sysroot != NULL ? core->sysroot : "";
    bool named = mapped->path[0] == '/' && snprintf(path, sizeof path, "%s%s", root, mapped->path) < (int)sizeof path;
    if (named && try_path(core, mapped, path))
        return;
    if (id_path(debug_folder(core), &mapped->in_core, "", path))
        (void)try_path(core, mapped, path);
}

/* ---- The executable ---- */

static int find_executable(const pyunw_core *core)
{
    const struct mapping *mapping = core->headers != 0 ? pyunw_process_maps_find(&core->maps, core->headers) : NULL;
    return mapping != NULL && mapping->inode != 0 ? (int)mapping->inode - 1 : -1;
}

/* Where the core does not say which file is the executable: the one of that build id. */
static int find_by_id(const pyunw_core *core, const char *path)
{
    struct build_id id;
    int fd = open_elf(core, path, &id);
    int found = -1;
    for (size_t n = 0; fd >= 0 && found < 0 && n < core->mapped_count; n++) {
        const struct core_mapped *mapped = &core->mapped[n];
        if (mapped->begin != 0 && judge(core, mapped, fd, &id) != PYUNW_CORE_FILE_DIFFERS)
            found = (int)n;
    }
    if (fd >= 0)
        close(fd);
    return found;
}

static const char *id_or_none(const struct build_id *id, char text[BUILD_ID_TEXT])
{
    pyunw_build_id_text(id, text);
    return id->size > 0 ? text : "none";
}

static int take_executable(pyunw_core *core, const pyunw_core_options *options)
{
    char wanted[BUILD_ID_TEXT];
    char given[BUILD_ID_TEXT];
    struct build_id id;
    const char *path = options->executable;
    int fd = open_elf(core, path, &id);
    if (fd < 0)
        return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT, "%s is no executable for this processor: %s", path,
                                 why_no_elf(errno));
    close(fd);
    if (core->executable < 0)
        core->executable = find_by_id(core, path);
    if (core->executable < 0)
        return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT,
                                 "%s is not the executable of %s: its build id is %s, and no file in the core has that",
                                 path, core->path, id_or_none(&id, given));
    struct core_mapped *mapped = &core->mapped[core->executable];
    if (try_path(core, mapped, path))
        return PYUNW_OK;
    return pyunw_core_refuse(
        options, PYUNW_ERR_ARGUMENT,
        "%s is not the executable of %s: its build id is %s, that of %s in the core %s. Give the file that ran, or none",
        path, core->path, id_or_none(&id, given), mapped->path[0] != '\0' ? mapped->path : "the executable",
        id_or_none(&mapped->in_core, wanted));
}

int pyunw_core_find_files(pyunw_core *core, const pyunw_core_options *options)
{
    for (size_t n = 0; n < core->mapped_count; n++)
        read_id_in_core(core, &core->mapped[n]);
    core->executable = find_executable(core);
    int err = options->executable != NULL ? take_executable(core, options) : PYUNW_OK;
    for (size_t n = 0; err == PYUNW_OK && n < core->mapped_count; n++) {
        if (core->mapped[n].fd < 0)
            find_file(core, &core->mapped[n]);
        find_symbols(core, &core->mapped[n]);
    }
    return err;
}
