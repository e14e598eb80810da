/*
 * What a signal says of its cause, where nothing else is known of the process.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_FAULT_DIAGNOSIS_H
#define PYUNW_CLI_FAULT_DIAGNOSIS_H

#include <jansson.h>
#include <stdbool.h>

/* What the handler has written of the fault. */
struct fault {
    json_int_t pid;          /* 0: not known */
    json_int_t native_id;    /* 0: not known */
    const json_t *signal;    /* as in the report; NULL or null: none */
    const json_t *registers; /* likewise */
    bool is_known;           /* there was a record of it */
    bool recovered;          /* another handler had the signal before, and raised it again */
};

/* The "diagnosis" of the report. frame: the innermost Python frame of the thread, or NULL. */
json_t *fault_diagnose(const struct fault *fault, const json_t *frame);

#endif
