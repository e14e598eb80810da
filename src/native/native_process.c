/*
 * The native stacks of a process that stands: its files from what it has mapped, its registers from the pause, its
 * memory read in blocks.
 * Signal-safe: no.
 */
#include "native.h"
#include "native_debuginfo.h"
#include "native_files.h"
#include "native_registers.h"
#include "process_access.h"
#include "process_file.h"
#include "process_pause.h"
#include "process_read.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 4096, BLOCK_COUNT = 64 };

struct block {
    pyunw_addr address; /* 0: not read yet */
    uint8_t bytes[BLOCK_SIZE];
};

struct process_source {
    struct native_source common; /* first */
    pid_t pid;
    pyunw_pause *pause; /* NULL: it is not stopped */
    struct process_maps maps;
    struct native_files files;
    const struct task_registers *registers; /* the pause's own */
    size_t task_count;
    struct task_registers other; /* where a walk is to begin elsewhere; task 0: nowhere */
    struct block blocks[BLOCK_COUNT];
};

/* ---- Memory ---- */

static int read_bytes(const struct process_source *source, pyunw_addr address, void *buffer, size_t size)
{
    return source->pause != NULL ? pyunw_pause_read_image(pyunw_pause_context(source->pause), address, buffer, size)
                                 : pyunw_process_read_image(process_context(source->pid), address, buffer, size);
}

static const struct block *read_block(struct process_source *source, pyunw_addr address)
{
    struct block *block = &source->blocks[address / BLOCK_SIZE % BLOCK_COUNT];
    if (address != 0 && block->address == address) /* address 0 is that of a free one */
        return block;
    block->address = 0;
    if (read_bytes(source, address, block->bytes, BLOCK_SIZE) < 0)
        return NULL;
    block->address = address;
    return block;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *context)
{
    struct process_source *source = context;
    size_t at = address % BLOCK_SIZE;
    (void)dwfl;
    bool is_within = at <= BLOCK_SIZE - sizeof *result;
    const struct block *block = is_within ? read_block(source, address - at) : NULL;
    bool good = is_within ? block != NULL : read_bytes(source, address, result, sizeof *result) == 0;
    if (block != NULL)
        memcpy(result, block->bytes + at, sizeof *result);
    source->common.unread |= !good;
    return good;
}

/* ---- Tasks ---- */

static pid_t next_task(Dwfl *dwfl, void *context, void **task)
{
    const struct process_source *source = context;
    const struct task_registers *next = *task == NULL ? source->registers : (struct task_registers *)*task + 1;
    (void)dwfl;
    if (next == source->registers + source->task_count)
        return 0;
    *task = (void *)(uintptr_t)next;
    return next->task;
}

static bool find_task(Dwfl *dwfl, pid_t id, void *context, void **task)
{
    struct process_source *source = context;
    (void)dwfl;
    if (id == source->other.task) {
        *task = &source->other;
        return true;
    }
    for (size_t n = 0; n < source->task_count; n++) {
        if (source->registers[n].task == id) {
            *task = (void *)(uintptr_t)&source->registers[n];
            return true;
        }
    }
    return false;
}

static bool set_registers(Dwfl_Thread *thread, void *context)
{
    const struct task_registers *task = context;
    return task->known && pyunw_native_registers_set(thread, &task->registers);
}

static void set_other_registers(void *context, pid_t task, const struct user_regs_struct *registers)
{
    struct process_source *source = context;
    source->other = (struct task_registers){0};
    if (registers != NULL)
        source->other = (struct task_registers){.task = task, .known = true, .registers = *registers};
}

/* ---- Opening ---- */

static const Dwfl_Callbacks file_callbacks = {
    .find_elf = pyunw_native_files_find_elf,
    .find_debuginfo = pyunw_native_find_debuginfo,
};

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = next_task,
    .get_thread = find_task,
    .memory_read = read_word,
    .set_initial_registers = set_registers,
};

static void free_source(void *context)
{
    struct process_source *source = context;
    pyunw_native_files_free(&source->files);
    pyunw_process_maps_free(&source->maps);
    free(source);
}

static int open_file(void *pid, const struct mapping *mapping)
{
    return pyunw_process_file_open((pid_t)(intptr_t)pid, mapping);
}

static int report_files(struct process_source *source, pid_t pid, Dwfl *dwfl)
{
    const struct source files = {.maps = &source->maps,
                                 .read = pyunw_process_read_image,
                                 .context = process_context(pid),
                                 .open_file = open_file,
                                 .files = process_context(pid)};
    int err = pyunw_process_maps_read(pid, &source->maps);
    return err < 0 ? err : pyunw_native_files_report(&source->files, &files, dwfl);
}

/* Of a process that is not stopped no registers can be had. */
static int read_registers(struct process_source *source, const pyunw_options *options)
{
    if (source->pause == NULL)
        return PYUNW_OK;
    int err = pyunw_pause_registers(source->pause, &source->registers, &source->task_count);
    return err == PYUNW_OK ? err
                           : pyunw_refuse(options, err, "the registers of process %d could not be read: %s",
                                          (int)source->pid, pyunw_strerror(err));
}

static int fill(struct process_source *source, Dwfl *dwfl, const pyunw_options *options)
{
    int err = read_registers(source, options);
    if (err < 0)
        return err;
    err = report_files(source, source->pid, dwfl);
    if (err < 0)
        return pyunw_refuse(options, err, "what process %d has mapped could not be read: %s", (int)source->pid,
                            pyunw_strerror(err));
    if (!dwfl_attach_state(dwfl, NULL, source->pid, &thread_callbacks, source))
        return pyunw_refuse(options, PYUNW_ERR_SYSTEM, "the native stacks of process %d cannot be had: %s",
                            (int)source->pid, dwfl_errmsg(-1));
    return PYUNW_OK;
}

static int open_stacks(pyunw_native **native, pid_t pid, pyunw_pause *pause, const pyunw_options *options)
{
    struct process_source *source = calloc(1, sizeof *source);
    Dwfl *dwfl = dwfl_begin(&file_callbacks);
    if (source == NULL || dwfl == NULL) {
        free(source);
        dwfl_end(dwfl);
        return pyunw_refuse(options, PYUNW_ERR_SYSTEM, "out of memory");
    }
    source->pid = pid;
    source->pause = pause;
    int err = fill(source, dwfl, options);
    if (err == PYUNW_OK)
        *native = pyunw_native_make(dwfl, read_word, source, free_source);
    if (*native != NULL) {
        (*native)->set_registers = set_other_registers;
        return PYUNW_OK;
    }
    dwfl_end(dwfl);
    free_source(source);
    return err < 0 ? err : pyunw_refuse(options, PYUNW_ERR_SYSTEM, "out of memory");
}

static const pyunw_options defaults = {.size = sizeof defaults};

int pyunw_native_open(pyunw_native **native, pyunw_pause *pause, const pyunw_options *asked)
{
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    if (native == NULL)
        return PYUNW_ERR_ARGUMENT;
    *native = NULL;
    if (pause == NULL || options->size < offsetof(pyunw_options, room))
        return PYUNW_ERR_ARGUMENT;
    return open_stacks(native, pyunw_pause_pid(pause), pause, options);
}

int pyunw_native_open_pid(pyunw_native **native, pid_t pid, const pyunw_options *asked)
{
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    if (native == NULL)
        return PYUNW_ERR_ARGUMENT;
    *native = NULL;
    if (pid <= 0 || options->size < offsetof(pyunw_options, room))
        return PYUNW_ERR_ARGUMENT;
    return open_stacks(native, pid, NULL, options);
}
