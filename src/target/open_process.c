/*
 * Open the interpreter of another process: see that it is one that can be read, find its interpreters, and open the one
 * that lives.
 * Signal-safe: no.
 */
#include "choose_interpreter.h"
#include "process_access.h"
#include "process_blocks.h"
#include "process_elf.h"
#include "process_file.h"
#include "process_pause.h"
#include "process_read.h"
#include "pyunwind_remote.h"
#include "regular_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* What the first release's pyunw_options held: what was added later may be missing. */
enum { OPTIONS_SIZE_MIN = offsetof(pyunw_options, room) };

/* ---- Is it a process that can be read? ---- */

static int check_executable(pid_t pid, const struct process_status *status, const pyunw_options *options)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    int fd = regular_file_open(path);
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

/* ---- Opening ---- */

static int refuse_program(const pyunw_options *options, const struct process_status *status,
                          const struct process_found *found)
{
    char path[64];
    char executable[PATH_MAX] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)status->group);
    ssize_t length = readlink(path, executable, sizeof executable - 1);
    return pyunw_refuse_program(options, status->group, length > 0 ? executable : status->name, found);
}

static int open_file(void *files, const struct mapping *mapping)
{
    return pyunw_process_file_open(*(const pid_t *)files, mapping);
}

/* By few reads, as most interpreters are found: false where none was opened, and all has to be looked at. */
static bool open_exported(pyunw_target *target, const struct subject *subject, const struct process_maps *maps,
                          const pyunw_options *options)
{
    struct process_found found;
    pid_t pid = subject->pid;
    const struct source source = {
        .maps = maps,
        .read = subject->read,
        .context = subject->context,
        .open_file = open_file,
        .files = &pid,
        .look_ahead = subject->look_ahead,
    };
    if (subject->look_ahead == NULL)
        return false;
    pyunw_process_find_exported(&source, &found);
    return found.count > 0 && pyunw_choose_interpreter(target, subject, &found, options) == PYUNW_OK;
}

static int open_any(pyunw_target *target, const struct subject *subject, const struct process_maps *maps,
                    const struct process_status *status, const pyunw_options *options)
{
    struct process_found found;
    pid_t pid = subject->pid;
    const struct source source = {
        .maps = maps,
        .read = pyunw_process_read_image,
        .context = process_context(pid),
        .open_file = open_file,
        .files = &pid,
    };
    int err = pyunw_process_find(&source, &found);
    if (err == 0 && found.count == 0 && options->runtime == 0)
        return refuse_program(options, status, &found);
    return err < 0 ? err : pyunw_choose_interpreter(target, subject, &found, options);
}

static int open_mapped(pyunw_target *target, const struct subject *subject, const struct process_status *status,
                       const pyunw_options *options)
{
    struct process_maps maps;
    int no_maps = pyunw_process_maps_read(subject->pid, &maps);
    if (no_maps == 0 && open_exported(target, subject, &maps, options)) {
        pyunw_process_maps_free(&maps);
        return PYUNW_OK;
    }
    int err = check_executable(subject->pid, status, options);
    if (err == 0)
        err = no_maps;
    if (err == 0)
        err = open_any(target, subject, &maps, status, options);
    if (no_maps == 0)
        pyunw_process_maps_free(&maps);
    return err;
}

static int open_process(pyunw_target *target, const struct subject *subject, const pyunw_options *options)
{
    pid_t pid = subject->pid;
    struct process_status status;
    int err = pyunw_check_alive(pid, &status, options);
    if (err < 0)
        return err;
    err = open_mapped(target, subject, &status, options);
    if (err == PYUNW_ERR_PERMISSION)
        return pyunw_refuse_permission(options, pid, status.user);
    if (err == 0 || err == PYUNW_ERR_NOT_INITIALIZED || err == PYUNW_ERR_FINALIZED)
        return err;
    /* Whatever went wrong, that it has ended meanwhile explains it. */
    int alive = pyunw_check_alive(pid, &status, options);
    return alive < 0 ? alive : err;
}

static int open_subject(pyunw_target *target, const struct subject *subject, const pyunw_options *asked)
{
    static const pyunw_options defaults = {.size = sizeof defaults};
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    if (target == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(target, 0, sizeof *target);
    /* What the caller's structure does not have is not looked at, the message's place among it. */
    if (options->size < OPTIONS_SIZE_MIN)
        return PYUNW_ERR_ARGUMENT;
    if (subject->pid <= 0 || (options->runtime & 7) != 0)
        return pyunw_refuse(options, PYUNW_ERR_ARGUMENT, "asked for process %d, runtime %#llx", (int)subject->pid,
                            (unsigned long long)options->runtime);
    int err = open_process(target, subject, options);
    if (err < 0 && err != PYUNW_ERR_NOT_INITIALIZED && err != PYUNW_ERR_FINALIZED)
        pyunw_close(target);
    /* What an interpreter that was not taken, or a first try, had to say is of no interest. */
    if (err == PYUNW_OK && options->message != NULL && options->message_size > 0)
        options->message[0] = '\0';
    return err;
}

/* Read through the room that the caller gave, if any. */
static void take_room(struct subject *subject, const pyunw_pause *pause, const pyunw_options *options)
{
    if (options == NULL || options->size < offsetof(pyunw_options, room_size) + sizeof options->room_size)
        return;
    struct blocks *blocks = pyunw_blocks_begin(options->room, options->room_size, subject->pid, pause);
    if (blocks == NULL)
        return;
    subject->read = pyunw_blocks_read;
    subject->context = blocks;
    subject->renew = pyunw_blocks_renew;
    subject->expect = pyunw_blocks_expect;
    subject->look_ahead = pyunw_blocks_look_ahead;
}

int pyunw_open_pid(pyunw_target *target, pid_t pid, const pyunw_options *options)
{
    struct subject subject = {
        .pid = pid, .read = pyunw_process_read_image, .context = process_context(pid), .may_change = 1};
    take_room(&subject, NULL, options);
    return open_subject(target, &subject, options);
}

int pyunw_open_paused(pyunw_target *target, const pyunw_pause *pause, const pyunw_options *options)
{
    struct subject subject = {0};
    if (pause != NULL)
        subject = (struct subject){
            .pid = pyunw_pause_pid(pause), .read = pyunw_pause_read_image, .context = pyunw_pause_context(pause)};
    if (pause != NULL)
        take_room(&subject, pause, options);
    return open_subject(target, &subject, options);
}
