/*
 * Open, judge and close the file that a document is written to.
 */
#include "document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

FILE *document_open(const char *path)
{
    return path != NULL ? fopen(path, "we") : stdout;
}

bool document_wants_colour(FILE *out)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(fileno(out)) && (no_colour == NULL || *no_colour == '\0') && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

bool document_close(FILE *out)
{
    bool failed = fflush(out) != 0 || ferror(out) != 0;
    int error = errno;
    if (out != stdout && fclose(out) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    errno = error;
    return !failed;
}
