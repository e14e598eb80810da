/*
 * Find the interpreters of a process: what its ELF files say, else the cookie.
 * Signal-safe: no.
 */
#include "process_find.h"

#include "process_dynamic.h"
#include "process_elf.h"
#include "process_invariants.h"
#include "static_data.h"
#include "version_text.h"

#include <unistd.h>

/* ---- What one file says ---- */

/* A runtime is an aligned structure in writable memory; a file that is only looked at by the program has none. */
static bool is_live(const struct process_maps *maps, const struct found_interpreter *interpreter)
{
    const struct mapping *mapping = pyunw_process_maps_find(maps, interpreter->runtime);
    return (interpreter->runtime & 7) == 0 && mapping != NULL && mapping->readable && mapping->writable;
}

static void add_interpreter(const struct process_maps *maps, const struct found_interpreter *interpreter,
                            struct process_found *found)
{
    if (!is_live(maps, interpreter) || found->count == MANY_INTERPRETERS)
        return;
    for (int n = 0; n < found->count; n++) {
        if (found->interpreters[n].runtime == interpreter->runtime)
            return;
    }
    found->interpreters[found->count++] = *interpreter;
}

static pyunw_addr loaded(const struct elf_marks *marks, pyunw_addr address)
{
    return address != 0 ? address + marks->bias : 0;
}

/*
 * Py_GetVersion() puts together "3.8.18 (default, ...)" in static data, when the interpreter is initialized.
 */
static uint32_t find_version_in_data(const struct source *source, const struct mapping *first, uint32_t minor)
{
    struct version_search search = {.minor = minor, .with_build = true};
    struct static_data data = {.next = first + 1};
    while (pyunw_static_data_next(source, first, &data))
        pyunw_version_search(&search, (const char *)data.bytes, data.size, false);
    return version_found(&search);
}

/*
 * From 3.11 on a constant tells the version. Before, the runtime's size tells the minor, which is all that its layout
 * takes, and a text the rest, where there is no doubt about it: in the data, else in the file.
 */
static uint32_t find_version(const struct source *source, const struct mapping *first, int fd,
                             const struct elf_marks *marks)
{
    uint64_t word = 0;
    if (marks->version_at != 0 && source_read(source, loaded(marks, marks->version_at), &word, sizeof word) == 0 &&
        word >> 32 == 0)
        return (uint32_t)word;
    uint32_t minor = version_from_size(marks->found.runtime_size);
    uint32_t version = find_version_in_data(source, first, minor);
    int file = version == 0 && fd < 0 ? source->open_file(source->files, first) : fd;
    if (version == 0 && file >= 0)
        version = pyunw_elf_find_version_text(file, minor);
    if (file >= 0 && file != fd)
        close(file);
    return version != 0 ? version : minor;
}

/* A CPython whose runtime no symbol names: one before 3.7, which has none, or one that keeps it hidden. */
static void take_nameless(uint32_t version, struct process_found *found)
{
    enum { FIRST_WITH_LAYOUT = 0x03080000 };
    if (version >= FIRST_WITH_LAYOUT) {
        found->has_hidden = true;
        found->hidden_version = version;
    } else {
        found->has_old = true;
        found->old_version = version;
    }
}

static void take_marks(const struct source *source, const struct mapping *mapping, int fd, struct elf_marks *marks,
                       struct process_found *found)
{
    struct found_interpreter *interpreter = &marks->found;
    found->files++;
    found->has_pypy = found->has_pypy || marks->is_pypy;
    if (interpreter->runtime == 0) {
        if (marks->exports_python && !marks->is_pypy)
            take_nameless(find_version(source, mapping, fd, marks), found);
        return;
    }
    interpreter->version = find_version(source, mapping, fd, marks);
    interpreter->runtime = loaded(marks, interpreter->runtime);
    interpreter->code_type = loaded(marks, interpreter->code_type);
    interpreter->text_type = loaded(marks, interpreter->text_type);
    add_interpreter(source->maps, interpreter, found);
}

/* A program is not loaded to where others could write to it; and to look there could make pages of a file of none. */
static bool may_begin_file(const struct mapping *mapping)
{
    return mapping->inode != 0 && mapping->offset == 0 && mapping->readable && !(mapping->shared && mapping->writable);
}

static bool begins_elf_file(const struct source *source, const struct mapping *mapping)
{
    uint8_t magic[SELFMAG];
    return may_begin_file(mapping) && source_read(source, mapping->begin, magic, sizeof magic) == 0 &&
           memcmp(magic, ELFMAG, SELFMAG) == 0;
}

static void look_at_file(const struct source *source, const struct mapping *mapping, struct process_found *found)
{
    struct elf_marks marks;
    int fd = source->open_file(source->files, mapping);
    if (fd >= 0) {
        if (pyunw_elf_look(fd, mapping->begin, &marks))
            take_marks(source, mapping, fd, &marks, found);
        close(fd);
    } else if (pyunw_dynamic_look(source, mapping->begin, &marks)) {
        take_marks(source, mapping, -1, &marks, found);
    } else {
        found->unreadable++;
    }
}

/* ---- The cookie ---- */

static void search_bytes(const struct source *source, pyunw_addr begin, const uint8_t *bytes, size_t size,
                         struct process_found *found)
{
    for (size_t at = 0; at + COOKIE_SIZE <= size; at += 8) {
        if (is_cookie(bytes + at)) {
            struct found_interpreter interpreter = {.runtime = begin + at};
            add_interpreter(source->maps, &interpreter, found);
        }
    }
}

/* It is read in pieces that overlap by a cookie. */
static void search_mapping(const struct source *source, const struct mapping *mapping, struct process_found *found)
{
    enum { PIECE = 1 << 16 };
    static const uint64_t long_data = UINT64_C(1) << 28;
    uint64_t size = mapping->end - mapping->begin;
    uint8_t *piece = malloc(PIECE);
    for (uint64_t at = 0; piece != NULL && at < size && at < long_data; at += PIECE - COOKIE_SIZE) {
        size_t wanted = size - at < PIECE ? (size_t)(size - at) : PIECE;
        if (source_read(source, mapping->begin + at, piece, wanted) < 0)
            break;
        search_bytes(source, mapping->begin + at, piece, wanted, found);
    }
    free(piece);
}

/*
 * Static data is a private, writable mapping of a file: to read what is shared could make pages of a file of none.
 * Those of ELF files come first, since a search has an end.
 */
static void search_cookie(const struct source *source, bool of_elf, struct process_found *found)
{
    const struct process_maps *maps = source->maps;
    const struct mapping *elf = NULL;
    for (size_t n = 0; n < maps->count && found->count == 0; n++) {
        const struct mapping *mapping = &maps->mappings[n];
        if (mapping->inode == 0 || !mapping->readable)
            continue;
        if (begins_elf_file(source, mapping))
            elf = mapping;
        bool is_of_elf = elf != NULL && mapping->inode == elf->inode && mapping->device == elf->device;
        if (mapping->writable && !mapping->shared && is_of_elf == of_elf)
            search_mapping(source, mapping, found);
    }
}

/* ---- Neither symbols, sections nor a cookie ---- */

static void search_invariants(const struct source *source, const struct mapping *first, struct process_found *found)
{
    struct version_search minors[] = {{.minor = 0x03080000},
                                      {.minor = 0x03090000},
                                      {.minor = 0x030a0000},
                                      {.minor = 0x030b0000},
                                      {.minor = 0x030c0000}};
    struct static_data data = {.next = first + 1};
    while (pyunw_static_data_next(source, first, &data)) {
        for (size_t n = 0; n < sizeof minors / sizeof minors[0]; n++) {
            minors[n].with_build = true;
            pyunw_version_search(&minors[n], (const char *)data.bytes, data.size, false);
        }
    }
    for (size_t n = 0; n < sizeof minors / sizeof minors[0]; n++) {
        struct found_interpreter interpreter = {.version = version_found(&minors[n])};
        if (interpreter.version == 0)
            continue;
        if (pyunw_invariants_find(source, first, &interpreter))
            add_interpreter(source->maps, &interpreter, found);
        else
            found->hidden_version = interpreter.version;
    }
}

/* ---- All of it, as far as it may go ---- */

struct metered {
    const struct source *source;
    uint64_t left; /* bytes, of which a read is some */
    bool *is_cut;
};

/* Any other error than that of bytes which are not there: so a search ends. */
static int read_metered(void *context, pyunw_addr address, void *buffer, size_t size)
{
    enum { A_READ = 1 << 10 }; /* a system call takes as long as to copy so many bytes */
    struct metered *metered = context;
    if (metered->left < size + A_READ) {
        metered->left = 0;
        *metered->is_cut = true;
        return PYUNW_ERR_SYSTEM;
    }
    metered->left -= size + A_READ;
    return source_read(metered->source, address, buffer, size);
}

/*
 * What names the interpreter is not found. A process may have mapped any amount, and what looks like a runtime may lead
 * anywhere: seconds have to do. Programs with hundreds of libraries have some hundred megabytes of static data.
 */
static void search_memory(const struct source *source, struct process_found *found)
{
    static const uint64_t most = UINT64_C(1) << 31; /* each time */
    const struct process_maps *maps = source->maps;
    struct metered metered = {source, most, &found->is_cut};
    struct source within = *source;
    within.read = read_metered;
    within.context = &metered;
    search_cookie(&within, true, found);
    bool told = found->count > 0 || (found->has_old && found->old_version != 0) || found->has_pypy;
    metered.left = most;
    for (size_t n = 0; n < maps->count && !told && metered.left > 0; n++) {
        if (begins_elf_file(&within, &maps->mappings[n]))
            search_invariants(&within, &maps->mappings[n], found);
    }
    metered.left = most;
    if (!told)
        search_cookie(&within, false, found);
}

int pyunw_process_find(const struct source *source, struct process_found *found)
{
    const struct process_maps *maps = source->maps;
    uint8_t byte = 0;
    *found = (struct process_found){0};
    for (size_t n = 0; n < maps->count; n++) {
        const struct mapping *mapping = &maps->mappings[n];
        if (n == 0 && source_read(source, mapping->begin, &byte, 1) == PYUNW_ERR_PERMISSION)
            return PYUNW_ERR_PERMISSION;
        if (begins_elf_file(source, mapping))
            look_at_file(source, mapping, found);
    }
    if (found->count == 0)
        search_memory(source, found);
    return PYUNW_OK;
}

void pyunw_process_find_exported(const struct source *source, struct process_found *found)
{
    enum { LOOKS = 16 }; /* headers, dynamic sections, hash tables' parts, symbols, names */
    const struct process_maps *maps = source->maps;
    struct elf_marks marks;
    int missing = 1;
    *found = (struct process_found){0};
    for (int look = 0; look < LOOKS && missing > 0; look++) {
        (void)source->look_ahead(source->context, true);
        for (size_t n = 0; n < maps->count; n++) {
            pyunw_addr begin = maps->mappings[n].begin;
            if (may_begin_file(&maps->mappings[n]) && pyunw_dynamic_has_runtime(source, begin))
                (void)pyunw_dynamic_look(source, begin, &marks);
        }
        missing = source->look_ahead(source->context, false);
    }
    for (size_t n = 0; n < maps->count; n++) {
        const struct mapping *mapping = &maps->mappings[n];
        if (may_begin_file(mapping) && pyunw_dynamic_has_runtime(source, mapping->begin) &&
            pyunw_dynamic_look(source, mapping->begin, &marks))
            take_marks(source, mapping, -1, &marks, found);
    }
}
