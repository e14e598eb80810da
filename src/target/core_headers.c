/*
 * Is it a core file, and of this architecture? Its segments (PT_LOAD).
 * Signal-safe: no.
 */
#include "core.h"
#include "process_elf.h"

#include <gelf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- What it is ---- */

static int refuse_other_file(const pyunw_core *core, const pyunw_core_options *options, const uint8_t *head,
                             size_t size)
{
    static const struct {
        const char *magic;
        const char *what;
    } kinds[] = {
        {"\xfd"
         "7zXZ",
         "compressed by xz: unpack it first (xz -dk)"},
        {"BZh", "compressed by bzip2: unpack it first (bzip2 -dk)"},
        {"MDMP", "a minidump, not an ELF core file"},
        {"#!", "a script, not an ELF core file"},
    };
    if (size == 0)
        return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT, "%s is empty%s", core->path,
                                 core->is_cut ? " once it is unpacked: it ends early" : "");
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++) {
        size_t length = strlen(kinds[n].magic);
        if (size >= length && memcmp(head, kinds[n].magic, length) == 0)
            return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT, "%s is %s", core->path, kinds[n].what);
    }
    return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT, "%s is no ELF file, and so no core file", core->path);
}

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86-64";
    case EM_AARCH64:
        return "aarch64";
    case EM_386:
        return "32-bit x86";
    case EM_ARM:
        return "32-bit Arm";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC64:
        return "64-bit PowerPC";
    case EM_S390:
        return "S/390";
    default:
        return "another processor";
    }
}

static const char *type_name(unsigned type)
{
    switch (type) {
    case ET_EXEC:
        return "an executable";
    case ET_DYN:
        return "an executable or a shared library";
    case ET_REL:
        return "an object file";
    default:
        return "an ELF file of another kind";
    }
}

static int check_header(const pyunw_core *core, const pyunw_core_options *options)
{
    Elf64_Ehdr header = {.e_type = ET_NONE};
    size_t size = core->size < sizeof header ? (size_t)core->size : sizeof header;
    if (!pyunw_core_bytes(core, core->fd, 0, &header, size))
        return pyunw_core_refuse(options, PYUNW_ERR_FAULT, "%s has become shorter", core->path);
    if (size < SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return refuse_other_file(core, options, (const uint8_t *)&header, size);
    if (size < sizeof(Elf32_Ehdr))
        return pyunw_core_refuse(options, PYUNW_ERR_FAULT, "%s ends within its header: it has %" PRIu64 " bytes",
                                 core->path, core->size);
    /* What is looked at lies at the same place in a 32-bit one. */
    if (header.e_type != ET_CORE)
        return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT, "%s is %s, not a core file", core->path,
                                 type_name(header.e_type));
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return pyunw_core_refuse(options, PYUNW_ERR_UNSUPPORTED,
                                 "%s is the core of a 32-bit program: 64-bit ones are supported", core->path);
    if (header.e_machine != OWN_ELF_MACHINE)
        return pyunw_core_refuse(options, PYUNW_ERR_UNSUPPORTED,
                                 "%s is the core of a program for %s: this pyunwind reads those for %s, run it there",
                                 core->path, machine_name(header.e_machine), machine_name(OWN_ELF_MACHINE));
    if (size < sizeof header)
        return pyunw_core_refuse(options, PYUNW_ERR_FAULT, "%s ends within its header: it has %" PRIu64 " bytes",
                                 core->path, core->size);
    return PYUNW_OK;
}

/* ---- Segments ---- */

static int by_address(const void *left, const void *right)
{
    const struct core_segment *one = left;
    const struct core_segment *other = right;
    return one->begin < other->begin ? -1 : one->begin > other->begin;
}

static void count_missing(pyunw_core *core, uint64_t offset, uint64_t wanted, uint64_t present)
{
    if (present >= wanted)
        return;
    if (core->missing == 0 || offset + present < core->missing_from)
        core->missing_from = offset + present;
    core->missing += wanted - present;
}

/* How many of size bytes at offset the file has. */
static uint64_t clip(const pyunw_core *core, uint64_t offset, uint64_t size)
{
    if (offset >= core->size)
        return 0;
    return size < core->size - offset ? size : core->size - offset;
}

static void take_segment(pyunw_core *core, const GElf_Phdr *header)
{
    uint64_t wanted = header->p_filesz < header->p_memsz ? header->p_filesz : header->p_memsz;
    if (header->p_type == PT_NOTE) {
        count_missing(core, header->p_offset, header->p_filesz, clip(core, header->p_offset, header->p_filesz));
        return;
    }
    if (header->p_type != PT_LOAD || header->p_memsz == 0 || header->p_vaddr + header->p_memsz < header->p_vaddr)
        return;
    uint64_t present = clip(core, header->p_offset, wanted);
    count_missing(core, header->p_offset, wanted, present);
    core->segments[core->segment_count++] = (struct core_segment){
        .begin = header->p_vaddr,
        .end = header->p_vaddr + header->p_memsz,
        .offset = header->p_offset,
        .present = present,
        .flags = header->p_flags,
    };
}

/* Of two that overlap, which no kernel writes, the lower one counts. */
static void drop_overlaps(pyunw_core *core)
{
    size_t kept = 0;
    for (size_t n = 0; n < core->segment_count; n++) {
        if (kept == 0 || core->segments[n].begin >= core->segments[kept - 1].end)
            core->segments[kept++] = core->segments[n];
    }
    core->segment_count = kept;
}

static int refuse_segments(const pyunw_core *core, const pyunw_core_options *options)
{
    Elf64_Ehdr header = {.e_type = ET_NONE};
    bool known = pyunw_core_bytes(core, core->fd, 0, &header, sizeof header) && header.e_phoff <= core->size;
    uint64_t room = known ? core->size - header.e_phoff : 0;
    if (!known || (uint64_t)header.e_phnum * header.e_phentsize > room)
        return pyunw_core_refuse(options, PYUNW_ERR_FAULT,
                                 "%s has %" PRIu64 " bytes, and ends before the table of its segments", core->path,
                                 core->size);
    return pyunw_core_refuse(options, PYUNW_ERR_FAULT, "the table of the segments of %s cannot be read, or is damaged",
                             core->path);
}

int pyunw_core_read_headers(pyunw_core *core, const pyunw_core_options *options)
{
    enum { MANY_SEGMENTS = 1 << 20 };
    size_t count = 0;
    GElf_Phdr header;
    int err = check_header(core, options);
    if (err < 0)
        return err;
    if (elf_version(EV_CURRENT) == EV_NONE)
        return pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "libelf: %s", elf_errmsg(-1));
    core->elf = elf_begin(core->fd, ELF_C_READ, NULL);
    if (core->elf == NULL || elf_getphdrnum(core->elf, &count) != 0 || count > MANY_SEGMENTS ||
        (count > 0 && gelf_getphdr(core->elf, 0, &header) == NULL))
        return refuse_segments(core, options);
    core->segments = calloc(count + 1, sizeof *core->segments);
    if (core->segments == NULL)
        return pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "no memory for %zu segments", count);
    for (size_t n = 0; n < count; n++) {
        if (gelf_getphdr(core->elf, (int)n, &header) != NULL)
            take_segment(core, &header);
    }
    qsort(core->segments, core->segment_count, sizeof *core->segments, by_address);
    drop_overlaps(core);
    for (size_t n = 0; n < core->segment_count; n++) {
        if ((core->segments[n].flags & PF_W) != 0 && core->segments[n].present > 0)
            return PYUNW_OK;
    }
    if (core->missing > 0)
        return pyunw_core_refuse(options, PYUNW_ERR_FAULT,
                                 "%s is truncated: it has %" PRIu64 " bytes, and nothing of the process's memory "
                                 "(%" PRIu64 " bytes of it are missing)",
                                 core->path, core->size, core->missing);
    return pyunw_core_refuse(options, PYUNW_ERR_FAULT,
                             "%s holds no memory of the process: its /proc/PID/coredump_filter left out private memory "
                             "(bit 0), or the dump was made without it",
                             core->path);
}
