/*
 * Look for an interpreter in an ELF file: dynamic symbols, the symbol table, the section .PyRuntime. The file is read
 * and not mapped: one that is cut off meanwhile must not end the reader.
 * Signal-safe: no.
 */
#include "process_elf.h"

#include "version_text.h"

#include <gelf.h>
#include <libelf.h>
#include <unistd.h>

enum elf_kind pyunw_elf_kind_of(const void *head, size_t size)
{
    Elf64_Ehdr header = {.e_type = ET_NONE}; /* what is looked at lies at the same place in a 32-bit one */
    if (size < sizeof(Elf32_Ehdr))
        return ELF_KIND_NONE;
    memcpy(&header, head, size < sizeof header ? size : sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return ELF_KIND_NONE;
    if (header.e_machine != OWN_ELF_MACHINE && header.e_ident[EI_CLASS] == ELFCLASS64)
        return ELF_KIND_OTHER_MACHINE;
    return header.e_ident[EI_CLASS] == ELFCLASS64 ? ELF_KIND_OWN : ELF_KIND_32_BIT;
}

enum elf_kind pyunw_elf_kind(int fd)
{
    uint8_t head[sizeof(Elf64_Ehdr)];
    ssize_t size = pread(fd, head, sizeof head, 0);
    return pyunw_elf_kind_of(head, size > 0 ? (size_t)size : 0);
}

/* ---- Symbols and sections ---- */

void pyunw_elf_take_symbol(struct elf_marks *marks, const char *name, pyunw_addr value, uint64_t size)
{
    const struct {
        const char *name;
        pyunw_addr *address;
    } wanted[] = {
        {"_PyRuntime", &marks->found.runtime},
        {"PyCode_Type", &marks->found.code_type},
        {"PyUnicode_Type", &marks->found.text_type},
        {"Py_Version", &marks->version_at},
    };
    for (size_t n = 0; n < sizeof wanted / sizeof wanted[0]; n++) {
        if (strcmp(name, wanted[n].name) == 0 && *wanted[n].address == 0)
            *wanted[n].address = value;
    }
    if (strcmp(name, "_PyRuntime") == 0 && marks->found.runtime_size == 0)
        marks->found.runtime_size = size;
    if (strcmp(name, "Py_GetVersion") == 0)
        marks->exports_python = true;
    /* RPython's entry points (rpython/translator/c/src/entrypoint.c). */
    if (strcmp(name, "pypy_main_startup") == 0 || strcmp(name, "rpython_startup_code") == 0)
        marks->is_pypy = true;
}

static void take_symbols(Elf *elf, Elf_Scn *section, const GElf_Shdr *header, struct elf_marks *marks)
{
    enum { MANY_SYMBOLS = 1 << 24 };
    Elf_Data *data = elf_getdata(section, NULL);
    size_t entry = gelf_fsize(elf, ELF_T_SYM, 1, EV_CURRENT);
    GElf_Sym symbol;
    if (data == NULL || entry == 0)
        return;
    for (size_t n = 0; n < data->d_size / entry && n < MANY_SYMBOLS; n++) {
        if (gelf_getsym(data, (int)n, &symbol) == NULL || symbol.st_shndx == SHN_UNDEF || symbol.st_value == 0)
            continue;
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (name != NULL)
            pyunw_elf_take_symbol(marks, name, symbol.st_value, symbol.st_size);
    }
}

static void take_sections_of_type(Elf *elf, uint32_t type, struct elf_marks *marks)
{
    GElf_Shdr header;
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section != NULL; section = elf_nextscn(elf, section)) {
        if (gelf_getshdr(section, &header) != NULL && header.sh_type == type)
            take_symbols(elf, section, &header, marks);
    }
}

/* .PyRuntime: 3.10+ (Python/pylifecycle.c); survives strip(1). */
static void take_runtime_section(Elf *elf, struct elf_marks *marks)
{
    size_t names = 0;
    GElf_Shdr header;
    if (elf_getshdrstrndx(elf, &names) != 0)
        return;
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section != NULL; section = elf_nextscn(elf, section)) {
        if (gelf_getshdr(section, &header) == NULL || header.sh_addr == 0)
            continue;
        const char *name = elf_strptr(elf, names, header.sh_name);
        if (name != NULL && strcmp(name, ".PyRuntime") == 0) {
            marks->found.runtime = header.sh_addr;
            marks->found.runtime_size = header.sh_size;
        }
    }
}

/* ---- Where it is loaded ---- */

/* The bias: where offset 0 is mapped, less the address that the file gives it. */
static bool find_bias(Elf *elf, pyunw_addr begin, pyunw_addr *bias)
{
    size_t count = 0;
    GElf_Phdr segment;
    pyunw_addr page = (pyunw_addr)sysconf(_SC_PAGESIZE);
    if (elf_getphdrnum(elf, &count) != 0)
        return false;
    for (size_t n = 0; n < count; n++) {
        if (gelf_getphdr(elf, (int)n, &segment) == NULL || segment.p_type != PT_LOAD || segment.p_offset >= page)
            continue;
        *bias = begin - ((segment.p_vaddr - segment.p_offset) & ~(page - 1));
        return true;
    }
    return false;
}

bool pyunw_elf_look(int fd, pyunw_addr begin, struct elf_marks *marks)
{
    *marks = (struct elf_marks){0};
    if (pyunw_elf_kind(fd) != ELF_KIND_OWN || elf_version(EV_CURRENT) == EV_NONE)
        return false;
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    bool good = elf != NULL && elf_kind(elf) == ELF_K_ELF && find_bias(elf, begin, &marks->bias);
    if (good) {
        take_sections_of_type(elf, SHT_DYNSYM, marks);
        if (marks->found.runtime == 0)
            take_sections_of_type(elf, SHT_SYMTAB, marks);
        if (marks->found.runtime == 0)
            take_runtime_section(elf, marks);
    }
    (void)elf_end(elf);
    return good;
}

/* ---- The version as a text ---- */

static void search_segment(struct version_search *search, int fd, const GElf_Phdr *segment)
{
    enum { PIECE = 1 << 16 };
    static const uint64_t long_segment = UINT64_C(1) << 28;
    uint64_t size = segment->p_filesz < long_segment ? segment->p_filesz : long_segment;
    char *piece = malloc(PIECE);
    for (uint64_t at = 0; piece != NULL && at < size; at += PIECE - VERSION_TEXT_MAX) {
        size_t wanted = size - at < PIECE ? (size_t)(size - at) : PIECE;
        ssize_t n = pread(fd, piece, wanted, (off_t)(segment->p_offset + at));
        if (n <= 0)
            break;
        pyunw_version_search(search, piece, (size_t)n, at == 0);
    }
    free(piece);
}

uint32_t pyunw_elf_find_version_text(int fd, uint32_t minor)
{
    struct version_search search = {.minor = minor};
    size_t count = 0;
    GElf_Phdr segment;
    Elf *elf = elf_version(EV_CURRENT) != EV_NONE ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
    if (elf != NULL && elf_getphdrnum(elf, &count) == 0) {
        for (size_t n = 0; n < count; n++) {
            if (gelf_getphdr(elf, (int)n, &segment) != NULL && segment.p_type == PT_LOAD &&
                (segment.p_flags & PF_W) == 0)
                search_segment(&search, fd, &segment);
        }
    }
    (void)elf_end(elf);
    return version_found(&search);
}
