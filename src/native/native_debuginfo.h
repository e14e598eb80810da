/*
 * Separate debug information of a mapped file, as it is installed on this machine.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_DEBUGINFO_H
#define PYUNW_NATIVE_NATIVE_DEBUGINFO_H

#include <elfutils/libdwfl.h>

/* A callback for Dwfl, of whose modules the data is a struct native_file. */
int pyunw_native_find_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                                const char *link, GElf_Word link_check, char **found);

#endif
