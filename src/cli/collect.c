/*
 * pyunwind collect: the sidecar. The handler of a crashed process starts it and waits for its end
 * (src/crash/sidecar.c): it reads the process, and makes a report of that and of what the handler has written itself.
 *
 *     pyunwind collect process|journal PID THREAD JOURNAL FOLDER OUTPUT STDERR MILLISECONDS NAME FAULT
 *
 * JOURNAL, FOLDER, OUTPUT and STDERR are numbers of descriptors, -1 for none; NAME is that of the journal without its
 * extension, empty if it has none; FAULT is the record of the fault. Options come by the environment (docs/crash.md).
 */
#include "cli.h"
#include "crash_document.h"
#include "crash_options.h"
#include "crash_snapshot.h"
#include "deliver.h"
#include "finish.h"
#include "tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* What the handler is told (enum sidecar_end in src/crash/crash.h). */
enum { COLLECT_DONE = 0, COLLECT_FAILED = 1, COLLECT_REFUSED = 10 };

struct collect {
    bool from_process; /* else the journal is all there is */
    pid_t pid;
    pid_t thread;
    int journal;
    int folder;
    int output;
    int standard_error;
    int64_t deadline; /* milliseconds of CLOCK_MONOTONIC */
    const char *name;
    const char *fault;
};

/* ---- This process ---- */

static void close_range_of(unsigned first, unsigned last)
{
    if (first > last)
        return;
    if (syscall(SYS_close_range, first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < 65536; fd++) /* before Linux 5.9 */
        (void)close((int)fd);
}

static int compare(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

/* The crashed process's files are none of ours: another waits for the end of a pipe, perhaps. */
static void close_others(const struct collect *collect)
{
    int kept[] = {STDERR_FILENO, collect->journal, collect->folder, collect->output, collect->standard_error};
    unsigned next = STDERR_FILENO + 1;
    qsort(kept, sizeof kept / sizeof kept[0], sizeof kept[0], compare);
    for (size_t n = 0; n < sizeof kept / sizeof kept[0]; n++) {
        if (kept[n] < (int)next)
            continue;
        close_range_of(next, (unsigned)kept[n] - 1);
        next = (unsigned)kept[n] + 1;
    }
    close_range_of(next, UINT_MAX);
}

/* Whatever the numbers 0, 1 and 2 are open on is the program's: nothing is written there by chance. */
static void take_null(const struct collect *collect)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0)
        return;
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fd != collect->standard_error && fd != null)
            (void)dup2(null, fd);
    }
    if (null > STDERR_FILENO)
        (void)close(null);
}

/* The time limit is kept from outside as well: the handler waits no longer. */
static void set_alarm(int64_t milliseconds)
{
    const struct itimerval timer = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000}};
    (void)signal(SIGALRM, SIG_DFL);
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* The program's limits are for the program: what it has used up is needed here. */
static void raise_limits(void)
{
    static const int limits[] = {RLIMIT_AS, RLIMIT_DATA, RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_STACK};
    struct rlimit limit;
    for (size_t n = 0; n < sizeof limits / sizeof limits[0]; n++) {
        if (getrlimit((__rlimit_resource_t)limits[n], &limit) != 0)
            continue;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit((__rlimit_resource_t)limits[n], &limit);
    }
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that must not grow is an error, and said to be one */
}

static void become_sidecar(const struct collect *collect, int64_t milliseconds)
{
    sigset_t none;
    raise_limits();
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid(); /* what a terminal sends is meant for the program */
    set_alarm(milliseconds > 0 ? milliseconds : 1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    take_null(collect);
    close_others(collect);
}

/* ---- The journal ---- */

/* Behind what is in the text already, of which there is room for at least one byte more. NULL: no memory. */
static char *read_journal(int fd, char *text, size_t *size)
{
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size <= 0)
        return text;
    size_t whole = *size + (size_t)status.st_size;
    size_t before = *size;
    char *grown = realloc(text, whole + 1);
    if (grown == NULL)
        return text;
    while (*size < whole) {
        ssize_t n = pread(fd, grown + *size, whole - *size, (off_t)(*size - before));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        *size += (size_t)n;
    }
    return grown;
}

/*
 * The record of the fault comes first, whether it could be written to the journal or not: without it nothing would say
 * that anything has happened.
 */
static json_t *read_records(const struct collect *collect)
{
    size_t length = strlen(collect->fault);
    size_t size = length;
    char *text = malloc(length + 1);
    if (text == NULL)
        return NULL;
    memcpy(text, collect->fault, length + 1);
    text = read_journal(collect->journal, text, &size);
    bool is_twice = length > 0 && memmem(text + length, size - length, collect->fault, length) != NULL;
    const char *first = is_twice ? text + length : text;
    json_t *document = report_from_partial(first, size - (size_t)(first - text));
    if (document == NULL) /* what is in the journal is damaged */
        document = report_from_partial(collect->fault, length);
    free(text);
    return document;
}

/* ---- The report ---- */

static struct crash_wish wish_of(const struct collect *collect, const json_t *document)
{
    json_t *record = json_loads(collect->fault, 0, NULL);
    const char *context = json_string_value(json_object_get(record, "context"));
    int64_t rest = collect->deadline - deliver_now();
    const struct crash_wish wish = {
        .thread = collect->thread,
        .context = context != NULL ? strtoull(context, NULL, 16) : 0,
        .crashed = json_is_object(json_object_get(document, "signal")),
        .native = crash_option_is_set("PYUNWIND_NATIVE", true),
        .locals = crash_option_is_set("PYUNWIND_LOCALS", false),
        .limit = rest > 0 ? (int)rest : 1,
    };
    json_decref(record);
    return wish;
}

static void add_note(json_t *document, const char *note)
{
    json_t *text = json_string(note);
    if (text != NULL)
        (void)json_array_append_new(json_object_get(document, "notes"), text);
    (void)json_object_set_new(document, "status", json_string("partial"));
}

/* What can be told without the right to stop the process. */
static void read_what_may_be_read(const struct collect *collect, const struct crash_wish *wish, json_t *document)
{
    struct crash_snapshot crash;
    int err = crash_snapshot_read_crashed(collect->pid, wish, &crash);
    crash_document_add(document, collect->pid, err == 0 ? &crash : NULL, crash_option_is_set("PYUNWIND_COMMAND", true));
    if (err < 0 && crash.why_native[0] != '\0')
        add_note(document, crash.why_native);
    crash_snapshot_free(&crash);
}

/* What is to be done with the document: it is written, or the handler is told another thing. */
enum outcome { OUTCOME_WRITE, OUTCOME_REFUSED, OUTCOME_NO_PYTHON };

static enum outcome read_process(const struct collect *collect, json_t *document)
{
    char message[1024] = "";
    struct crash_snapshot crash;
    const struct crash_wish wish = wish_of(collect, document);
    enum outcome outcome = OUTCOME_WRITE;
    if (!collect->from_process) {
        read_what_may_be_read(collect, &wish, document);
        return OUTCOME_WRITE;
    }
    (void)tracer_ask_to_let_go(collect->pid);
    int err = crash_snapshot_read(collect->pid, &wish, &crash, message, sizeof message);
    if (err == PYUNW_ERR_PERMISSION) {
        outcome = OUTCOME_REFUSED;
    } else if (err < 0) {
        read_what_may_be_read(collect, &wish, document);
        add_note(document, message);
    } else if (!crash.has_python) {
        outcome = OUTCOME_NO_PYTHON;
    } else {
        (void)crash_document_complete(document, &crash, crash_option_is_set("PYUNWIND_COMMAND", true));
    }
    crash_snapshot_free(&crash);
    return outcome;
}

static int open_folder(const struct collect *collect)
{
    const char *path = crash_option("PYUNWIND_REPORT_DIR");
    int folder = collect->folder;
    struct stat status;
    if (folder >= 0 && fstat(folder, &status) == 0 && status.st_nlink > 0)
        return folder;
    if (path == NULL)
        return -1;
    (void)mkdir(path, 0700); /* it was removed, perhaps */
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void choose_name(const struct collect *collect, char *name, size_t size)
{
    char time_text[32];
    struct tm utc;
    time_t seconds = time(NULL);
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(time_text, sizeof time_text, "%Y%m%dT%H%M%SZ", &utc);
    if (*collect->name != '\0')
        (void)snprintf(name, size, "%s", collect->name);
    else
        (void)snprintf(name, size, "pyunwind-%s-%d", time_text, (int)collect->pid);
}

static void remove_partial(const struct collect *collect, int folder)
{
    char file[128];
    if (*collect->name == '\0' || folder < 0)
        return;
    (void)snprintf(file, sizeof file, "%s.partial", collect->name);
    (void)unlinkat(folder, file, 0);
}

static int finish(const struct collect *collect, json_t *document)
{
    char name[128];
    char partial[sizeof name + 16];
    choose_name(collect, name, sizeof name);
    (void)snprintf(partial, sizeof partial, "%s.partial", name);
    const struct delivery delivery = {
        .folder = open_folder(collect),
        .base = name,
        .done = *collect->name != '\0' ? partial : NULL,
        .output = collect->output,
        .standard_error = collect->standard_error,
        .deadline = collect->deadline,
    };
    return report_deliver(&delivery, document) ? COLLECT_DONE : COLLECT_FAILED;
}

static int collect_report(const struct collect *collect)
{
    int status = COLLECT_DONE;
    json_t *document = read_records(collect);
    if (document == NULL)
        return COLLECT_FAILED;
    switch (read_process(collect, document)) {
    case OUTCOME_WRITE:
        status = finish(collect, document);
        break;
    case OUTCOME_REFUSED:
        status = COLLECT_REFUSED;
        break;
    case OUTCOME_NO_PYTHON: /* none of ours */
        remove_partial(collect, collect->folder);
        break;
    }
    json_decref(document);
    return status;
}

/* The record tells registers, and every user may read the arguments of a process. NULL: no memory. */
static const char *take_fault(char *argument)
{
    char *fault = strdup(argument);
    explicit_bzero(argument, strlen(argument));
    return fault;
}

int cli_collect(int argc, char **argv)
{
    enum { ARGUMENTS = 11 };
    if (argc != ARGUMENTS) {
        (void)fprintf(stderr, "pyunwind collect: it is started by the handler of a crashed process, not by people\n");
        return CLI_USAGE;
    }
    int64_t milliseconds = strtoll(argv[8], NULL, 10);
    const struct collect collect = {
        .from_process = strcmp(argv[1], "process") == 0,
        .pid = (pid_t)strtol(argv[2], NULL, 10),
        .thread = (pid_t)strtol(argv[3], NULL, 10),
        .journal = (int)strtol(argv[4], NULL, 10),
        .folder = (int)strtol(argv[5], NULL, 10),
        .output = (int)strtol(argv[6], NULL, 10),
        .standard_error = (int)strtol(argv[7], NULL, 10),
        .deadline = deliver_now() + milliseconds - milliseconds / 10,
        .name = argv[9],
        .fault = take_fault(argv[10]),
    };
    if (collect.fault == NULL)
        return COLLECT_FAILED;
    become_sidecar(&collect, milliseconds);
    return collect_report(&collect);
}
