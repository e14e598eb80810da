/*
 * Signals and their codes by name.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_SIGNAL_NAMES_H
#define PYUNW_CLI_SIGNAL_NAMES_H

/* "SIGSEGV"; NULL for one that has no name. */
const char *signal_name(int number);

/* "SEGV_MAPERR" (sigaction(2), si_code); NULL for one that has no name. */
const char *signal_code_name(int number, int code);

/* What that code means, in words; NULL where the name says no less. */
const char *signal_code_words(int number, int code);

#endif
