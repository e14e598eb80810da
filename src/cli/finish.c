/*
 * Files of a report folder: an unfinished report becomes a finished one, whole or not at all.
 */
#include "finish.h"

#include "report_file.h"
#include "report_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Write ---- */

struct writer {
    int fd;
    int error; /* 0, or why not all was written */
};

static int write_part(const char *bytes, size_t size, void *data)
{
    struct writer *writer = data;
    while (size > 0) {
        ssize_t written = write(writer->fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            writer->error = errno;
            return -1;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* 0, or -1 and errno. */
static int write_document(int dir_fd, const char *file, const json_t *document)
{
    struct writer writer = {.fd = openat(dir_fd, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (writer.fd < 0)
        return -1;
    char *text = json_dumps(document, JSON_COMPACT);
    if (text == NULL)
        writer.error = ENOMEM;
    else if (write_part(text, strlen(text), &writer) == 0)
        (void)write_part("\n", 1, &writer);
    free(text);
    if (close(writer.fd) != 0 && writer.error == 0)
        writer.error = errno;
    if (writer.error == 0)
        return 0;
    (void)unlinkat(dir_fd, file, 0);
    errno = writer.error;
    return -1;
}

/* Rename, but never over a file that is there: 0, or -1 and errno. */
static int rename_new(int dir_fd, const char *from, const char *to)
{
    if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* A file system that cannot do so: then by a second name, where that is no more than another's race to lose. */
    if (linkat(dir_fd, from, dir_fd, to, 0) != 0)
        return -1;
    return unlinkat(dir_fd, from, 0);
}

bool report_store(int dir_fd, const char *base, const json_t *document, char stored[REPORT_STORED_SIZE])
{
    enum { NUMBER_MAX = 1000 };
    for (int number = 1; number <= NUMBER_MAX; number++) {
        char file[REPORT_STORED_SIZE];
        char temporary[sizeof file + 8];
        if (number == 1)
            (void)snprintf(file, sizeof file, "%s.json", base);
        else
            (void)snprintf(file, sizeof file, "%s-%d.json", base, number);
        (void)snprintf(temporary, sizeof temporary, ".%s.tmp", file);
        if (write_document(dir_fd, temporary, document) != 0) {
            if (errno == EEXIST)
                continue;
            return false;
        }
        if (rename_new(dir_fd, temporary, file) == 0) {
            if (stored != NULL)
                memcpy(stored, file, sizeof file);
            return true;
        }
        int error = errno;
        (void)unlinkat(dir_fd, temporary, 0);
        errno = error;
        if (error != EEXIST)
            return false;
    }
    return false;
}

/* ---- Finish ---- */

/* What the name of the file tells, and the records do not. */
static void add_from_name(json_t *document, const struct report_name *name)
{
    if (json_is_null(json_object_get(document, "time")))
        (void)json_object_set_new(document, "time", json_string(name->time));
    if (json_is_null(json_object_get(document, "pid")))
        (void)json_object_set_new(document, "pid", json_integer(name->pid));
}

/* NULL: errno says why. */
static json_t *read_partial(int dir_fd, const char *file)
{
    size_t size;
    char *bytes = report_file_read(dir_fd, file, &size);
    if (bytes == NULL)
        return NULL;
    json_t *document = report_from_partial(bytes, size);
    free(bytes);
    if (document == NULL)
        errno = ENODATA;
    return document;
}

bool report_finish(int dir_fd, const char *partial_name)
{
    struct report_name name;
    char base[REPORT_NAME_SIZE];
    char left_over[REPORT_NAME_SIZE + 16];
    if (!report_name_parse(partial_name, &name) || name.kind != REPORT_PARTIAL) {
        errno = EINVAL;
        return false;
    }
    json_t *document = read_partial(dir_fd, partial_name);
    if (document == NULL)
        return false;
    add_from_name(document, &name);
    report_name_base(&name, base);
    /* Who was to finish it is gone, and what it had begun to write is worth less than this. */
    (void)snprintf(left_over, sizeof left_over, ".%s.json.tmp", base);
    (void)unlinkat(dir_fd, left_over, 0);
    bool stored = report_store(dir_fd, base, document, NULL);
    json_decref(document);
    if (stored)
        (void)unlinkat(dir_fd, partial_name, 0);
    return stored;
}
