/*
 * The library that `pyunwind run` preloads: it opens a process at its start, before there is an interpreter. A process
 * in which no Python ever appears is left alone: no handler, no descriptor, no folder opened.
 *
 * Its options are those of the environment (docs/crash.md). Where they cannot be followed the process runs on without
 * handlers, and nothing is said: its standard error is its own.
 */
#include "preload.h"

#include "other_copy.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t kept_first;

void *preload_next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

bool preload_is_installed(void)
{
    return pyunw_crash_settings.installed;
}

uint64_t preload_kept_first(void)
{
    return kept_first;
}

/* ---- Options ---- */

static uint64_t parse_kept_first(void)
{
    static const struct {
        const char *name;
        int signal;
    } names[] = {
        {"SEGV", SIGSEGV}, {"BUS", SIGBUS}, {"ILL", SIGILL},   {"FPE", SIGFPE},
        {"ABRT", SIGABRT}, {"SYS", SIGSYS}, {"TRAP", SIGTRAP},
    };
    uint64_t signals = 0;
    const char *at = getenv("PYUNWIND_KEEP_FIRST");
    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, ",");
        size_t skipped = length > 3 && strncmp(at, "SIG", 3) == 0 ? 3 : 0;
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            if (strlen(names[n].name) == length - skipped &&
                strncmp(names[n].name, at + skipped, length - skipped) == 0)
                signals |= signal_bit(names[n].signal);
        }
        at += length + (at[length] == ',');
    }
    return signals;
}

/*
 * A descriptor for reports is inherited by some processes and not by others, where the number may be a file of the
 * program's: the monitor has said which file it is.
 */
static bool is_report_file(void)
{
    struct stat status;
    char *end = NULL;
    const char *number = getenv("PYUNWIND_REPORT_FD");
    const char *file = getenv("PYUNWIND_REPORT_FD_FILE");
    if (number == NULL || fstat((int)strtol(number, NULL, 10), &status) != 0)
        return false;
    if (file == NULL)
        return true;
    uint64_t device = strtoull(file, &end, 10);
    return *end == ':' && device == status.st_dev && strtoull(end + 1, NULL, 10) == status.st_ino;
}

/* ---- Installation ---- */

static int install(void)
{
    const pyunw_crash_options options = {.size = sizeof options, .report_fd = is_report_file() ? 0 : -1};
    int err = pyunw_crash_install_here(&options);
    if (err == PYUNW_OK)
        kept_first = parse_kept_first() & pyunw_crash_settings.signals;
    return err;
}

/* The monitor looks for reports in one folder, and would write one of its own where there is none. */
static int install_for_program(const pyunw_crash_options *asked)
{
    pyunw_crash_options options = {.size = sizeof options};
    if (asked != NULL && asked->size < sizeof options)
        return PYUNW_ERR_ARGUMENT;
    if (asked != NULL)
        options = *asked;
    options.report_dir = NULL;
    options.helper = NULL;
    return pyunw_crash_install_here(&options);
}

PRELOAD_API const struct preloaded_tracker pyunwind_preloaded_tracker = {
    .version = PRELOADED_TRACKER_VERSION,
    .install = install_for_program,
    .restore = install,
    .report_now = pyunw_crash_report_now,
};

static bool has_runtime(void *handle)
{
    bool found = dlsym(handle, "_PyRuntime") != NULL;
    if (!found)
        (void)dlerror(); /* the program is not to be told of what it has not asked for */
    return found;
}

void preload_find_interpreter(void)
{
    if (!preload_is_installed() && has_runtime(RTLD_DEFAULT))
        (void)install();
}

static bool is_named_python(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    return strncmp(name, "python", 6) == 0 || strncmp(name, "libpython", 9) == 0;
}

void preload_find_interpreter_at(const void *address)
{
    Dl_info info;
    if (preload_is_installed() || dladdr(address, &info) == 0 || info.dli_fname == NULL)
        return;
    bool found = has_runtime(RTLD_DEFAULT) || is_named_python(info.dli_fname);
    void *handle = found ? NULL : dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL) {
        found = has_runtime(handle);
        (void)dlclose(handle);
    } else if (!found) {
        (void)dlerror();
    }
    if (found)
        (void)install();
}

__attribute__((constructor)) static void at_start(void)
{
    preload_find_interpreter();
}
