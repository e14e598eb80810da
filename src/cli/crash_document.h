/*
 * The report of a crashed process that could be read.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CRASH_DOCUMENT_H
#define PYUNW_CLI_CRASH_DOCUMENT_H

#include "crash_snapshot.h"

#include <jansson.h>

/*
 * Complete a document that was made of the handler's records (finish.h) by what was read of the process. False where
 * memory is short: it is as it was, or has less than it could.
 */
bool crash_document_complete(json_t *document, const struct crash_snapshot *crash, bool with_command);

/*
 * The same where only the handler could read the process: add what /proc tells, and the native stack of the thread that
 * crashed (crash_snapshot_read_crashed()); crash NULL: without that.
 */
void crash_document_add(json_t *document, pid_t pid, const struct crash_snapshot *crash, bool with_command);

#endif
