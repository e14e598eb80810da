/*
 * Keep a report readable, and within its size.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_SIZE_H
#define PYUNW_CLI_REPORT_SIZE_H

#include <jansson.h>
#include <stddef.h>

/* Fold what repeats in the stacks: a recursion is told once, with a count. */
void report_fold(json_t *document);

/* Leave out the middle of stacks until the document has at most size bytes, of the thread that crashed last. */
void report_limit(json_t *document, size_t size);

#endif
