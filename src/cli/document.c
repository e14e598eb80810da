/*
 * Open, judge and close the file that a document is written to. What could not be written ends it: stdio would go on
 * behind the hole.
 */
#include "document.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* One is written at a time. */
static struct {
    int fd;
    int error; /* errno, once a write has failed */
} written = {.fd = -1};

static ssize_t write_whole(void *cookie, const char *bytes, size_t size)
{
    size_t done = 0;
    (void)cookie;
    while (done < size && written.error == 0) {
        ssize_t n = write(written.fd, bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            written.error = errno;
        done += n > 0 ? (size_t)n : 0;
    }
    errno = written.error;
    return written.error == 0 ? (ssize_t)done : 0;
}

static int close_file(void *cookie)
{
    (void)cookie;
    return written.fd == STDOUT_FILENO ? 0 : close(written.fd);
}

FILE *document_open(const char *path)
{
    const cookie_io_functions_t functions = {.write = write_whole, .close = close_file};
    written.error = 0;
    written.fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : STDOUT_FILENO;
    return written.fd >= 0 ? fopencookie(NULL, "w", functions) : NULL;
}

bool document_wants_colour(FILE *out)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    int fd = fileno(out); /* none: it is of document_open() */
    return isatty(fd >= 0 ? fd : written.fd) && (no_colour == NULL || *no_colour == '\0') && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

bool document_close(FILE *out)
{
    bool failed = fflush(out) != 0 || ferror(out) != 0;
    int error = written.error != 0 ? written.error : errno;
    if (fclose(out) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    errno = error;
    return !failed;
}
