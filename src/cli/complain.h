/*
 * What goes to standard error: messages hold names out of foreign processes and files, and a terminal obeys them.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_COMPLAIN_H
#define PYUNW_CLI_COMPLAIN_H

/* "TITLE: WHAT: WHY" as a line, what else than text is in it escaped. what: "" leaves it out. */
void complain_as(const char *title, const char *what, const char *why);

#endif
