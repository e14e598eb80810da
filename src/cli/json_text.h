/*
 * Texts of a report.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_JSON_TEXT_H
#define PYUNW_CLI_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

/* NULL where there is none. */
static inline const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static inline bool text_is(const json_t *value, const char *text)
{
    const char *found = json_string_value(value);
    return found != NULL && strcmp(found, text) == 0;
}

/* What stands behind the last slash; NULL of NULL. */
static inline const char *base_name(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash != NULL ? slash + 1 : path;
}

#endif
