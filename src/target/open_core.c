/*
 * Load a core file, say what it tells of its process, and open the interpreter in it.
 * Signal-safe: no.
 */
#include "choose_interpreter.h"
#include "core.h"
#include "process_access.h"
#include "regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int pyunw_core_refuse(const pyunw_core_options *options, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (options->message != NULL && options->message_size > 0)
        (void)vsnprintf(options->message, options->message_size, format, arguments);
    va_end(arguments);
    return err;
}

/* ---- Loading ---- */

static int open_file(pyunw_core *core, const pyunw_core_options *options)
{
    struct stat about;
    /* O_NONBLOCK: a pipe that nobody writes to is to be refused, not waited for. */
    core->fd = open(core->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (core->fd < 0 || fstat(core->fd, &about) < 0)
        return pyunw_core_refuse(options, errno == EACCES || errno == EPERM ? PYUNW_ERR_PERMISSION : PYUNW_ERR_SYSTEM,
                                 "%s cannot be opened: %s", core->path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return pyunw_core_refuse(options, PYUNW_ERR_ARGUMENT, "%s is %s, not a core file", core->path,
                                 S_ISDIR(about.st_mode)    ? "a folder"
                                 : S_ISFIFO(about.st_mode) ? "a pipe"
                                                           : "a device");
    core->size = (uint64_t)about.st_size;
    return PYUNW_OK;
}

static char *copy_option(const char *text)
{
    return text != NULL && *text != '\0' ? strdup(text) : NULL;
}

static int load(pyunw_core *core, const char *path, const pyunw_core_options *options)
{
    core->path = strdup(path);
    core->sysroot = copy_option(options->sysroot);
    core->debug_dir = copy_option(options->debug_dir);
    if (core->path == NULL)
        return pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "no memory to load %s", path);
    int err = open_file(core, options);
    if (err == PYUNW_OK)
        err = pyunw_core_unpack(core, options);
    if (err == PYUNW_OK)
        err = pyunw_core_read_headers(core, options);
    if (err == PYUNW_OK)
        err = pyunw_core_read_notes(core, options);
    if (err == PYUNW_OK)
        err = pyunw_core_make_maps(core, options);
    if (err == PYUNW_OK)
        err = pyunw_core_find_files(core, options);
    if (err == PYUNW_OK)
        pyunw_core_read_command(core);
    return err;
}

int pyunw_load_core(const char *path, pyunw_core **core, const pyunw_core_options *asked)
{
    static const pyunw_core_options defaults = {.size = sizeof defaults};
    const pyunw_core_options *options = asked != NULL ? asked : &defaults;
    if (core == NULL)
        return PYUNW_ERR_ARGUMENT;
    *core = NULL;
    /* What the caller's structure does not have is not looked at, the message's place among it. */
    if (path == NULL || options->size < sizeof *options)
        return PYUNW_ERR_ARGUMENT;
    if (options->message != NULL && options->message_size > 0)
        options->message[0] = '\0';
    pyunw_core *made = calloc(1, sizeof *made);
    if (made == NULL)
        return pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "no memory to load %s", path);
    made->fd = -1;
    made->executable = -1;
    made->trouble = &made->read_error;
    int err = load(made, path, options);
    if (err == PYUNW_ERR_FAULT && *made->trouble != 0) /* nothing says that it is damaged */
        err = pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "%s cannot be read: %s", path, strerror(*made->trouble));
    if (err < 0)
        pyunw_unload_core(made);
    else
        *core = made;
    return err;
}

void pyunw_unload_core(pyunw_core *core)
{
    if (core == NULL)
        return;
    for (size_t n = 0; n < core->mapped_count; n++) {
        struct core_mapped *mapped = &core->mapped[n];
        if (mapped->fd >= 0)
            close(mapped->fd);
        free(mapped->path);
        free(mapped->found);
        free(mapped->symbols);
    }
    (void)elf_end(core->elf);
    if (core->fd >= 0)
        close(core->fd);
    pyunw_process_maps_free(&core->maps);
    free(core->mapped);
    free(core->pieces);
    free(core->segments);
    free(core->names);
    free(core->name_note);
    free(core->threads);
    free(core->command);
    free(core->path);
    free(core->sysroot);
    free(core->debug_dir);
    free(core);
}

/* ---- What it tells ---- */

static const struct core_thread *crashed_thread(const pyunw_core *core)
{
    return core->crashed < core->thread_count ? &core->threads[core->crashed] : NULL;
}

/* si_addr is the fault's for these, where the kernel found the fault itself. */
static bool has_fault_address(const siginfo_t *info)
{
    int number = info->si_signo;
    return info->si_code > 0 && info->si_code != SI_KERNEL &&
           (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE || number == SIGTRAP);
}

int pyunw_core_describe(const pyunw_core *core, pyunw_core_info *info)
{
    if (core == NULL || info == NULL)
        return PYUNW_ERR_ARGUMENT;
    const struct core_thread *crashed = crashed_thread(core);
    *info = (pyunw_core_info){
        .pid = core->has_process        ? core->process.pr_pid
               : core->thread_count > 0 ? core->threads[0].id
                                        : 0,
        .parent = core->has_process ? core->process.pr_ppid : 0,
        .command = core->command,
        .command_size = core->command_size,
        .executable = core->executable >= 0 ? core->mapped[core->executable].path : NULL,
        .thread_count = core->thread_count,
        .file_count = core->mapped_count,
        .size = core->size,
        .missing = core->missing,
        .missing_from = core->missing_from,
        .packed = core->packed,
        .is_cut = core->is_cut,
        .read_error = __atomic_load_n(core->trouble, __ATOMIC_RELAXED),
    };
    if (crashed == NULL)
        return PYUNW_OK;
    info->crashed = crashed->id;
    info->signal = crashed->signal;
    if (core->has_signal_info && core->signal_info.si_signo == crashed->signal) {
        info->has_signal_code = 1;
        info->signal_code = core->signal_info.si_code;
        info->has_signal_address = has_fault_address(&core->signal_info);
        info->signal_address = info->has_signal_address ? (uintptr_t)core->signal_info.si_addr : 0;
    }
    return PYUNW_OK;
}

int pyunw_core_thread_at(const pyunw_core *core, size_t index, pyunw_core_thread *thread)
{
    if (core == NULL || thread == NULL || index >= core->thread_count)
        return PYUNW_ERR_ARGUMENT;
    const struct core_thread *from = &core->threads[index];
    *thread = (pyunw_core_thread){
        .native_id = from->id,
        .crashed = from == crashed_thread(core),
        .has_thread_pointer = from->has_pointer,
        .thread_pointer = from->pointer,
    };
    /* pr_fname is the main thread's name; the kernel keeps none of the others' in a core. */
    if (core->has_process && from->id == core->process.pr_pid)
        memcpy(thread->name, core->process.pr_fname, sizeof core->process.pr_fname);
    return PYUNW_OK;
}

int pyunw_core_file_at(const pyunw_core *core, size_t index, pyunw_core_file *file)
{
    if (core == NULL || file == NULL || index >= core->mapped_count)
        return PYUNW_ERR_ARGUMENT;
    const struct core_mapped *mapped = &core->mapped[index];
    *file = (pyunw_core_file){
        .path = mapped->path,
        .found = mapped->found,
        .state = mapped->state,
        .begin = mapped->begin,
        .executable = (int)index == core->executable,
    };
    pyunw_build_id_text(&mapped->in_core, file->build_id);
    pyunw_build_id_text(&mapped->on_disk, file->found_build_id);
    return PYUNW_OK;
}

/* ---- Opening ---- */

static int open_mapped(void *files, const struct mapping *mapping)
{
    const pyunw_core *core = files;
    const struct core_mapped *mapped = mapping->inode != 0 ? &core->mapped[mapping->inode - 1] : NULL;
    if (mapped == NULL)
        return -1;
    if (mapped->fd >= 0)
        return fcntl(mapped->fd, F_DUPFD_CLOEXEC, 0);
    return mapped->symbols != NULL ? regular_file_open(mapped->symbols) : -1;
}

/* The files without which the interpreter may not be found, and the first of them that is another here; NULL: none. */
static size_t count_absent(const pyunw_core *core, const struct core_mapped **differs)
{
    size_t count = 0;
    *differs = NULL;
    for (size_t n = 0; n < core->mapped_count; n++) {
        const struct core_mapped *mapped = &core->mapped[n];
        bool is_other = mapped->state == PYUNW_CORE_FILE_DIFFERS;
        count += is_other || (mapped->state == PYUNW_CORE_FILE_MISSING && mapped->begin != 0);
        if (is_other && *differs == NULL)
            *differs = mapped;
    }
    return count;
}

static int refuse_without_files(const pyunw_core *core, const pyunw_options *options, pid_t pid, const char *executable)
{
    char in_core[BUILD_ID_TEXT];
    char on_disk[BUILD_ID_TEXT];
    const struct core_mapped *differs = NULL;
    size_t count = count_absent(core, &differs);
    if (differs == NULL)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                            "no CPython was found in process %d (%s), of which %zu mapped files are not here. Name the "
                            "folder that they are in (--sysroot, --debug-dir), or the executable",
                            (int)pid, executable, count);
    pyunw_build_id_text(&differs->in_core, in_core);
    pyunw_build_id_text(&differs->on_disk, on_disk);
    return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                        "no CPython was found in process %d (%s), of which %zu mapped files are not here, or others: "
                        "%s has the build id %s, and in the core %s. Name the folder that they are in (--sysroot, "
                        "--debug-dir), or the executable",
                        (int)pid, executable, count, differs->found, differs->on_disk.size > 0 ? on_disk : "none",
                        differs->in_core.size > 0 ? in_core : "none");
}

static int refuse_core(const pyunw_core *core, const pyunw_options *options, const struct process_found *found)
{
    pyunw_core_info info;
    (void)pyunw_core_describe(core, &info);
    const char *executable =
        info.executable != NULL && *info.executable != '\0' ? info.executable : "executable unknown";
    if (core->missing > 0)
        return pyunw_refuse(
            options, PYUNW_ERR_NO_PYTHON,
            "no CPython was found in what is left of process %d (%s): %llu bytes of its core are missing",
            (int)info.pid, executable, (unsigned long long)core->missing);
    const struct core_mapped *differs = NULL;
    if (count_absent(core, &differs) > 0 && !found->has_pypy && !found->has_old && !found->has_hidden)
        return refuse_without_files(core, options, info.pid, executable);
    return pyunw_refuse_program(options, info.pid, executable, found);
}

int pyunw_open_core(pyunw_target *target, const pyunw_core *core, const pyunw_options *asked)
{
    static const pyunw_options defaults = {.size = sizeof defaults};
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    struct process_found found;
    if (target == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(target, 0, sizeof *target);
    /* What the caller's structure does not have is not looked at, the message's place among it. */
    if (options->size < offsetof(pyunw_options, room))
        return PYUNW_ERR_ARGUMENT;
    if (core == NULL || (options->runtime & 7) != 0)
        return pyunw_refuse(options, PYUNW_ERR_ARGUMENT, "asked for %s, runtime %#llx",
                            core == NULL ? "no core file" : "a core file", (unsigned long long)options->runtime);
    void *context = (void *)(uintptr_t)core; /* it is only read */
    const struct source source = {.maps = &core->maps,
                                  .read = pyunw_core_read_image,
                                  .context = context,
                                  .open_file = open_mapped,
                                  .files = context};
    pyunw_core_info info;
    (void)pyunw_core_describe(core, &info);
    const struct subject subject = {.pid = info.pid, .read = pyunw_core_read_image, .context = context};
    int err = pyunw_process_find(&source, &found);
    if (err == 0 && found.count == 0 && options->runtime == 0)
        err = refuse_core(core, options, &found);
    else if (err == 0)
        err = pyunw_choose_interpreter(target, &subject, &found, options);
    if (err < 0 && err != PYUNW_ERR_NOT_INITIALIZED && err != PYUNW_ERR_FINALIZED)
        pyunw_close(target);
    if (err == PYUNW_OK && options->message != NULL && options->message_size > 0)
        options->message[0] = '\0';
    return err;
}
