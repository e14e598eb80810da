/*
 * Where a finished report goes: into the folder and what else the options say.
 * Include from: cli, monitor.
 */
#ifndef PYUNW_CLI_DELIVER_H
#define PYUNW_CLI_DELIVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct delivery {
    int folder;         /* less than 0: there is none */
    const char *base;   /* "pyunwind-TIME-PID" */
    const char *done;   /* a file of the folder that the report takes the place of; NULL: none */
    int output;         /* of PYUNWIND_REPORT_FD; less than 0: none */
    int standard_error; /* for people; less than 0: none */
    int64_t deadline;   /* until when output and hook are waited for: milliseconds of CLOCK_MONOTONIC */
};

/*
 * Fit the document to its options, and write it; remove the oldest reports, run the hook. False where it could be
 * written nowhere.
 */
bool report_deliver(const struct delivery *delivery, json_t *document);

/* Run the hook on a report of the folder. */
void report_run_hook(const char *file, int64_t deadline);

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t deliver_now(void);

#endif
