/*
 * Native stacks, of whatever can be made into a Dwfl with its threads attached: a process that stands, a core file.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_H
#define PYUNW_NATIVE_NATIVE_H

#include "native_names.h"
#include "pyunwind_remote.h"

#include <elfutils/libdwfl.h>
#include <sys/user.h>

/* Reads memory of what the stacks are of, as the callback of Dwfl does. */
typedef bool native_read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *source);

/* What every source begins with. */
struct native_source {
    bool unread; /* memory could not be read: libdwfl takes a caller that it cannot read for none */
};

struct pyunw_native {
    Dwfl *dwfl; /* its modules are reported and its threads attached */
    struct native_names names;
    native_read_word *read_word;
    void *source;                      /* what the callbacks of dwfl use: it begins with a struct native_source */
    void (*free_source)(void *source); /* after dwfl_end() */
    /* Walks of this task begin at these registers; NULL: at its own again. NULL where that cannot be. */
    void (*set_registers)(void *source, pid_t task, const struct user_regs_struct *registers);
};

/* NULL where memory is short; nothing is taken over then. */
pyunw_native *pyunw_native_make(Dwfl *dwfl, native_read_word *read_word, void *source,
                                void (*free_source)(void *source));

#endif
