/*
 * The native stacks in a core file: its files are those that were found to be the mapped ones, its registers and its
 * memory the core's own.
 * Signal-safe: no.
 */
#include "native.h"
#include "native_debuginfo.h"
#include "native_files.h"
#include "native_registers.h"

#include "core.h"
#include "process_access.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct core_source {
    struct native_source common; /* first */
    const pyunw_core *core;
    struct native_files files;
    Dwfl_Callbacks callbacks;
};

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *context)
{
    struct core_source *source = context;
    (void)dwfl;
    bool good = pyunw_core_read_image((void *)(uintptr_t)source->core, address, result, sizeof *result) == 0;
    source->common.unread |= !good;
    return good;
}

/* ---- Threads ---- */

static pid_t next_thread(Dwfl *dwfl, void *context, void **thread)
{
    const struct core_source *source = context;
    const struct core_thread *threads = source->core->threads;
    const struct core_thread *next = *thread == NULL ? threads : (struct core_thread *)*thread + 1;
    (void)dwfl;
    if (next == threads + source->core->thread_count)
        return 0;
    *thread = (void *)(uintptr_t)next;
    return next->id;
}

static bool find_thread(Dwfl *dwfl, pid_t id, void *context, void **thread)
{
    const struct core_source *source = context;
    (void)dwfl;
    for (size_t n = 0; n < source->core->thread_count; n++) {
        if (source->core->threads[n].id == id) {
            *thread = &source->core->threads[n];
            return true;
        }
    }
    return false;
}

/* NT_PRSTATUS has what ptrace(2) would tell. */
static bool set_registers(Dwfl_Thread *state, void *context)
{
    const struct core_thread *thread = context;
    struct user_regs_struct registers;
    _Static_assert(sizeof registers == sizeof thread->registers, "a core's registers are others than ptrace's");
    memcpy(&registers, thread->registers, sizeof registers);
    return pyunw_native_registers_set(state, &registers);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = next_thread,
    .get_thread = find_thread,
    .memory_read = read_word,
    .set_initial_registers = set_registers,
};

/* ---- Files ---- */

static const struct core_mapped *mapped_file(const pyunw_core *core, const struct mapping *mapping)
{
    return mapping->inode != 0 ? &core->mapped[mapping->inode - 1] : NULL;
}

static int open_file(void *context, const struct mapping *mapping)
{
    const struct core_mapped *mapped = mapped_file(context, mapping);
    return mapped != NULL && mapped->fd >= 0 ? fcntl(mapped->fd, F_DUPFD_CLOEXEC, 0) : -1;
}

static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file_name, Elf **elf)
{
    const struct native_file *file = *data;
    const pyunw_core *core = file->source->context;
    const struct core_mapped *mapped = mapped_file(core, &file->mappings[0]);
    bool is_found = mapped != NULL && mapped->fd >= 0;
    /* Without names nothing says which of what follows is of the file, too. */
    if (core->name_count == 0 && !is_found)
        return -1;
    int fd = pyunw_native_files_find_elf(module, data, name, base, file_name, elf);
    /* Debuginfo may lie beside the file that was found. */
    if (is_found && mapped->found != NULL) {
        free(*file_name);
        *file_name = strdup(mapped->found);
    }
    return fd;
}

/* ---- Opening ---- */

static void free_source(void *context)
{
    struct core_source *source = context;
    if (source == NULL)
        return;
    pyunw_native_files_free(&source->files);
    free(source);
}

static struct core_source *make_source(const pyunw_core *core)
{
    struct core_source *source = calloc(1, sizeof *source);
    if (source == NULL)
        return NULL;
    source->core = core;
    source->files.debug_folder = core->debug_dir;
    source->callbacks = (Dwfl_Callbacks){.find_elf = find_elf, .find_debuginfo = pyunw_native_find_debuginfo};
    return source;
}

static int fill(struct core_source *source, Dwfl *dwfl, const pyunw_options *options)
{
    const pyunw_core *core = source->core;
    void *context = (void *)(uintptr_t)core; /* it is only read */
    const struct source files = {.maps = &core->maps,
                                 .read = pyunw_core_read_image,
                                 .context = context,
                                 .open_file = open_file,
                                 .files = context};
    int err = pyunw_native_files_report(&source->files, &files, dwfl);
    if (err < 0)
        return pyunw_refuse(options, err, "no memory for the files of %s", core->path);
    pid_t pid = core->thread_count > 0 ? core->threads[0].id : 0;
    if (!dwfl_attach_state(dwfl, core->elf, pid, &thread_callbacks, source))
        return pyunw_refuse(options, PYUNW_ERR_SYSTEM, "the native stacks of %s cannot be had: %s", core->path,
                            dwfl_errmsg(-1));
    return PYUNW_OK;
}

int pyunw_native_open_core(pyunw_native **native, const pyunw_core *core, const pyunw_options *asked)
{
    static const pyunw_options defaults = {.size = sizeof defaults};
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    if (native == NULL)
        return PYUNW_ERR_ARGUMENT;
    *native = NULL;
    if (core == NULL || options->size < offsetof(pyunw_options, room))
        return PYUNW_ERR_ARGUMENT;
    struct core_source *source = make_source(core);
    Dwfl *dwfl = source != NULL ? dwfl_begin(&source->callbacks) : NULL;
    int err = dwfl != NULL ? fill(source, dwfl, options) : PYUNW_ERR_SYSTEM;
    if (err == PYUNW_OK)
        *native = pyunw_native_make(dwfl, read_word, source, free_source);
    if (*native != NULL)
        return PYUNW_OK;
    bool is_told = dwfl != NULL && err < 0;
    dwfl_end(dwfl);
    free_source(source);
    return is_told ? err : pyunw_refuse(options, PYUNW_ERR_SYSTEM, "out of memory");
}
