/*
 * One record of an unfinished report, from bytes of which the last, or any, may be missing or wrong.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_PARTIAL_RECORD_H
#define PYUNW_CLI_PARTIAL_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct record_cursor {
    const char *at;
    const char *end;
    const char *line_end; /* of the line that at is in; NULL: to be looked for */
};

/* The bytes of the next record: a line, or what follows one that was cut, in the same line. False: there is none. */
bool record_next(struct record_cursor *cursor, const char **bytes, size_t *size);

/*
 * The object, to be given back by json_decref(). Of one that is cut or damaged the part before, as far as its members,
 * and those of its lists, are whole; *cut says so. A number that nothing can hold is null. NULL: nothing can be taken.
 */
json_t *record_decode(const char *bytes, size_t size, bool *cut);

#endif
