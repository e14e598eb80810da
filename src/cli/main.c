/*
 * pyunwind: the command. Its first argument names the subcommand.
 */
#include "cli.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

const char *argp_program_version = "pyunwind " PYUNWIND_VERSION;

static const struct {
    const char *name;
    char *title; /* what its messages begin with */
    int (*run)(int argc, char **argv);
} commands[] = {
    {"dump", "pyunwind dump", cli_dump},
    {"core", "pyunwind core", cli_core},
    {"collect", "pyunwind collect", cli_collect},
    {"report", "pyunwind report", cli_report},
    {"run", "pyunwind run", cli_run},
};

static const char documentation[] =
    "The Python stacks of programs that run, or have crashed: CPython 3.8 to 3.15, with and without the GIL.\v"
    "Commands:\n"
    "  dump PID...        the stack of every thread of running processes\n"
    "  core CORE [EXE]    the stack of every thread in a core file\n"
    "  report FILE...     reports of processes that crashed\n"
    "  run PROGRAM...     a program, which leaves reports where it crashes or is killed\n"
    "\n"
    "`pyunwind COMMAND --help` tells more.\n"
    "Exit status: 0 all was read, 1 some could not be, 2 wrong usage.";

struct invocation {
    int argc; /* of the subcommand; 0: none was named */
    char **argv;
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct invocation *invocation = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_ARG:
        /* From here on all is the subcommand's. */
        invocation->argv = &state->argv[state->next - 1];
        invocation->argc = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {.parser = parse, .args_doc = "COMMAND ...", .doc = documentation};
    struct invocation invocation = {0};
    argp_err_exit_status = CLI_USAGE;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &invocation) != 0)
        return CLI_USAGE;
    for (size_t n = 0; n < sizeof commands / sizeof commands[0]; n++) {
        if (strcmp(commands[n].name, invocation.argv[0]) == 0) {
            invocation.argv[0] = commands[n].title;
            return commands[n].run(invocation.argc, invocation.argv);
        }
    }
    (void)fprintf(stderr, "pyunwind: no command is called %s; `pyunwind --help` lists them\n", invocation.argv[0]);
    return CLI_USAGE;
}
