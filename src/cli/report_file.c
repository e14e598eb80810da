/*
 * Read the file of a report, finished or not, and say what is wrong with it.
 */
#include "report_file.h"

#include "finish.h"
#include "partial_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Bytes ---- */

/* The size of a regular file, or -1 and errno. */
static off_t judge_size(int fd)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return -1;
    if (S_ISREG(about.st_mode) && about.st_size <= REPORT_FILE_MAX)
        return about.st_size;
    errno = S_ISREG(about.st_mode) ? EFBIG : S_ISDIR(about.st_mode) ? EISDIR : ENOTSUP;
    return -1;
}

/* How many of the bytes there are, or -1 and errno. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t part = read(fd, bytes + done, size - done);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return -1;
        if (part == 0)
            break;
        done += (size_t)part;
    }
    return (ssize_t)done;
}

static char *read_open(int fd, size_t *size)
{
    off_t whole = judge_size(fd);
    if (whole < 0)
        return NULL;
    char *bytes = malloc((size_t)whole + 1);
    if (bytes == NULL)
        return NULL;
    ssize_t done = read_all(fd, bytes, (size_t)whole);
    if (done < 0) {
        int error = errno;
        free(bytes);
        errno = error;
        return NULL;
    }
    bytes[done] = '\0';
    *size = (size_t)done;
    return bytes;
}

char *report_file_read(int dir_fd, const char *path, size_t *size)
{
    /* A FIFO is not waited for; in a folder of reports a link is none. */
    int flags = dir_fd == AT_FDCWD ? 0 : O_NOFOLLOW;
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
    if (fd < 0)
        return NULL;
    char *bytes = read_open(fd, size);
    int error = errno;
    (void)close(fd);
    errno = error;
    return bytes;
}

/* ---- Documents ---- */

static const char schema_prefix[] = "pyunwind.crash/";

static bool begins_with(const char *text, const char *beginning)
{
    return text != NULL && strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Is the document a report that is understood? Else the message says why. */
static bool judge_document(const json_t *document, char *message, size_t message_size)
{
    const char *schema = json_string_value(json_object_get(document, "schema"));
    if (begins_with(schema, schema_prefix)) {
        if (strcmp(schema + sizeof schema_prefix - 1, "1") == 0)
            return true;
        (void)snprintf(message, message_size,
                       "a report of another schema, %.60s; this is pyunwind " PYUNWIND_VERSION
                       ", which knows pyunwind.crash/1: a newer one may show it",
                       schema);
    } else if (begins_with(schema, "pyunwind.")) {
        (void)snprintf(message, message_size, "not a report: its schema is %.60s", schema);
    } else {
        (void)snprintf(message, message_size, "not a report: JSON, but not of pyunwind");
    }
    return false;
}

/* Is the beginning that of a report, whatever follows? */
static bool looks_like_report(const char *bytes, size_t size)
{
    enum { FIRST_BYTES = 200 };
    return memmem(bytes, size < FIRST_BYTES ? size : FIRST_BYTES, schema_prefix, sizeof schema_prefix - 1) != NULL;
}

static void complain_of_bytes(const struct report_file *file, const json_error_t *error, char *message, size_t size)
{
    const char *last = file->bytes + file->size;
    while (last > file->bytes && (last[-1] == '\n' || last[-1] == ' '))
        last--;
    /* jansson has no words for it where memory is short. */
    bool no_memory = json_error_code(error) == json_error_out_of_memory || error->text[0] == '\0';
    if (file->size == 0)
        (void)snprintf(message, size, "empty: nothing was saved");
    else if (no_memory)
        (void)snprintf(message, size, "memory is short, or it holds more than any report");
    else if (!looks_like_report(file->bytes, file->size))
        (void)snprintf(message, size, "not a report: no JSON");
    else if (error->position >= last - file->bytes)
        (void)snprintf(message, size, "cut: the file ends after %zu bytes, in the middle of the report", file->size);
    else
        (void)snprintf(message, size, "damaged: no JSON from byte %d on (line %d): %s", error->position, error->line,
                       error->text);
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text);
    size_t size = strlen(ending);
    return length >= size && strcmp(text + length - size, ending) == 0;
}

/* A number that nothing can hold is not known, and damages no more than itself. */
static json_t *decode_document(const struct report_file *file, json_error_t *error)
{
    bool cut = false;
    json_t *document = json_loadb(file->bytes, file->size, JSON_ALLOW_NUL, error);
    if (document != NULL || json_error_code(error) != json_error_numeric_overflow)
        return document;
    document = record_decode(file->bytes, file->size, &cut);
    if (!cut)
        return document;
    json_decref(document);
    return NULL;
}

static bool decode(const char *path, struct report_file *file, char *message, size_t message_size)
{
    json_error_t error = {0};
    json_t *document = NULL;
    bool unfinished = ends_with(path, ".partial");
    if (!unfinished)
        document = decode_document(file, &error);
    if (begins_with(json_string_value(json_object_get(document, "schema")), schema_prefix)) {
        file->document = document;
        return judge_document(document, message, message_size);
    }
    if (!looks_like_report(file->bytes, file->size))
        file->document = report_from_partial(file->bytes, file->size);
    file->is_partial = true;
    bool taken = file->document != NULL;
    if (!taken && document != NULL)
        (void)judge_document(document, message, message_size);
    else if (!taken && unfinished && file->size > 0)
        (void)snprintf(message, message_size, "unfinished, and no record in it can be read");
    else if (!taken)
        complain_of_bytes(file, &error, message, message_size);
    json_decref(document);
    return taken;
}

static void complain_of_reading(int error, char *message, size_t size)
{
    const char *words = strerror(error);
    if (error == EISDIR)
        words = "a folder: --list tells of the reports in it";
    if (error == ENOTSUP)
        words = "not a regular file";
    if (error == EFBIG)
        words = "larger than any report (64 MiB)";
    (void)snprintf(message, size, "%s", words);
}

bool report_file_load(int dir_fd, const char *path, struct report_file *file, char *message, size_t message_size)
{
    *file = (struct report_file){0};
    file->bytes = report_file_read(dir_fd, path, &file->size);
    if (file->bytes == NULL) {
        complain_of_reading(errno, message, message_size);
        return false;
    }
    if (decode(path, file, message, message_size))
        return true;
    report_file_free(file);
    return false;
}

void report_file_free(struct report_file *file)
{
    json_decref(file->document);
    free(file->bytes);
    *file = (struct report_file){0};
}
