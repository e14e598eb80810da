/*
 * Find the interpreter of the own process.
 * Signal-safe: no.
 */
#include "find_self.h"
#include "process_lock.h"
#include "regular_file.h"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- Symbols ---- */

/* Py_Version is a constant of 3.11+; Py_GetVersion() of any version may be called before Py_Initialize. */
static uint32_t version_from(const unsigned long *constant, const char *(*function)(void))
{
    if (constant != NULL)
        return (uint32_t)*constant;
    if (function == NULL)
        return 0;
    /* Each call writes the text anew, into one buffer. */
    static process_lock writing;
    process_lock_take(&writing);
    const char *text = function();
    uint32_t version = text != NULL ? version_from_text(text) : 0;
    process_lock_give_back(&writing);
    return version;
}

static bool find_by_symbol(void *handle, struct found_interpreter *found)
{
    const char *(*get_version)(void) = NULL;
    void *symbol = dlsym(handle, "Py_GetVersion");
    memcpy(&get_version, &symbol, sizeof get_version);
    found->runtime = (pyunw_addr)(uintptr_t)dlsym(handle, "_PyRuntime");
    if (found->runtime == 0 && get_version == NULL)
        return false;
    found->has_version_only = found->runtime == 0;
    found->version = version_from(dlsym(handle, "Py_Version"), get_version);
    found->code_type = (pyunw_addr)(uintptr_t)dlsym(handle, "PyCode_Type");
    found->text_type = (pyunw_addr)(uintptr_t)dlsym(handle, "PyUnicode_Type");
    return true;
}

/* ---- Loaded objects ---- */

enum { MANY_OBJECTS = 4096, MANY_SEGMENTS = 16 };

struct loaded_object {
    char path[PATH_MAX]; /* "" for the executable */
    uintptr_t base;      /* what is to be added to addresses of the file */
    struct {
        uintptr_t begin;
        uintptr_t end;
    } writable[MANY_SEGMENTS];
    int writable_count;
};

struct object_search {
    int wanted;
    int seen;
    struct loaded_object *object;
};

/* Copies the wanted object's description out, so that nothing else happens under the dynamic linker's lock. */
static int copy_object(struct dl_phdr_info *info, size_t size, void *context)
{
    struct object_search *search = context;
    (void)size;
    if (search->seen++ != search->wanted)
        return 0;
    struct loaded_object *object = search->object;
    memset(object, 0, sizeof *object);
    object->base = info->dlpi_addr;
    if (info->dlpi_name != NULL && strlen(info->dlpi_name) < sizeof object->path)
        memcpy(object->path, info->dlpi_name, strlen(info->dlpi_name) + 1);
    for (int n = 0; n < info->dlpi_phnum && object->writable_count < MANY_SEGMENTS; n++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[n];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) == 0)
            continue;
        object->writable[object->writable_count].begin = info->dlpi_addr + segment->p_vaddr;
        object->writable[object->writable_count].end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        object->writable_count++;
    }
    return 1;
}

static bool get_object(int index, struct loaded_object *object)
{
    struct object_search search = {.wanted = index, .object = object};
    return dl_iterate_phdr(copy_object, &search) == 1;
}

/* A library that was loaded with RTLD_LOCAL is not among the global symbols: ask it by its own handle. */
static bool find_in_local_library(const struct loaded_object *object, struct found_interpreter *found)
{
    if (object->path[0] == '\0')
        return false;
    void *handle = dlopen(object->path, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return false;
    bool good = find_by_symbol(handle, found) && !found->has_version_only;
    dlclose(handle);
    return good;
}

/* ---- Sections: an interpreter inside a program that does not export it ---- */

struct elf_file {
    const uint8_t *bytes;
    size_t size;
};

static bool map_file(const char *path, struct elf_file *file)
{
    struct stat about;
    int fd = regular_file_open(path);
    if (fd < 0)
        return false;
    bool good = fstat(fd, &about) == 0 && about.st_size >= (off_t)sizeof(ElfW(Ehdr));
    void *bytes = good ? mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (bytes == MAP_FAILED)
        return false;
    *file = (struct elf_file){bytes, (size_t)about.st_size};
    return true;
}

static const void *file_part(const struct elf_file *file, uint64_t offset, uint64_t size)
{
    return offset <= file->size && size <= file->size - offset ? file->bytes + offset : NULL;
}

static const char *file_string(const struct elf_file *file, const ElfW(Shdr) * strings, uint64_t offset)
{
    const char *text = file_part(file, strings->sh_offset, strings->sh_size);
    if (text == NULL || offset >= strings->sh_size || memchr(text + offset, 0, strings->sh_size - offset) == NULL)
        return "";
    return text + offset;
}

static void take_symbol(const struct loaded_object *object, const char *name, const ElfW(Sym) * symbol,
                        struct found_interpreter *found)
{
    const struct {
        const char *name;
        pyunw_addr *address;
    } wanted[] = {
        {"_PyRuntime", &found->runtime},
        {"PyCode_Type", &found->code_type},
        {"PyUnicode_Type", &found->text_type},
    };
    if (symbol->st_shndx == SHN_UNDEF)
        return;
    pyunw_addr address = object->base + symbol->st_value;
    for (size_t n = 0; n < sizeof wanted / sizeof wanted[0]; n++) {
        if (strcmp(name, wanted[n].name) == 0)
            *wanted[n].address = address;
    }
    if (strcmp(name, "Py_Version") == 0)
        found->version = version_from((const unsigned long *)(uintptr_t)address, NULL);
    if (strcmp(name, "Py_GetVersion") == 0 && found->version == 0) {
        const char *(*function)(void) = NULL;
        memcpy(&function, &(uintptr_t){(uintptr_t)address}, sizeof function);
        found->version = version_from(NULL, function);
    }
    if (strcmp(name, "_PyRuntime") == 0)
        found->runtime_size = symbol->st_size;
}

static void take_symbol_table(const struct elf_file *file, const struct loaded_object *object,
                              const ElfW(Shdr) * sections, size_t count, const ElfW(Shdr) * table,
                              struct found_interpreter *found)
{
    const ElfW(Sym) *symbols = file_part(file, table->sh_offset, table->sh_size);
    if (symbols == NULL || table->sh_link >= count)
        return;
    for (size_t n = 0; n < table->sh_size / sizeof *symbols; n++)
        take_symbol(object, file_string(file, &sections[table->sh_link], symbols[n].st_name), &symbols[n], found);
}

static bool find_in_sections(const struct loaded_object *object, struct found_interpreter *found)
{
    struct elf_file file;
    *found = (struct found_interpreter){0};
    if (!map_file(object->path[0] == '\0' ? "/proc/self/exe" : object->path, &file))
        return false;
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)file.bytes;
    const ElfW(Shdr) *sections = NULL;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_shentsize == sizeof *sections)
        sections = file_part(&file, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections);
    for (size_t n = 0; sections != NULL && n < header->e_shnum && header->e_shstrndx < header->e_shnum; n++) {
        const ElfW(Shdr) *section = &sections[n];
        if (section->sh_type == SHT_SYMTAB)
            take_symbol_table(&file, object, sections, header->e_shnum, section, found);
        /* 3.10+ (Python/pylifecycle.c); survives strip(1). */
        if (strcmp(file_string(&file, &sections[header->e_shstrndx], section->sh_name), ".PyRuntime") == 0) {
            found->runtime = object->base + section->sh_addr;
            found->runtime_size = section->sh_size;
        }
    }
    munmap((void *)(uintptr_t)file.bytes, file.size);
    if (found->runtime != 0 && found->version == 0)
        found->version = version_from_size(found->runtime_size);
    return found->runtime != 0;
}

/* ---- The cookie ---- */

/*
 * The words are another object's data, and whatever lies between its variables: not for AddressSanitizer to judge.
 * Other threads may write them.
 */
__attribute__((no_sanitize_address)) static void copy_words(uintptr_t from, uint64_t *to, size_t count)
{
    for (size_t n = 0; n < count; n++)
        to[n] = __atomic_load_n((const uint64_t *)from + n, __ATOMIC_RELAXED);
}

static bool find_cookie(const struct loaded_object *object, struct found_interpreter *found)
{
    uint64_t words[COOKIE_SIZE / sizeof(uint64_t)];
    for (int n = 0; n < object->writable_count; n++) {
        uintptr_t at = (object->writable[n].begin + 7) & ~(uintptr_t)7;
        for (; at + COOKIE_SIZE <= object->writable[n].end; at += 8) {
            copy_words(at, words, sizeof words / sizeof words[0]);
            if (is_cookie((const uint8_t *)words)) {
                *found = (struct found_interpreter){.runtime = at};
                return true;
            }
        }
    }
    return false;
}

typedef bool find_function(const struct loaded_object *object, struct found_interpreter *found);

/* Search the loaded objects for an interpreter: the one whose _PyRuntime is wanted, or the first. */
static bool search_objects(find_function *find, pyunw_addr wanted, struct loaded_object *object,
                           struct found_interpreter *found)
{
    for (int n = 0; n < MANY_OBJECTS && get_object(n, object); n++) {
        if (find(object, found) && (wanted == 0 || found->runtime == wanted))
            return true;
    }
    return false;
}

int pyunw_find_self(pyunw_addr runtime, struct found_interpreter *found)
{
    static find_function *const ways[] = {find_in_local_library, find_in_sections, find_cookie};
    *found = (struct found_interpreter){0};
    bool good =
        find_by_symbol(RTLD_DEFAULT, found) && !found->has_version_only && (runtime == 0 || found->runtime == runtime);
    struct found_interpreter first = *found;
    struct loaded_object *object = good ? NULL : malloc(sizeof *object);
    for (size_t n = 0; object != NULL && !good && n < sizeof ways / sizeof ways[0]; n++)
        good = search_objects(ways[n], runtime, object, found);
    free(object);
    if (good)
        return PYUNW_OK;
    *found = first;
    return found->has_version_only && runtime == 0 ? PYUNW_OK : PYUNW_ERR_NO_PYTHON;
}
