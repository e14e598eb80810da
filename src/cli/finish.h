/*
 * Make a report of what the handler of a crashed process could write before the process was gone.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_FINISH_H
#define PYUNW_CLI_FINISH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A note of every report that is made of records alone. */
#define REPORT_UNFINISHED "The report was not finished: this is what the process itself could save."

/*
 * The report document (docs/crash.schema.json) of records, one JSON line each: pyunwind.fault/1, pyunwind.thread/1,
 * pyunwind.note/1. Its status is "partial", and its notes say what is not there. Whatever the bytes are, the document
 * is valid: what is damaged is left out, and a record that is cut is taken as far as whole frames reach. What no record
 * can tell is null. To be given back by json_decref(). NULL: there is no record in it, or memory is short.
 */
json_t *report_from_partial(const char *lines, size_t size);

/*
 * Turn an unfinished report of a folder, "pyunwind-TIME-PID.partial", into the finished one of the same name, ".json",
 * or "-2.json" and so on where that is taken, and remove it. False where that could not be done, and nothing is
 * changed; errno says why: ENODATA for a file without any record, EINVAL for another name.
 */
bool report_finish(int dir_fd, const char *partial_name);

/*
 * Write a document as the finished report "BASE.json" of a folder, or "BASE-2.json" and so on where that is taken:
 * whole, or not at all. base: "pyunwind-TIME-PID". stored: the name of the file; NULL: not wanted. False where that
 * could not be done: errno says why.
 */
enum { REPORT_STORED_SIZE = 112 };
bool report_store(int dir_fd, const char *base, const json_t *document, char stored[REPORT_STORED_SIZE]);

#endif
