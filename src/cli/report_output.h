/*
 * The forms in which a report is written.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_OUTPUT_H
#define PYUNW_CLI_REPORT_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* For a person. verbose: all of every stack, registers and libraries, too. */
void report_print_text(FILE *out, const json_t *report, bool coloured, bool verbose);

/* The least budget: room for a cause that is cut, and what says so. */
enum { REPORT_BUDGET_MIN = 200, REPORT_BUDGET = 16000 };

/*
 * Markdown of no more than budget bytes, of at least REPORT_BUDGET_MIN, cause first; false where memory is short.
 * verbose: as above.
 */
bool report_print_markdown(FILE *out, const json_t *report, size_t budget, bool verbose);

#endif
