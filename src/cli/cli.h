/*
 * The command's subcommands, and what they share with main.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CLI_H
#define PYUNW_CLI_CLI_H

/* Exit statuses, the same for every subcommand. */
enum { CLI_OK = 0, CLI_INCOMPLETE = 1, CLI_USAGE = 2 };

/* Each parses its own arguments; argv[0] is its own name, as "pyunwind dump". */
int cli_dump(int argc, char **argv);
int cli_core(int argc, char **argv);

/* Not for people: what the handler of a crashed process starts (collect.c). */
int cli_collect(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_run(int argc, char **argv);

#endif
