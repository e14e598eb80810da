/*
 * What an ELF file says of an interpreter inside it.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_ELF_H
#define PYUNW_TARGET_PROCESS_ELF_H

#include "interpreter_marks.h"

#include <elf.h>

#if defined(__x86_64__)
enum { OWN_ELF_MACHINE = EM_X86_64 };
#else
enum { OWN_ELF_MACHINE = EM_AARCH64 };
#endif

/* Addresses are the file's own: bias is what the mapping adds to them. */
struct elf_marks {
    pyunw_addr bias;
    struct found_interpreter found;
    pyunw_addr version_at; /* Py_Version, an unsigned long (3.11+); 0: none */
    bool exports_python;   /* Py_GetVersion is here: some CPython, however old */
    bool is_pypy;
};

/*
 * Look at the file behind fd, whose offset 0 is mapped at begin. False where it is no ELF file for this architecture.
 */
bool pyunw_elf_look(int fd, pyunw_addr begin, struct elf_marks *marks);

/* What one symbol says; for whoever reads symbols elsewhere. */
void pyunw_elf_take_symbol(struct elf_marks *marks, const char *name, pyunw_addr value, uint64_t size);

/*
 * The version that stands as a text of its own ("3.8.18") in what the file has mapped read-only. minor: PY_VERSION_HEX
 * that it must agree with down to the minor, or 0. 0 where there is none, or more than one.
 */
uint32_t pyunw_elf_find_version_text(int fd, uint32_t minor);

/* What kind of program is this? */
enum elf_kind { ELF_KIND_OWN, ELF_KIND_32_BIT, ELF_KIND_OTHER_MACHINE, ELF_KIND_NONE };

enum elf_kind pyunw_elf_kind(int fd);

/* The same of the first size bytes of a file. */
enum elf_kind pyunw_elf_kind_of(const void *head, size_t size);

#endif
