/*
 * Read the file of a report: it may be anything.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_FILE_H
#define PYUNW_CLI_REPORT_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A report is refused that is larger: 64 MiB. */
enum { REPORT_FILE_MAX = 64 << 20 };

/*
 * The bytes of a regular file, to be freed. NULL: errno says why; EISDIR for a folder, EFTYPE's like (ENOTSUP) for
 * another that is not regular, EFBIG for one that is larger than REPORT_FILE_MAX.
 */
char *report_file_read(int dir_fd, const char *path, size_t *size);

struct report_file {
    char *bytes; /* the file itself */
    size_t size;
    json_t *document; /* a report, made of what was saved where it is not finished */
    bool is_partial;
};

/* False with a message of why; nothing is to be freed then. */
bool report_file_load(int dir_fd, const char *path, struct report_file *file, char *message, size_t message_size);

void report_file_free(struct report_file *file);

#endif
