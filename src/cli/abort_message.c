/*
 * Read __abort_msg of the GNU C library (assert/__assert_fail.c, sysdeps/posix/libc_fatal.c): it keeps its last message
 * there for debuggers.
 */
#include "abort_message.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- The process ---- */

static bool read_memory(pid_t pid, uint64_t address, void *buffer, size_t size)
{
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)size;
}

/* As much as there is on one page and the next. */
static char *read_message(pid_t pid, uint64_t address)
{
    enum { LONGEST = 1024 };
    uint32_t size = 0; /* of the whole mapping that it lies in */
    if (!read_memory(pid, address, &size, sizeof size))
        return NULL;
    char *message = calloc(1, LONGEST + 1);
    size_t wanted = size > sizeof size && size - sizeof size < LONGEST ? size - sizeof size : LONGEST;
    if (message == NULL || !read_memory(pid, address + sizeof size, message, wanted)) {
        free(message);
        return NULL;
    }
    message[strcspn(message, "\n")] = '\0';
    return message;
}

/* ---- The library ---- */

static bool find_in_section(Elf *elf, Elf_Scn *section, const GElf_Shdr *header, const char *name, GElf_Addr *value)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t count = data != NULL && header->sh_entsize > 0 ? data->d_size / header->sh_entsize : 0;
    for (size_t n = 0; n < count; n++) {
        GElf_Sym symbol;
        if (gelf_getsym(data, (int)n, &symbol) == NULL || symbol.st_shndx == SHN_UNDEF)
            continue;
        const char *text = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (text == NULL || strcmp(text, name) != 0)
            continue;
        *value = symbol.st_value;
        return true;
    }
    return false;
}

/* The symbol's address as the file numbers it. */
static bool find_symbol(int fd, const char *name, GElf_Addr *value)
{
    (void)elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    bool found = false;
    for (Elf_Scn *section = NULL; elf != NULL && !found && (section = elf_nextscn(elf, section)) != NULL;) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) != NULL && header.sh_type == SHT_DYNSYM)
            found = find_in_section(elf, section, &header, name, value);
    }
    (void)elf_end(elf);
    return found;
}

static bool is_c_library(const pyunw_native_module *module)
{
    const char *slash = module->path != NULL ? strrchr(module->path, '/') : NULL;
    return slash != NULL && (strcmp(slash, "/libc.so.6") == 0 || strncmp(slash, "/libc-2.", 8) == 0);
}

/* By now the name may be that of a pipe, which is not to be waited for, or of a device. */
static int open_file(const char *path)
{
    struct stat about;
    int fd = stat(path, &about) == 0 && S_ISREG(about.st_mode)
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
                 : -1;
    if (fd < 0 || (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)))
        return fd;
    (void)close(fd);
    return -1;
}

char *abort_message_read(pid_t pid, const pyunw_native_module *modules, int count)
{
    char path[4200];
    GElf_Addr symbol = 0;
    uint64_t message = 0;
    for (int n = 0; n < count; n++) {
        if (!is_c_library(&modules[n]))
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, modules[n].path);
        int fd = open_file(path);
        if (fd < 0)
            fd = open_file(modules[n].path);
        bool found = fd >= 0 && find_symbol(fd, "__abort_msg", &symbol);
        if (fd >= 0)
            (void)close(fd);
        /* A shared library is linked at 0. */
        if (found && read_memory(pid, modules[n].begin + symbol, &message, sizeof message) && message != 0)
            return read_message(pid, message);
    }
    return NULL;
}
