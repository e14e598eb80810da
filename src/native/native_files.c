/*
 * The files that a process has mapped. A file is opened when a frame is first found in it. One that cannot be had (it
 * was deleted, and this process may not use /proc/PID/map_files; it is not on the machine that reads a core), and the
 * kernel's own (vdso), are taken from memory: unwind tables and dynamic symbols are among what is mapped.
 * Signal-safe: no.
 */
#include "native_files.h"

#include <stdlib.h>
#include <string.h>

/* ---- Reporting ---- */

static bool is_file(const struct mapping *mapping)
{
    return mapping->inode != 0 || strcmp(mapping->path, "[vdso]") == 0;
}

static bool is_same_file(const struct mapping *mapping, const struct mapping *other)
{
    return mapping->inode == other->inode && mapping->device == other->device &&
           strcmp(mapping->path, other->path) == 0;
}

/* How many mappings from this one on belong to its file; those behind the last of them do not. */
static size_t span_of_file(const struct process_maps *maps, size_t first)
{
    size_t last = first;
    for (size_t n = first + 1; n < maps->count; n++) {
        const struct mapping *mapping = &maps->mappings[n];
        bool begins = mapping->offset == 0 && mapping->inode != 0; /* mapped once more */
        if (is_file(mapping) && (begins || !is_same_file(mapping, &maps->mappings[first])))
            break;
        if (is_same_file(mapping, &maps->mappings[first]))
            last = n;
    }
    return last - first + 1;
}

static void report_file(struct native_file *file, Dwfl *dwfl)
{
    const struct mapping *first = &file->mappings[0];
    const struct mapping *last = &file->mappings[file->count - 1];
    void **data = NULL;
    Dwfl_Module *module = dwfl_report_module(dwfl, first->path, first->begin, last->end);
    if (module == NULL)
        return;
    (void)dwfl_module_info(module, &data, NULL, NULL, NULL, NULL, NULL, NULL);
    *data = file;
}

int pyunw_native_files_report(struct native_files *files, const struct source *source, Dwfl *dwfl)
{
    const struct process_maps *maps = source->maps;
    files->source = *source;
    files->files = calloc(maps->count + 1, sizeof *files->files);
    if (files->files == NULL)
        return PYUNW_ERR_SYSTEM;
    dwfl_report_begin(dwfl);
    for (size_t n = 0; n < maps->count; n++) {
        if (!is_file(&maps->mappings[n]))
            continue;
        struct native_file *file = &files->files[files->count++];
        *file = (struct native_file){.source = &files->source,
                                     .mappings = &maps->mappings[n],
                                     .count = span_of_file(maps, n),
                                     .debug_folder = files->debug_folder};
        report_file(file, dwfl);
        n += file->count - 1;
    }
    return dwfl_report_end(dwfl, NULL, NULL) == 0 ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}

void pyunw_native_files_free(struct native_files *files)
{
    for (size_t n = 0; n < files->count; n++)
        free(files->files[n].image);
    free(files->files);
    *files = (struct native_files){0};
}

/* ---- Files ---- */

/* The bytes that the mappings reach to in the file; 0: too many. */
static size_t image_size(const struct native_file *file)
{
    static const uint64_t most = UINT64_C(1) << 30;
    uint64_t size = 0;
    for (size_t n = 0; n < file->count; n++) {
        const struct mapping *mapping = &file->mappings[n];
        uint64_t length = mapping->end - mapping->begin;
        if (!is_same_file(mapping, &file->mappings[0]))
            continue;
        /* A core file may say of each what it likes: their sum must not wrap. */
        if (mapping->offset > most || length > most - mapping->offset)
            return 0;
        if (mapping->offset + length > size)
            size = mapping->offset + length;
    }
    return (size_t)size;
}

/*
 * All of it: what is missing may be the tables. What was written to since is not as it is in the file; neither tables
 * nor symbols are.
 */
static bool read_image(const struct native_file *file, uint8_t *image)
{
    for (size_t n = 0; n < file->count; n++) {
        const struct mapping *mapping = &file->mappings[n];
        if (!is_same_file(mapping, &file->mappings[0]) || !mapping->readable)
            continue;
        if (source_read(file->source, mapping->begin, image + mapping->offset, mapping->end - mapping->begin) < 0)
            return false;
    }
    return true;
}

/* Sections lie where nothing is mapped, but for the vdso's. */
static void forget_sections(uint8_t *image, size_t size)
{
    Elf64_Ehdr header;
    if (size < sizeof header)
        return;
    memcpy(&header, image, sizeof header);
    if (header.e_shoff <= size && (uint64_t)header.e_shnum * header.e_shentsize <= size - header.e_shoff)
        return;
    header.e_shoff = 0;
    header.e_shnum = 0;
    header.e_shstrndx = 0;
    memcpy(image, &header, sizeof header);
}

static Elf *make_image(struct native_file *file)
{
    size_t size = image_size(file);
    if (size < sizeof(Elf64_Ehdr) || file->mappings[0].offset != 0)
        return NULL;
    file->image = calloc(1, size);
    if (file->image == NULL || !read_image(file, file->image) || memcmp(file->image, ELFMAG, SELFMAG) != 0)
        return NULL;
    forget_sections(file->image, size);
    return elf_memory(file->image, size);
}

int pyunw_native_files_find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file_name,
                                Elf **elf)
{
    struct native_file *file = *data;
    (void)module;
    (void)base;
    const struct source *source = file->source;
    int fd = file->mappings[0].inode != 0 ? source->open_file(source->files, &file->mappings[0]) : -1;
    if (fd < 0 && file->image == NULL)
        *elf = make_image(file);
    /* Debuginfo is looked for beside the file of this name. Without a file libdwfl would open it, whatever has it now.
     */
    *file_name = fd >= 0 || *elf != NULL ? strdup(name) : NULL;
    return fd;
}
