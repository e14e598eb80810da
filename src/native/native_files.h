/*
 * The files that a process has mapped, or had when its core was made, as the modules of a Dwfl.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_FILES_H
#define PYUNW_NATIVE_NATIVE_FILES_H

#include "source.h"

#include <elfutils/libdwfl.h>

struct native_file {
    const struct source *source;
    const struct mapping *mappings; /* all of this file, ascending, with what else lies between them */
    size_t count;
    void *image;              /* where the file is not to be had: what is mapped of it */
    const char *debug_folder; /* as that of all */
    bool is_asked;            /* its debug information is being looked for */
};

/* Zero-filled: empty. Freed after the Dwfl was ended. */
struct native_files {
    const char *debug_folder; /* borrowed; NULL: that of the machine */
    struct source source;     /* what it has mapped, and how that is read; look_ahead is not used */
    struct native_file *files;
    size_t count;
};

/* Report each file of a source that outlives them, with a struct native_file as its data: 0; PYUNW_ERR_SYSTEM. */
int pyunw_native_files_report(struct native_files *files, const struct source *source, Dwfl *dwfl);

void pyunw_native_files_free(struct native_files *files);

/* A callback for Dwfl: the file that is mapped, or else its image. */
int pyunw_native_files_find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file_name,
                                Elf **elf);

#endif
