/*
 * Read options from the environment.
 */
#include "crash_options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *crash_option(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

bool crash_option_is_set(const char *name, bool otherwise)
{
    const char *value = crash_option(name);
    return value != NULL ? strcmp(value, "0") != 0 : otherwise;
}

long crash_option_number(const char *name, long otherwise)
{
    const char *value = crash_option(name);
    char *end = NULL;
    long number = value != NULL ? strtol(value, &end, 10) : otherwise;
    return value != NULL && *end != '\0' ? otherwise : number;
}
