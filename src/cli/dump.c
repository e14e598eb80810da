/*
 * pyunwind dump: the stacks of all threads of running processes.
 */
#include "cli.h"
#include "dump_output.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dump_options {
    bool json;
    bool pause;
    const char *output; /* NULL: standard output */
    pid_t *pids;
    int count;
};

static const char documentation[] =
    "Print the Python stack of every thread of running processes, innermost frame first. The processes are not "
    "changed, and stopped only by --pause. What could not be settled because a thread ran on is said.\v"
    "A process is read that the ptrace access check of the kernel lets this user read: mostly one's own, or any as "
    "root.\n"
    "\n"
    "Exit status: 0 all were read, 1 some could not be (each is named, with the reason), 2 wrong usage.\n"
    "NO_COLOR in the environment: no colour on a terminal.";

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "Write one JSON document (its schema: docs/dump.schema.json)", 0},
    {"pause", 'p', NULL, 0, "Stop each process while it is read, 5 s at most: exact", 0},
    {"output", 'o', "FILE", 0, "Write to FILE instead of standard output", 0},
    {0},
};

static pid_t parse_pid(const char *text)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    bool good = errno == 0 && end != text && *end == '\0' && text[0] != '+' && value > 0 && value <= INT_MAX;
    return good ? (pid_t)value : 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct dump_options *options = state->input;
    switch (key) {
    case 'j':
        options->json = true;
        return 0;
    case 'p':
        options->pause = true;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        options->pids[options->count] = parse_pid(argument);
        if (options->pids[options->count] == 0)
            argp_error(state, "not a process id: %s", argument);
        options->count++;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no process id given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "pyunwind dump: %s%s%s\n", what, *what != '\0' ? ": " : "", why);
}

/* ---- Processes ---- */

struct dump {
    const struct dump_options *options;
    FILE *out;
    bool coloured;
    int written;
    int status;
};

static void complain_of_part(const struct snapshot *snapshot)
{
    char why[256];
    if (snapshot->list_error == 0)
        return;
    (void)snprintf(why, sizeof why, "process %d: there may be more threads, the list of which could not be read: %s",
                   (int)snapshot->info.pid, pyunw_strerror(snapshot->list_error));
    complain("", why);
}

/* It runs on before anything of it is written: the output may be what it is to empty. */
static bool read_process(const struct dump *dump, pid_t pid, struct snapshot *snapshot, char *message, size_t size)
{
    struct standing standing;
    if (!dump->options->pause)
        return snapshot_read(pid, NULL, snapshot, message, size);
    *snapshot = (struct snapshot){0};
    bool good = standing_begin(pid, &standing, message, size) == 0;
    if (!good)
        return false;
    good = snapshot_read(pid, &standing, snapshot, message, size);
    return standing_end(&standing, message, size) && good;
}

static void dump_process(struct dump *dump, pid_t pid)
{
    struct snapshot snapshot;
    char message[1024];
    bool good = read_process(dump, pid, &snapshot, message, sizeof message);
    if (good) {
        if (dump->options->json)
            dump_json_process(dump->out, &snapshot, dump->written == 0);
        else
            dump_text_process(dump->out, &snapshot, dump->written == 0, dump->coloured);
        dump->written++;
        (void)fflush(dump->out);
        complain_of_part(&snapshot);
    } else {
        complain("", message);
    }
    if (!good || snapshot.list_error < 0)
        dump->status = CLI_INCOMPLETE;
    snapshot_free(&snapshot);
}

static bool wants_colour(FILE *out)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(fileno(out)) && (no_colour == NULL || *no_colour == '\0') && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

static int dump_all(const struct dump_options *options)
{
    struct dump dump = {.options = options, .out = stdout, .status = CLI_OK};
    if (options->output != NULL) {
        dump.out = fopen(options->output, "we");
        if (dump.out == NULL) {
            complain(options->output, strerror(errno));
            return CLI_INCOMPLETE;
        }
    }
    dump.coloured = wants_colour(dump.out);
    if (options->json)
        dump_json_begin(dump.out);
    for (int n = 0; n < options->count; n++)
        dump_process(&dump, options->pids[n]);
    if (options->json)
        dump_json_end(dump.out);
    bool failed = fflush(dump.out) != 0 || ferror(dump.out) != 0;
    int error = errno;
    if (dump.out != stdout && fclose(dump.out) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    if (failed) {
        complain(options->output != NULL ? options->output : "standard output", strerror(error));
        return CLI_INCOMPLETE;
    }
    return dump.status;
}

int cli_dump(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse, "PID...", documentation, NULL, NULL, NULL};
    struct dump_options options = {.pids = calloc((size_t)argc + 1, sizeof *options.pids)};
    int status = CLI_USAGE;
    if (options.pids == NULL)
        complain("", strerror(errno));
    else if (argp_parse(&argp, argc, argv, 0, NULL, &options) == 0)
        status = dump_all(&options);
    free(options.pids);
    return status;
}
