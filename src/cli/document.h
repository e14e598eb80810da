/*
 * The file that a document is written to.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_DOCUMENT_H
#define PYUNW_CLI_DOCUMENT_H

#include <stdbool.h>
#include <stdio.h>

/* path NULL: standard output. NULL where it cannot be opened: errno says why. */
FILE *document_open(const char *path);

/* Is it a terminal that is to have colour (NO_COLOR, TERM)? */
bool document_wants_colour(FILE *out);

/* False where not all was written: errno says why. */
bool document_close(FILE *out);

#endif
