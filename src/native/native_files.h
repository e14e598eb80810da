/*
 * The files that a process has mapped, as the modules of a Dwfl.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_FILES_H
#define PYUNW_NATIVE_NATIVE_FILES_H

#include "process_maps.h"

#include <elfutils/libdwfl.h>

struct native_file {
    pid_t pid;
    const struct mapping *mappings; /* all of this file, ascending, with what else lies between them */
    size_t count;
    void *image; /* where the file is not to be had: what is mapped of it */
};

/* Zero-filled: empty. Freed after the Dwfl was ended. */
struct native_files {
    struct process_maps maps;
    struct native_file *files;
    size_t count;
};

/* Report each file, with a struct native_file as its data: 0, or an error of pyunw_process_maps_read(). */
int pyunw_native_files_report(struct native_files *files, pid_t pid, Dwfl *dwfl);

void pyunw_native_files_free(struct native_files *files);

/* A callback for Dwfl: the file that is mapped, or else its image. */
int pyunw_native_files_find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file_name,
                                Elf **elf);

#endif
