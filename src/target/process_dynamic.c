/*
 * Dynamic symbols as the process's own dynamic linker sees them: program headers, dynamic section, hash table. All of
 * it is foreign memory: copied, checked, bounded.
 * Signal-safe: no.
 */
#include "process_dynamic.h"

enum { MANY_SEGMENTS = 64, MANY_ENTRIES = 256, MANY_CHAINED = 4096 };

struct dynamic {
    const struct source *source;
    pyunw_addr bias;
    pyunw_addr symbols;
    pyunw_addr strings;
    pyunw_addr hash; /* DT_GNU_HASH */
};

static bool read_headers(const struct source *source, pyunw_addr begin, Elf64_Phdr *segments, size_t *count)
{
    Elf64_Ehdr header;
    if (source_read(source, begin, &header, sizeof header) < 0 || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != OWN_ELF_MACHINE ||
        header.e_phentsize != sizeof *segments || header.e_phnum == 0 || header.e_phnum > MANY_SEGMENTS)
        return false;
    *count = header.e_phnum;
    return source_read(source, begin + header.e_phoff, segments, *count * sizeof *segments) == 0;
}

/* glibc writes the loaded addresses into the section; others, and glibc for the vDSO, leave the file's. */
static pyunw_addr loaded(const struct dynamic *dynamic, pyunw_addr address)
{
    return address >= dynamic->bias ? address : address + dynamic->bias;
}

static bool read_dynamic_section(struct dynamic *dynamic, pyunw_addr address, uint64_t size)
{
    Elf64_Dyn entries[MANY_ENTRIES];
    size_t count = size < sizeof entries ? (size_t)size / sizeof entries[0] : MANY_ENTRIES;
    if (count == 0 || source_read(dynamic->source, address, entries, count * sizeof entries[0]) < 0)
        return false;
    for (size_t n = 0; n < count; n++) {
        switch (entries[n].d_tag) {
        case DT_NULL:
            return dynamic->symbols != 0 && dynamic->strings != 0 && dynamic->hash != 0;
        case DT_SYMTAB:
            dynamic->symbols = loaded(dynamic, entries[n].d_un.d_ptr);
            break;
        case DT_STRTAB:
            dynamic->strings = loaded(dynamic, entries[n].d_un.d_ptr);
            break;
        case DT_GNU_HASH:
            dynamic->hash = loaded(dynamic, entries[n].d_un.d_ptr);
            break;
        default:
            break;
        }
    }
    return false;
}

static bool find_dynamic(const struct source *source, pyunw_addr begin, struct dynamic *dynamic)
{
    Elf64_Phdr segments[MANY_SEGMENTS];
    size_t count = 0;
    const Elf64_Phdr *section = NULL;
    bool has_bias = false;
    *dynamic = (struct dynamic){.source = source};
    if (!read_headers(source, begin, segments, &count))
        return false;
    for (size_t n = 0; n < count; n++) {
        if (segments[n].p_type == PT_LOAD && segments[n].p_offset < 4096 && !has_bias) {
            dynamic->bias = begin - ((segments[n].p_vaddr - segments[n].p_offset) & ~UINT64_C(4095));
            has_bias = true;
        }
        if (segments[n].p_type == PT_DYNAMIC)
            section = &segments[n];
    }
    uint32_t head = 0; /* of the hash table: a core file may have the section, and not the tables */
    return has_bias && section != NULL &&
           read_dynamic_section(dynamic, section->p_vaddr + dynamic->bias, section->p_memsz) &&
           source_read(source, dynamic->hash, &head, sizeof head) == 0;
}

/* ---- One symbol ---- */

static uint32_t hash_name(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++)
        hash = hash * 33 + (uint8_t)*name;
    return hash;
}

static bool read_word(const struct dynamic *dynamic, pyunw_addr address, uint32_t *word)
{
    return source_read(dynamic->source, address, word, sizeof *word) == 0;
}

static bool is_named(const struct dynamic *dynamic, const Elf64_Sym *symbol, const char *name)
{
    char there[32];
    size_t size = strlen(name) + 1;
    return symbol->st_shndx != SHN_UNDEF && size <= sizeof there &&
           source_read(dynamic->source, dynamic->strings + symbol->st_name, there, size) == 0 &&
           memcmp(there, name, size) == 0;
}

/* May a name of this hash be in the table? Its filter (Bloom's) mostly says when it is not. */
static bool may_hold(const struct dynamic *dynamic, const uint32_t head[4], uint32_t hash)
{
    enum { BITS = 64 };
    uint64_t word = 0;
    if (head[2] == 0)
        return false;
    pyunw_addr at = dynamic->hash + 4 * sizeof *head + sizeof word * (uint64_t)(hash / BITS % head[2]);
    return source_read(dynamic->source, at, &word, sizeof word) == 0 && (word >> hash % BITS & 1u) != 0 &&
           (word >> (hash >> head[3] % 32u) % BITS & 1u) != 0;
}

/* The table: count of buckets, first symbol that is hashed, words of the filter, its shift; filter, buckets, chains. */
static bool find_symbol(const struct dynamic *dynamic, const char *name, Elf64_Sym *symbol)
{
    uint32_t head[4];
    uint32_t index = 0;
    uint32_t hash = hash_name(name);
    if (source_read(dynamic->source, dynamic->hash, head, sizeof head) < 0 || head[0] == 0 ||
        !may_hold(dynamic, head, hash))
        return false;
    pyunw_addr buckets = dynamic->hash + sizeof head + sizeof(uint64_t) * (uint64_t)head[2];
    pyunw_addr chains = buckets + sizeof(uint32_t) * (uint64_t)head[0];
    if (!read_word(dynamic, buckets + sizeof(uint32_t) * (hash % head[0]), &index) || index < head[1])
        return false;
    for (int n = 0; n < MANY_CHAINED; n++, index++) {
        uint32_t chained = 0;
        if (!read_word(dynamic, chains + sizeof(uint32_t) * (uint64_t)(index - head[1]), &chained))
            return false;
        if ((chained | 1u) == (hash | 1u) &&
            source_read(dynamic->source, dynamic->symbols + index * sizeof *symbol, symbol, sizeof *symbol) == 0 &&
            is_named(dynamic, symbol, name))
            return true;
        if ((chained & 1u) != 0)
            return false;
    }
    return false;
}

bool pyunw_dynamic_look(const struct source *source, pyunw_addr begin, struct elf_marks *marks)
{
    static const char *const names[] = {"_PyRuntime", "PyCode_Type",   "PyUnicode_Type",
                                        "Py_Version", "Py_GetVersion", "pypy_main_startup"};
    struct dynamic dynamic;
    Elf64_Sym symbol;
    *marks = (struct elf_marks){0};
    if (!find_dynamic(source, begin, &dynamic))
        return false;
    marks->bias = dynamic.bias;
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        if (find_symbol(&dynamic, names[n], &symbol))
            pyunw_elf_take_symbol(marks, names[n], symbol.st_value, symbol.st_size);
    }
    return true;
}

bool pyunw_dynamic_has_runtime(const struct source *source, pyunw_addr begin)
{
    struct dynamic dynamic;
    Elf64_Sym symbol;
    return find_dynamic(source, begin, &dynamic) && find_symbol(&dynamic, "_PyRuntime", &symbol);
}
