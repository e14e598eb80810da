/*
 * Why a process died, in one sentence with its evidence; and what makes two crashes the same one.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CRASH_DIAGNOSIS_H
#define PYUNW_CLI_CRASH_DIAGNOSIS_H

#include <jansson.h>

/*
 * Complete "diagnosis", "fatal_error" and "fingerprint" of a report whose threads are known.
 * maps: /proc/PID/maps, or NULL. abort_message: what the C library said when it aborted, or NULL.
 */
void crash_diagnose(json_t *document, const char *maps, const char *abort_message);

/* The 16 digits of the fingerprint: of the signal, the cause and the 8 innermost functions. NULL: none is known. */
json_t *crash_fingerprint(const json_t *document);

#endif
