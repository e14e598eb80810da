/*
 * Read limits and memory figures from /proc/PID/limits, /proc/PID/status (proc(5)) and the control group's files
 * (the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).
 */
#include "process_figures.h"

#include "control_group.h"
#include "process_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_of(pid_t pid, const char *file)
{
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    return read_whole_list(path, &size);
}

/* The text behind a key at the beginning of a line, or NULL. */
static const char *find_line(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, key, length) == 0)
            return at + length;
        if (*at == '\0')
            break;
    }
    return NULL;
}

/* ---- Limits ---- */

/* "Max core file size        0                    unlimited            bytes": the soft limit. */
static json_t *take_limit(const char *text, const char *key)
{
    const char *at = find_line(text, key);
    char *end = NULL;
    if (at == NULL)
        return json_null();
    at += strspn(at, " ");
    if (strncmp(at, "unlimited", 9) == 0)
        return json_string("unlimited");
    unsigned long long value = strtoull(at, &end, 10);
    return end != at && value <= INT64_MAX ? json_integer((json_int_t)value) : json_null();
}

json_t *process_limits(pid_t pid)
{
    static const struct {
        const char *name;
        const char *key;
    } limits[] = {
        {"core", "Max core file size"},   {"address_space", "Max address space"}, {"stack", "Max stack size"},
        {"open_files", "Max open files"}, {"processes", "Max processes"},
    };
    char *text = read_of(pid, "limits");
    json_t *object = text != NULL && *text != '\0' ? json_object() : json_null();
    for (size_t n = 0; json_is_object(object) && n < sizeof limits / sizeof limits[0]; n++)
        (void)json_object_set_new(object, limits[n].name, take_limit(text, limits[n].key));
    free(text);
    return object;
}

/* ---- Memory ---- */

/* "VmRSS:     12345 kB" */
static json_t *take_size(const char *text, const char *key)
{
    const char *at = find_line(text, key);
    return at != NULL ? json_integer((json_int_t)(strtoll(at, NULL, 10) * 1024)) : json_null();
}

/* A file that holds one number. "max", and version 1's largest number, are no limit. */
static json_t *read_number(const char *folder, const char *path, const char *file)
{
    char name[4096];
    size_t size = 0;
    if (snprintf(name, sizeof name, "%s%s/%s", folder, path, file) >= (int)sizeof name)
        return json_null();
    char *text = read_whole_file(name, &size);
    char *end = NULL;
    unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;
    bool good = text != NULL && end != text && value < INT64_MAX - 4096;
    free(text);
    return good ? json_integer((json_int_t)value) : json_null();
}

static json_t *read_count(const char *folder, const char *path, const char *file, const char *key)
{
    char name[4096];
    size_t size = 0;
    if (snprintf(name, sizeof name, "%s%s/%s", folder, path, file) >= (int)sizeof name)
        return json_null();
    char *text = read_whole_file(name, &size);
    const char *at = text != NULL ? find_line(text, key) : NULL;
    json_t *count = at != NULL ? json_integer((json_int_t)strtoll(at, NULL, 10)) : json_null();
    free(text);
    return count;
}

static void set_first(json_t *object, const char *key, json_t *one, json_t *other)
{
    bool first = !json_is_null(one);
    (void)json_object_set_new(object, key, first ? one : other);
    json_decref(first ? other : one);
}

json_t *control_group_memory(const char *path)
{
    static const char two[] = "/sys/fs/cgroup";
    static const char one[] = "/sys/fs/cgroup/memory";
    json_t *object = json_object();
    const char *of = path != NULL ? path : "";
    set_first(object, "cgroup_current", read_number(two, of, "memory.current"),
              read_number(one, of, "memory.usage_in_bytes"));
    set_first(object, "cgroup_limit", read_number(two, of, "memory.max"),
              read_number(one, of, "memory.limit_in_bytes"));
    set_first(object, "oom_kills", read_count(two, of, "memory.events", "oom_kill "),
              read_count(one, of, "memory.oom_control", "oom_kill "));
    return object;
}

json_t *process_memory(pid_t pid)
{
    char *text = read_of(pid, "status");
    char *group = control_group_read(pid);
    json_t *object = text != NULL && *text != '\0' ? control_group_memory(group) : json_null();
    if (json_is_object(object)) {
        (void)json_object_set_new(object, "resident", take_size(text, "VmRSS:"));
        (void)json_object_set_new(object, "peak", take_size(text, "VmHWM:"));
        (void)json_object_set_new(object, "virtual", take_size(text, "VmSize:"));
        (void)json_object_set_new(object, "swap", take_size(text, "VmSwap:"));
    }
    free(group);
    free(text);
    return object;
}
