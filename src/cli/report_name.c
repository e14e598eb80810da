/*
 * The names of reports, and the folder that they are in.
 */
#include "report_name.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Names ---- */

static bool skip(const char **at, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

/* A number without leading zeros but where its width is given. */
static bool read_digits(const char **at, size_t width, int64_t *value)
{
    enum { DIGITS_MAX = 10 };
    size_t count = strspn(*at, "0123456789");
    if (width > 0 ? count < width : count == 0 || count > DIGITS_MAX || **at == '0')
        return false;
    count = width > 0 ? width : count;
    *value = 0;
    for (size_t n = 0; n < count; n++)
        *value = *value * 10 + ((*at)[n] - '0');
    *at += count;
    return true;
}

/* 20261125T074049Z */
static bool read_time(const char **at, struct report_name *name)
{
    int64_t year, month, day, hour, minute, second;
    if (!read_digits(at, 4, &year) || !read_digits(at, 2, &month) || !read_digits(at, 2, &day) || !skip(at, "T") ||
        !read_digits(at, 2, &hour) || !read_digits(at, 2, &minute) || !read_digits(at, 2, &second) || !skip(at, "Z"))
        return false;
    struct tm parts = {
        .tm_year = (int)year - 1900,
        .tm_mon = (int)month - 1,
        .tm_mday = (int)day,
        .tm_hour = (int)hour,
        .tm_min = (int)minute,
        .tm_sec = (int)second,
    };
    name->seconds = timegm(&parts);
    /* timegm() makes the 31st of February a day of March: such a name is not ours. */
    if (parts.tm_mon != month - 1 || parts.tm_hour != hour || parts.tm_min != minute)
        return false;
    return strftime(name->time, sizeof name->time, "%Y-%m-%dT%H:%M:%SZ", &parts) != 0;
}

static bool read_kind(const char *ending, bool hidden, enum report_kind *kind)
{
    if (hidden) {
        *kind = REPORT_TEMPORARY;
        return strcmp(ending, ".json.tmp") == 0;
    }
    *kind = strcmp(ending, ".partial") == 0 ? REPORT_PARTIAL : REPORT_FINISHED;
    return *kind == REPORT_PARTIAL || strcmp(ending, ".json") == 0;
}

bool report_name_parse(const char *file, struct report_name *name)
{
    int64_t number = 1;
    const char *at = file;
    bool hidden = skip(&at, ".");
    *name = (struct report_name){0};
    if (!skip(&at, "pyunwind-") || !read_time(&at, name) || !skip(&at, "-") || !read_digits(&at, 0, &name->pid))
        return false;
    if (skip(&at, "-") && (!read_digits(&at, 0, &number) || number < 2 || number > INT32_MAX))
        return false;
    name->number = (int)number;
    return read_kind(at, hidden, &name->kind);
}

void report_name_base(const struct report_name *name, char base[REPORT_NAME_SIZE])
{
    struct tm parts;
    char time[REPORT_TIME_SIZE] = "";
    (void)gmtime_r(&name->seconds, &parts);
    (void)strftime(time, sizeof time, "%Y%m%dT%H%M%SZ", &parts);
    (void)snprintf(base, REPORT_NAME_SIZE, "pyunwind-%s-%" PRId64, time, name->pid);
}

/* ---- The folder ---- */

static char *join(const char *folder, const char *rest)
{
    char *path = NULL;
    return asprintf(&path, "%s%s", folder, rest) < 0 ? NULL : path;
}

static const char *home(void)
{
    const char *set = getenv("HOME");
    if (set != NULL && *set != '\0')
        return set;
    const struct passwd *user = getpwuid(geteuid());
    return user != NULL && user->pw_dir != NULL ? user->pw_dir : "/";
}

char *report_folder(void)
{
    const char *chosen = getenv("PYUNWIND_REPORT_DIR");
    const char *state = getenv("XDG_STATE_HOME");
    if (chosen != NULL && *chosen != '\0')
        return strdup(chosen);
    /* The specification says that a path that is not absolute is to be ignored. */
    if (state != NULL && *state == '/')
        return join(state, "/pyunwind");
    return join(home(), "/.local/state/pyunwind");
}
