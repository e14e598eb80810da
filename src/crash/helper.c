/*
 * Find the pyunwind command, which is the sidecar, and say in its environment what it is to do.
 * Signal-safe: no.
 */
#include "install.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The command ---- */

static bool is_command(const char *path)
{
    return path[0] == '/' && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Beside the library in a build folder; in ../bin of lib/, or ../../bin of lib/pyunwind/ where it is installed. */
static bool find_beside_library(char path[PATH_MAX])
{
    static const char *const places[] = {"pyunwind", "../bin/pyunwind", "../../bin/pyunwind"};
    Dl_info info;
    if (dladdr((void *)(uintptr_t)&pyunw_crash_install, &info) == 0 || info.dli_fname == NULL)
        return false;
    char *library = realpath(info.dli_fname, NULL);
    char *slash = library != NULL ? strrchr(library, '/') : NULL;
    bool found = false;
    for (size_t n = 0; slash != NULL && !found && n < sizeof places / sizeof places[0]; n++)
        found = snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - library), library, places[n]) < PATH_MAX &&
                is_command(path);
    free(library);
    return found;
}

static bool find_in_path(char path[PATH_MAX])
{
    const char *at = secure_getenv("PATH");
    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, ":");
        if (length > 0 && snprintf(path, PATH_MAX, "%.*s/pyunwind", (int)length, at) < PATH_MAX && is_command(path))
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

int pyunw_crash_open_helper(const pyunw_crash_options *options, struct crash_settings *settings)
{
    const char *named = options->helper != NULL ? options->helper : secure_getenv("PYUNWIND_HELPER");
    char *path = settings->helper_path;
    if (named != NULL && *named != '\0') {
        char *whole = realpath(named, NULL);
        bool good = whole != NULL && strlen(whole) < PATH_MAX && is_command(whole);
        int why = errno;
        if (good)
            memcpy(path, whole, strlen(whole) + 1);
        free(whole);
        if (!good)
            return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM,
                                      "the command %s, which completes reports, cannot be "
                                      "executed: %s",
                                      named, strerror(why));
    } else if (!find_beside_library(path) && !find_in_path(path)) {
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM,
                                  "the command pyunwind, which completes reports, is not beside the library and not in "
                                  "PATH: name it (PYUNWIND_HELPER)");
    }
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM, "%s cannot be opened: %s", path, strerror(errno));
    settings->helper = pyunw_crash_hold_own(pyunw_crash_move_high(fd));
    return PYUNW_OK;
}

/* ---- Its environment ---- */

struct block {
    struct crash_settings *settings;
    int count;
    size_t used;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void add(struct block *block, const char *format, ...)
{
    struct crash_settings *settings = block->settings;
    size_t room = sizeof settings->environment_text - block->used;
    char *at = settings->environment_text + block->used;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(at, room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= room || block->count == ENVIRONMENT_MAX - 1) {
        block->full = true;
        return;
    }
    settings->environment[block->count++] = at;
    settings->environment[block->count] = NULL;
    block->used += (size_t)length + 1;
}

static void copy(struct block *block, const char *name)
{
    const char *value = secure_getenv(name);
    if (value != NULL)
        add(block, "%s=%s", name, value);
}

static void add_flag(struct block *block, const char *name, uint32_t flags, uint32_t flag, int value)
{
    if ((flags & flag) != 0)
        add(block, "%s=%d", name, value);
    else
        copy(block, name);
}

int pyunw_crash_make_environment(const pyunw_crash_options *options, struct crash_settings *settings)
{
    /* What the command and a hook need; PATH above all. */
    static const char *const kept[] = {"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "NO_COLOR"};
    struct block block = {.settings = settings};
    for (size_t n = 0; n < sizeof kept / sizeof kept[0]; n++)
        copy(&block, kept[n]);
    add(&block, "PYUNWIND_REPORT_DIR=%s", settings->folder_path);
    add_flag(&block, "PYUNWIND_NATIVE", options->flags, PYUNW_CRASH_NO_NATIVE, 0);
    add_flag(&block, "PYUNWIND_COMMAND", options->flags, PYUNW_CRASH_NO_COMMAND, 0);
    add_flag(&block, "PYUNWIND_LOCALS", options->flags, PYUNW_CRASH_LOCALS, 1);
    add_flag(&block, "PYUNWIND_TEXT", options->flags, PYUNW_CRASH_TEXT, 1);
    if ((options->flags & PYUNW_CRASH_ONLY_CRASHED) != 0)
        add(&block, "PYUNWIND_THREADS=crashed");
    else
        copy(&block, "PYUNWIND_THREADS");
    if (options->hook != NULL)
        add(&block, "PYUNWIND_HOOK=%s", options->hook);
    else
        copy(&block, "PYUNWIND_HOOK");
    if (options->report_size != 0)
        add(&block, "PYUNWIND_REPORT_SIZE=%" PRIu64, options->report_size);
    else
        copy(&block, "PYUNWIND_REPORT_SIZE");
    if (options->reports_kept != 0)
        add(&block, "PYUNWIND_REPORTS_KEPT=%d", options->reports_kept);
    else
        copy(&block, "PYUNWIND_REPORTS_KEPT");
    if (block.full)
        return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT,
                                  "the options, or PATH, are too long: they have room for "
                                  "%d bytes",
                                  (int)sizeof settings->environment_text);
    return PYUNW_OK;
}
