/*
 * The forms in which a dump is written.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_DUMP_OUTPUT_H
#define PYUNW_CLI_DUMP_OUTPUT_H

#include "snapshot.h"

#include <stdio.h>

/* For a person: one process. first: nothing was written before. */
void dump_text_process(FILE *out, const struct snapshot *snapshot, bool first, bool coloured);

/* For a program: one document (docs/dump.md), of which a process is a part. */
void dump_json_begin(FILE *out);
void dump_json_process(FILE *out, const struct snapshot *snapshot, bool first);
void dump_json_end(FILE *out);

/* "3.12.1", "3.15.0rc2"; "3.9" where only the minor is known. */
enum { VERSION_TEXT_SIZE = 32 };
void format_version(uint32_t version, char text[VERSION_TEXT_SIZE]);

/* Running, for the kernel: on a processor or waiting for one. */
static inline bool is_running(const struct task *task)
{
    return task->state == 'R';
}

/* The length of the UTF-8 sequence at the beginning of bytes (RFC 3629), 0 where there is none. */
size_t utf8_length(const unsigned char *bytes, size_t size);

/* Control characters of ASCII and of Latin-1 (U+0080 to U+009F) as \xNN, as is what is not UTF-8. */
void page_bytes(FILE *out, const char *text, size_t size);

#endif
