/*
 * The parts of a report that are shown. A report may hold anything: what is not as its schema says is not shown, or
 * shown as not known. Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_VIEW_H
#define PYUNW_CLI_REPORT_VIEW_H

#include "page.h"

#include <jansson.h>

/* ---- Values ---- */

/* A text; its bytes are NULL where there is none. */
struct line_text report_text(const json_t *object, const char *key);

/* False where there is no integer of at least 0. */
bool report_number(const json_t *object, const char *key, int64_t *number);

/* Is it this text? */
bool report_text_is(const json_t *object, const char *key, const char *text);

/* ---- Parts, each of whole lines, or of none ---- */

/* The cause, in one sentence. */
void report_cause(const struct page *page, const json_t *report);

/* "SIGSEGV (SEGV_MAPERR, nothing is mapped there) at 0x0, in thread 1234" */
void report_signal(const struct page *page, const json_t *report);

/* What the process was. */
void report_process(const struct page *page, const json_t *report);

/* The exception in flight, the message of a fatal error, the evidence, and what the report does not hold. */
void report_circumstances(const struct page *page, const json_t *report);

void report_memory(const struct page *page, const json_t *report);
void report_limits(const struct page *page, const json_t *report);
void report_registers(const struct page *page, const json_t *report);
void report_libraries(const struct page *page, const json_t *report);

#endif
