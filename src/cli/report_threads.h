/*
 * The threads of a report, as lines.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_THREADS_H
#define PYUNW_CLI_REPORT_THREADS_H

#include "page.h"

#include <jansson.h>

/* The thread that crashed; NULL: none. */
const json_t *report_crashed_thread(const json_t *report);

/* One row of a stack: a frame, or what stands for many. */
void report_row(const struct page *page, const json_t *row);

/* "Thread 1234 "worker" 0x00007f...: crashed, holds the GIL" */
void report_thread_head(const struct page *page, const json_t *thread);

/* Its stack, and how it ends. rows_max: of the stack, innermost first; 0: all. */
void report_stack(const struct page *page, const json_t *thread, size_t rows_max);

/*
 * All threads but the one that crashed, each a paragraph, those with the same stack in one.
 * rows_max: as of report_stack(). before: written before each.
 */
void report_other_threads(const struct page *page, const json_t *report, size_t rows_max, const char *before);

#endif
