/*
 * pyunwind report: show what is left of processes that crashed.
 */
#include "cli.h"
#include "document.h"
#include "page.h"
#include "report_file.h"
#include "report_folder.h"
#include "report_output.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum form { FORM_TEXT, FORM_JSON, FORM_MARKDOWN };
enum task { TASK_SHOW, TASK_LIST, TASK_PRUNE };

struct report_options {
    enum task task;
    enum form form;
    bool verbose;
    size_t budget;      /* 0: not given */
    const char *output; /* NULL: standard output */
    struct prune_wish prune;
    char **paths; /* files, or a folder */
    int count;
};

enum { KEY_BUDGET = 0x100, KEY_LIST, KEY_PRUNE, KEY_KEEP, KEY_OLDER_THAN };

static const char documentation[] = "Show crash reports, finished or not; list those of a folder; remove old ones.\v"
                                    "DIR: PYUNWIND_REPORT_DIR, $XDG_STATE_HOME/pyunwind or ~/.local/state/pyunwind.\n"
                                    "Exit status: 0 all was read, 1 some could not be, 2 wrong usage.";

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "Write the document itself (docs/crash.md)", 0},
    {"markdown", 'm', NULL, 0, "Write compact Markdown, the cause first", 0},
    {"budget", KEY_BUDGET, "BYTES", 0, "With --markdown: at most so many a report (16000)", 0},
    {"verbose", 'v', NULL, 0, "All of every stack, registers, libraries", 0},
    {"output", 'o', "FILE", 0, "Write to FILE instead of standard output", 0},
    {"list", KEY_LIST, NULL, 0, "Tell of the crashes in DIR, by fingerprint", 1},
    {"prune", KEY_PRUNE, NULL, 0, "Remove reports from DIR, and say which", 1},
    {"keep", KEY_KEEP, "N", 0, "With --prune: all but the N newest", 1},
    {"older-than", KEY_OLDER_THAN, "DAYS", 0, "With --prune: those that are older", 1},
    {0},
};

/* ---- The command line ---- */

static bool parse_number(const char *text, double most, double *number)
{
    char *end = NULL;
    size_t digits = strspn(text, "0123456789.");
    *number = strtod(text, &end);
    return digits > 0 && text[digits] == '\0' && *end == '\0' && *number <= most;
}

static void parse_count(struct argp_state *state, const char *what, const char *text, double least, size_t *count)
{
    double number = 0;
    if (!parse_number(text, 1e12, &number) || number < least || strchr(text, '.') != NULL)
        argp_error(state, "%s takes a whole number from %.0f on, not: %s", what, least, text);
    *count = (size_t)number;
}

static void parse_form(struct argp_state *state, enum form form)
{
    struct report_options *options = state->input;
    if (options->form != FORM_TEXT && options->form != form)
        argp_error(state, "either --json or --markdown");
    options->form = form;
}

static void parse_task(struct argp_state *state, enum task task)
{
    struct report_options *options = state->input;
    if (options->task != TASK_SHOW && options->task != task)
        argp_error(state, "either --list or --prune");
    options->task = task;
}

static void check_options(struct argp_state *state)
{
    const struct report_options *options = state->input;
    bool prunes = options->prune.has_keep || options->prune.has_days;
    if (options->task == TASK_SHOW && options->count == 0)
        argp_error(state, "no report given; --list tells of those there are");
    if (options->task != TASK_SHOW && options->count > 1)
        argp_error(state, "more than one folder: %s", options->paths[1]);
    if (options->budget > 0 && (options->task != TASK_SHOW || options->form != FORM_MARKDOWN))
        argp_error(state, "--budget is for --markdown");
    if (options->task == TASK_LIST && options->form == FORM_MARKDOWN)
        argp_error(state, "--list is text, or --json");
    if (options->task == TASK_PRUNE && options->form != FORM_TEXT)
        argp_error(state, "--prune has no other form");
    if (options->task == TASK_PRUNE && !prunes)
        argp_error(state, "--prune needs --keep or --older-than");
    if (options->task != TASK_PRUNE && prunes)
        argp_error(state, "--keep and --older-than are for --prune");
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct report_options *options = state->input;
    switch (key) {
    case 'j':
        parse_form(state, FORM_JSON);
        return 0;
    case 'm':
        parse_form(state, FORM_MARKDOWN);
        return 0;
    case 'v':
        options->verbose = true;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case KEY_BUDGET:
        parse_count(state, "--budget", argument, REPORT_BUDGET_MIN, &options->budget);
        return 0;
    case KEY_LIST:
        parse_task(state, TASK_LIST);
        return 0;
    case KEY_PRUNE:
        parse_task(state, TASK_PRUNE);
        return 0;
    case KEY_KEEP:
        parse_count(state, "--keep", argument, 0, &options->prune.keep);
        options->prune.has_keep = true;
        return 0;
    case KEY_OLDER_THAN:
        if (!parse_number(argument, 1e6, &options->prune.days))
            argp_error(state, "--older-than takes a number of days, not: %s", argument);
        options->prune.has_days = true;
        return 0;
    case ARGP_KEY_ARG:
        options->paths[options->count++] = argument;
        return 0;
    case ARGP_KEY_END:
        check_options(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What is wrong with a file may be told in its own words: no control character reaches the terminal. */
static void complain(const char *what, const char *why)
{
    (void)fputs("pyunwind report: ", stderr);
    page_bytes(stderr, what, strlen(what));
    (void)fputs(": ", stderr);
    page_bytes(stderr, why, strlen(why));
    (void)fputc('\n', stderr);
}

/* ---- Show ---- */

struct show {
    const struct report_options *options;
    FILE *out;
    int written;
};

static void write_json(FILE *out, const struct report_file *file)
{
    if (!file->is_partial) {
        (void)fwrite(file->bytes, 1, file->size, out);
        return;
    }
    (void)json_dumpf(file->document, out, JSON_COMPACT);
    (void)fputc('\n', out);
}

/* False where memory is short. */
static bool write_report(const struct show *show, const struct report_file *file)
{
    const struct report_options *options = show->options;
    if (options->form == FORM_JSON) {
        write_json(show->out, file);
        return true;
    }
    if (show->written > 0)
        (void)fputc('\n', show->out);
    if (options->form == FORM_TEXT) {
        report_print_text(show->out, file->document, document_wants_colour(show->out), options->verbose);
        return true;
    }
    size_t budget = options->budget > 0 ? options->budget : REPORT_BUDGET;
    return report_print_markdown(show->out, file->document, budget, options->verbose);
}

static int show_reports(const struct report_options *options, FILE *out)
{
    struct show show = {.options = options, .out = out};
    int status = CLI_OK;
    for (int n = 0; n < options->count; n++) {
        struct report_file file;
        char message[512];
        if (!report_file_load(AT_FDCWD, options->paths[n], &file, message, sizeof message)) {
            complain(options->paths[n], message);
            status = CLI_INCOMPLETE;
            continue;
        }
        if (!write_report(&show, &file)) {
            complain(options->paths[n], "memory is short");
            status = CLI_INCOMPLETE;
        }
        show.written++;
        report_file_free(&file);
    }
    return status;
}

/* ---- Folders ---- */

static int work_on_folder(const struct report_options *options, FILE *out)
{
    char *path = options->count > 0 ? strdup(options->paths[0]) : report_folder();
    struct report_folder folder;
    if (path == NULL) {
        complain("memory", strerror(ENOMEM));
        return CLI_INCOMPLETE;
    }
    /* Where nothing has crashed yet there is no folder. */
    if (!report_folder_open(path, options->count == 0, &folder)) {
        complain(path, strerror(errno));
        free(path);
        return CLI_INCOMPLETE;
    }
    bool good;
    if (options->task == TASK_PRUNE)
        good = report_folder_prune(out, &folder, &options->prune, complain);
    else if (options->form == FORM_JSON)
        good = report_folder_list_json(out, &folder, complain);
    else
        good = report_folder_list_text(out, &folder, document_wants_colour(out), complain);
    report_folder_close(&folder);
    free(path);
    return good ? CLI_OK : CLI_INCOMPLETE;
}

static int run(const struct report_options *options)
{
    const char *name = options->output != NULL ? options->output : "standard output";
    FILE *out = document_open(options->output);
    if (out == NULL) {
        complain(name, strerror(errno));
        return CLI_INCOMPLETE;
    }
    int status = options->task == TASK_SHOW ? show_reports(options, out) : work_on_folder(options, out);
    if (document_close(out))
        return status;
    complain(name, strerror(errno));
    return CLI_INCOMPLETE;
}

/* ---- Memory ---- */

/* A few bytes of a file may take a hundred of memory each: a file made for that is refused before memory is short. */
static size_t memory_used;

static void *limited_malloc(size_t size)
{
    static const size_t most = (size_t)1 << 30;
    if (size > most - memory_used)
        return NULL;
    void *memory = malloc(size);
    memory_used += malloc_usable_size(memory);
    return memory;
}

static void limited_free(void *memory)
{
    memory_used -= malloc_usable_size(memory);
    free(memory);
}

int cli_report(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse, "FILE...\n--list [DIR]\n--prune [DIR]", documentation, NULL,
                                     NULL,        NULL};
    struct report_options options = {.paths = calloc((size_t)argc + 1, sizeof *options.paths)};
    if (options.paths == NULL) {
        complain("memory", strerror(errno));
        return CLI_INCOMPLETE;
    }
    json_set_alloc_funcs(limited_malloc, limited_free);
    int status = argp_parse(&argp, argc, argv, 0, NULL, &options) == 0 ? run(&options) : CLI_USAGE;
    free((void *)options.paths);
    return status;
}
