/*
 * Open the interpreter of another process: see that it is one that can be read, find its interpreters, open the one
 * that lives; and where that fails, say why in words that help.
 * Signal-safe: no.
 */
#include "process_access.h"
#include "process_elf.h"
#include "process_find.h"
#include "process_pause.h"
#include "process_read.h"
#include "pyunwind_remote.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* ---- Is it a process that can be read? ---- */

static int check_executable(pid_t pid, const struct process_status *status, const pyunw_options *options)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == EACCES || errno == EPERM)
            return pyunw_refuse_permission(options, pid, status->user);
        return PYUNW_OK; /* the maps will tell */
    }
    enum elf_kind kind = pyunw_elf_kind(fd);
    close(fd);
    if (kind == ELF_KIND_32_BIT)
        return pyunw_refuse(options, PYUNW_ERR_UNSUPPORTED,
                            "process %d (%s) is a 32-bit program: 64-bit ones are supported", (int)pid, status->name);
    if (kind == ELF_KIND_OTHER_MACHINE)
        return pyunw_refuse(options, PYUNW_ERR_UNSUPPORTED, "process %d (%s) is a program for another processor",
                            (int)pid, status->name);
    return PYUNW_OK;
}

/* ---- What was found ---- */

static int refuse_version(const pyunw_options *options, pid_t pid, uint32_t version)
{
    if (version == 0)
        return pyunw_refuse(
            options, PYUNW_ERR_UNSUPPORTED,
            "process %d runs a CPython of a version that could not be found out: 3.8 to 3.15 are supported", (int)pid);
    return pyunw_refuse(options, PYUNW_ERR_UNSUPPORTED,
                        "process %d runs CPython %u.%u.%u, which is not supported: 3.8 to 3.15 are", (int)pid,
                        version >> 24, version >> 16 & 255u, version >> 8 & 255u);
}

static int refuse_program(const pyunw_options *options, const struct process_status *status,
                          const struct process_found *found)
{
    char path[64];
    char executable[PATH_MAX] = "";
    pid_t pid = status->group;
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t length = readlink(path, executable, sizeof executable - 1);
    const char *name = length > 0 ? executable : status->name;
    if (found->has_pypy)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON, "process %d runs PyPy (%s): only CPython is supported",
                            (int)pid, name);
    if (found->has_old)
        return refuse_version(options, pid, found->old_version);
    if (found->unreadable > 0)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                            "no CPython was found in process %d (%s), of which %d mapped files could not be opened",
                            (int)pid, name, found->unreadable);
    return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                        "process %d is not Python: %s and the %d libraries and files in it hold no CPython", (int)pid,
                        name, found->files);
}

/* The version that a runtime publishes (3.13+), or the one that its file told. */
static uint32_t version_of(pid_t pid, const struct found_interpreter *found)
{
    uint8_t bytes[COOKIE_SIZE];
    uint64_t version = 0;
    if (pyunw_process_read(pid, found->runtime, bytes, sizeof bytes) == 0 && is_cookie(bytes)) {
        memcpy(&version, bytes + 8, sizeof version);
        return (uint32_t)version;
    }
    return found->version;
}

/* ---- Opening ---- */

/* Whose memory is read, and how. */
struct source {
    pid_t pid;
    pyunw_read_function read;
    void *context;
    int may_change; /* it runs on meanwhile */
};

/* 0: open and alive; PYUNW_ERR_NOT_INITIALIZED and PYUNW_ERR_FINALIZED: open all the same; else: not open. */
static int open_once(pyunw_target *target, const struct source *source, const struct found_interpreter *found,
                     const pyunw_options *options)
{
    pyunw_image image = {
        .size = sizeof image,
        .read = source->read,
        .context = source->context,
        .may_change = source->may_change,
        .runtime = found->runtime,
        .version = found->version,
        .code_type = found->code_type,
    };
    int err = pyunw_open_image(target, &image, options);
    if (err < 0)
        return err;
    int finalizing = pyunw_is_finalizing(target);
    return finalizing < 0 ? finalizing : PYUNW_OK;
}

/* A runtime that is being made or unmade may show itself half done: only what stays wrong is told. */
static int open_found(pyunw_target *target, const struct source *source, const struct found_interpreter *found,
                      const pyunw_options *options)
{
    enum { TRIES = 16 };
    int err = PYUNW_OK;
    for (int n = 0; n < TRIES; n++) {
        err = open_once(target, source, found, options);
        if (err != PYUNW_ERR_LAYOUT && err != PYUNW_ERR_FAULT)
            break;
    }
    return err;
}

/* Why the interpreter could not be opened. words: what the core says of it. */
static int refuse_interpreter(const pyunw_options *options, pid_t pid, const struct found_interpreter *found, int err,
                              const char *words)
{
    uint32_t version = version_of(pid, found);
    if (err == PYUNW_ERR_UNSUPPORTED || (err == PYUNW_ERR_LAYOUT && version == 0))
        return refuse_version(options, pid, version);
    if (err == PYUNW_ERR_NOT_INITIALIZED)
        return pyunw_refuse(options, err, "the interpreter in process %d is not initialized yet: try again in a moment",
                            (int)pid);
    if (err == PYUNW_ERR_FINALIZED)
        return pyunw_refuse(options, err, "the interpreter in process %d is finalized: no Python runs there any more",
                            (int)pid);
    return pyunw_refuse(options, err, "process %d, CPython %u.%u: %s", (int)pid, version >> 24, version >> 16 & 255u,
                        *words != '\0' ? words : pyunw_strerror(err));
}

/* The first that is alive, else the first. */
static int choose_interpreter(pyunw_target *target, const struct source *source, const struct process_status *status,
                              const struct process_found *found, const pyunw_options *options)
{
    char words[256] = "";
    const pyunw_options inner = {.size = sizeof inner, .message = words, .message_size = sizeof words};
    const struct found_interpreter *first = NULL;
    pid_t pid = source->pid;
    for (int n = 0; n < found->count; n++) {
        const struct found_interpreter *interpreter = &found->interpreters[n];
        if (options->runtime != 0 && interpreter->runtime != options->runtime)
            continue;
        if (open_found(target, source, interpreter, &inner) == PYUNW_OK)
            return PYUNW_OK;
        if (first == NULL)
            first = interpreter;
    }
    if (first == NULL && options->runtime != 0)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON, "no CPython in process %d has its _PyRuntime at %#llx",
                            (int)pid, (unsigned long long)options->runtime);
    if (first == NULL)
        return refuse_program(options, status, found);
    words[0] = '\0';
    int err = open_found(target, source, first, &inner);
    return err == PYUNW_OK ? err : refuse_interpreter(options, pid, first, err, words);
}

static int open_process(pyunw_target *target, const struct source *source, const pyunw_options *options)
{
    pid_t pid = source->pid;
    struct process_status status;
    struct process_maps maps;
    struct process_found found;
    int err = pyunw_check_alive(pid, &status, options);
    if (err == 0)
        err = check_executable(pid, &status, options);
    if (err < 0)
        return err;
    err = pyunw_process_maps_read(pid, &maps);
    if (err == 0) {
        err = pyunw_process_find(&maps, &found);
        if (err == 0)
            err = choose_interpreter(target, source, &status, &found, options);
        pyunw_process_maps_free(&maps);
    }
    if (err == PYUNW_ERR_PERMISSION)
        return pyunw_refuse_permission(options, pid, status.user);
    if (err == 0 || err == PYUNW_ERR_NOT_INITIALIZED || err == PYUNW_ERR_FINALIZED)
        return err;
    /* Whatever went wrong, that it has ended meanwhile explains it. */
    int alive = pyunw_check_alive(pid, &status, options);
    return alive < 0 ? alive : err;
}

static int open_source(pyunw_target *target, const struct source *source, const pyunw_options *asked)
{
    static const pyunw_options defaults = {.size = sizeof defaults};
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    if (target == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(target, 0, sizeof *target);
    /* What the caller's structure does not have is not looked at, the message's place among it. */
    if (options->size < sizeof *options)
        return PYUNW_ERR_ARGUMENT;
    if (source->pid <= 0 || (options->runtime & 7) != 0)
        return pyunw_refuse(options, PYUNW_ERR_ARGUMENT, "asked for process %d, runtime %#llx", (int)source->pid,
                            (unsigned long long)options->runtime);
    int err = open_process(target, source, options);
    if (err < 0 && err != PYUNW_ERR_NOT_INITIALIZED && err != PYUNW_ERR_FINALIZED)
        pyunw_close(target);
    /* What an interpreter that was not taken, or a first try, had to say is of no interest. */
    if (err == PYUNW_OK && options->message != NULL && options->message_size > 0)
        options->message[0] = '\0';
    return err;
}

int pyunw_open_pid(pyunw_target *target, pid_t pid, const pyunw_options *options)
{
    struct source source = {pid, pyunw_process_read_image, process_context(pid), 1};
    return open_source(target, &source, options);
}

int pyunw_open_paused(pyunw_target *target, const pyunw_pause *pause, const pyunw_options *options)
{
    struct source source = {0};
    if (pause != NULL)
        source = (struct source){pyunw_pause_pid(pause), pyunw_pause_read_image, pyunw_pause_context(pause), 0};
    return open_source(target, &source, options);
}
