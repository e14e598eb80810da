/*
 * pyunwind run: run a program under the crash tracker.
 */
#include "cli.h"
#include "monitor.h"
#include "report_name.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum key {
    KEY_REPORT_DIR = 256,
    KEY_SIGNALS,
    KEY_KEEP_FIRST,
    KEY_TIME_LIMIT,
    KEY_NO_NATIVE,
    KEY_LOCALS,
    KEY_NO_COMMAND,
    KEY_CRASHED_ONLY,
    KEY_TEXT,
    KEY_REPORT_SIZE,
    KEY_KEEP,
    KEY_HOOK,
    KEY_REPORT_FD,
    KEY_TRACE_KILLS,
};

static const char documentation[] =
    "Run a program, and leave a report of each Python process of it that crashes or is killed.\v"
    "DIR: PYUNWIND_REPORT_DIR, $XDG_STATE_HOME/pyunwind or ~/.local/state/pyunwind.\n"
    "Exit status: the program's own; 125 pyunwind itself failed, 126 the program could not be executed, 127 it was not "
    "found. Where the program dies of a signal, so does this process.";

static const struct argp_option option_list[] = {
    {"report-dir", KEY_REPORT_DIR, "DIR", 0, "Write reports there", 0},
    {"signals", KEY_SIGNALS, "LIST", 0, "Report these: SEGV,BUS,ILL,FPE,ABRT,SYS,TRAP", 0},
    {"keep-first", KEY_KEEP_FIRST, "LIST", 0, "Report these before the program's own handlers see them", 0},
    {"time-limit", KEY_TIME_LIMIT, "SECONDS", 0, "From the fault until the process dies (10)", 0},
    {"no-native", KEY_NO_NATIVE, NULL, 0, "Python frames only", 0},
    {"locals", KEY_LOCALS, NULL, 0, "Arguments and locals, too, which may hold secrets", 0},
    {"no-command", KEY_NO_COMMAND, NULL, 0, "Leave out the command line, which may hold secrets", 0},
    {"crashed-only", KEY_CRASHED_ONLY, NULL, 0, "Tell of the thread that crashed only", 0},
    {"text", KEY_TEXT, NULL, 0, "Write reports for people to standard error, too", 0},
    {"report-size", KEY_REPORT_SIZE, "BYTES", 0, "Of a report at most (16 MiB)", 0},
    {"keep", KEY_KEEP, "N", 0, "Keep the N newest reports (100); -1: all", 0},
    {"hook", KEY_HOOK, "COMMAND", 0, "Run by /bin/sh on each report, which is $1", 0},
    {"report-fd", KEY_REPORT_FD, "N", 0, "Write reports to descriptor N, too", 0},
    {"trace-kills", KEY_TRACE_KILLS, NULL, 0, "Trace all processes, to read the stacks of one that is killed", 0},
    {0},
};

struct run {
    bool trace_kills;
    char **command; /* NULL: none was given */
};

/* ---- The command line ---- */

static void set(struct argp_state *state, const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        argp_failure(state, MONITOR_FAILED, errno, "%s", name);
}

static bool are_signals(const char *list)
{
    static const char *const names[] = {"SEGV", "BUS", "ILL", "FPE", "ABRT", "SYS", "TRAP"};
    while (*list != '\0') {
        bool known = false;
        size_t length = strcspn(list, ",");
        size_t skipped = length > 3 && strncmp(list, "SIG", 3) == 0 ? 3 : 0;
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
            known = known ||
                    (strlen(names[n]) == length - skipped && strncmp(names[n], list + skipped, length - skipped) == 0);
        if (!known)
            return false;
        list += length + (list[length] == ',');
    }
    return true;
}

static void set_signals(struct argp_state *state, const char *name, const char *list)
{
    if (*list == '\0' || !are_signals(list))
        argp_error(state, "signals are SEGV, BUS, ILL, FPE, ABRT, SYS and TRAP, with commas between them, not: %s",
                   list);
    set(state, name, list);
}

static void set_whole(struct argp_state *state, const char *name, const char *text, long least, long most)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < least || value > most)
        argp_error(state, "a whole number from %ld on is wanted, not: %s", least, text);
    set(state, name, text);
}

static void set_seconds(struct argp_state *state, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0 && value < 1e6))
        argp_error(state, "--time-limit takes a number of seconds above 0, not: %s", text);
    set(state, "PYUNWIND_TIME_LIMIT", text);
}

static void set_descriptor(struct argp_state *state, const char *text)
{
    set_whole(state, "PYUNWIND_REPORT_FD", text, STDERR_FILENO + 1, INT_MAX);
    if (fcntl((int)strtol(text, NULL, 10), F_GETFD) < 0)
        argp_error(state, "descriptor %s is not open", text);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct run *run = state->input;
    switch (key) {
    case KEY_REPORT_DIR:
        set(state, "PYUNWIND_REPORT_DIR", argument);
        return 0;
    case KEY_SIGNALS:
        set_signals(state, "PYUNWIND_SIGNALS", argument);
        return 0;
    case KEY_KEEP_FIRST:
        set_signals(state, "PYUNWIND_KEEP_FIRST", argument);
        return 0;
    case KEY_TIME_LIMIT:
        set_seconds(state, argument);
        return 0;
    case KEY_NO_NATIVE:
        set(state, "PYUNWIND_NATIVE", "0");
        return 0;
    case KEY_LOCALS:
        set(state, "PYUNWIND_LOCALS", "1");
        return 0;
    case KEY_NO_COMMAND:
        set(state, "PYUNWIND_COMMAND", "0");
        return 0;
    case KEY_CRASHED_ONLY:
        set(state, "PYUNWIND_THREADS", "crashed");
        return 0;
    case KEY_TEXT:
        set(state, "PYUNWIND_TEXT", "1");
        return 0;
    case KEY_REPORT_SIZE:
        set_whole(state, "PYUNWIND_REPORT_SIZE", argument, 1, LONG_MAX);
        return 0;
    case KEY_KEEP:
        set_whole(state, "PYUNWIND_REPORTS_KEPT", argument, -1, INT_MAX);
        return 0;
    case KEY_HOOK:
        set(state, "PYUNWIND_HOOK", argument);
        return 0;
    case KEY_REPORT_FD:
        set_descriptor(state, argument);
        return 0;
    case KEY_TRACE_KILLS:
        run->trace_kills = true;
        return 0;
    case ARGP_KEY_ARG:
        /* From here on all is the program's. */
        run->command = &state->argv[state->next - 1];
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no command to run is given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- What has to be there before the program is started ---- */

__attribute__((format(printf, 1, 2))) static bool refuse(const char *format, ...)
{
    va_list arguments;
    (void)fputs("pyunwind run: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    return false;
}

/* As mkdir -p -m 700; errno says why not. */
static bool make_folder(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (size_t n = 1; n <= length; n++) {
        if (path[n] != '/' && path[n] != '\0')
            continue;
        memcpy(part, path, n);
        part[n] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && access(part, F_OK) != 0)
            return false;
    }
    return true;
}

/* The same that the handler asks for (src/crash/folder.c): else every process would go without. */
static bool check_folder(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return refuse("the report folder %s cannot be used: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return refuse("the report folder %s is no folder; --report-dir names another", path);
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return refuse(
            "the report folder %s belongs to user %u, and this process to user %u; --report-dir names another", path,
            (unsigned)status.st_uid, (unsigned)geteuid());
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0)
        return refuse("everyone can write to the report folder %s; chmod 700 takes that away", path);
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
        return refuse("the report folder %s cannot be written to: %s; --report-dir names another", path,
                      strerror(errno));
    return true;
}

/* The program may go to another folder: a path that is not absolute would lead elsewhere from there. */
static bool open_folder(int *folder)
{
    char *path = report_folder();
    char *whole = NULL;
    bool good = path != NULL;
    if (!good)
        return refuse("memory is short");
    if (!make_folder(path))
        good = refuse("the report folder %s cannot be made: %s; --report-dir names another", path, strerror(errno));
    good = good && check_folder(path);
    if (good) {
        whole = realpath(path, NULL);
        *folder = whole != NULL ? open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        good = (*folder >= 0 && setenv("PYUNWIND_REPORT_DIR", whole, 1) == 0) ||
               refuse("the report folder %s cannot be opened: %s", path, strerror(errno));
    }
    free(whole);
    free(path);
    return good;
}

/* Beside the command in a build folder, in ../lib/pyunwind where it is installed. */
static bool find_preload(char preload[PATH_MAX])
{
    static const char *const places[] = {"libpyunwind-preload.so", "../lib/pyunwind/libpyunwind-preload.so"};
    char command[PATH_MAX];
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", command, sizeof command - 1);
    if (length <= 0)
        return refuse("the command's own path cannot be read from /proc/self/exe: %s", strerror(errno));
    command[length] = '\0';
    if (setenv("PYUNWIND_HELPER", command, 1) != 0)
        return refuse("memory is short");
    const char *parent = dirname(command);
    (void)snprintf(folder, sizeof folder, "%s", parent);
    for (size_t n = 0; n < sizeof places / sizeof places[0]; n++) {
        char path[2 * PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", folder, places[n]);
        char *whole = realpath(path, NULL);
        bool found = whole != NULL && strlen(whole) < PATH_MAX;
        if (found)
            memcpy(preload, whole, strlen(whole) + 1);
        free(whole);
        if (found && strpbrk(preload, " :") != NULL)
            return refuse("%s: the dynamic linker preloads no file whose path holds a blank or a colon; install "
                          "pyunwind elsewhere",
                          preload);
        if (found)
            return true;
    }
    return refuse("libpyunwind-preload.so is neither in %s nor in %s/../lib/pyunwind: the installation is not whole",
                  folder, folder);
}

/* Which file it is: a process of the program may have another of this number. */
static int tell_report_file(int fd)
{
    char file[64];
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -1;
    (void)snprintf(file, sizeof file, "%" PRIu64 ":%" PRIu64, (uint64_t)status.st_dev, (uint64_t)status.st_ino);
    return setenv("PYUNWIND_REPORT_FD_FILE", file, 1) == 0 ? fd : -1;
}

int cli_run(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_list, .parser = parse, .args_doc = "COMMAND [ARGUMENT...]", .doc = documentation};
    static char preload[PATH_MAX];
    struct run run = {0};
    const char *output = NULL;
    argp_err_exit_status = MONITOR_FAILED;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &run) != 0)
        return MONITOR_FAILED;
    struct monitor_wish wish = {
        .command = run.command, .preload = preload, .folder = -1, .output = -1, .trace_kills = run.trace_kills};
    if (!find_preload(preload) || !open_folder(&wish.folder))
        return MONITOR_FAILED;
    output = getenv("PYUNWIND_REPORT_FD");
    if (output != NULL && strtol(output, NULL, 10) > STDERR_FILENO)
        wish.output = tell_report_file((int)strtol(output, NULL, 10));
    return monitor_run(&wish);
}
