/*
 * Read /proc/PID/cgroup, and find the container in the path.
 */
#include "control_group.h"

#include "process_info.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The path: lines of "HIERARCHY:CONTROLLERS:PATH" ---- */

/* The path in a line, and whether the line is of the unified hierarchy: "0::PATH". */
static const char *path_in(const char *line, bool *unified)
{
    const char *controllers = strchr(line, ':');
    const char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    *unified = strncmp(line, "0::", 3) == 0;
    return path != NULL ? path + 1 : NULL;
}

char *control_group_read(pid_t pid)
{
    char name[64];
    size_t size = 0;
    const char *best = NULL;
    (void)snprintf(name, sizeof name, "/proc/%d/cgroup", (int)pid);
    char *text = read_whole_file(name, &size);
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        bool unified = false;
        const char *path = path_in(line, &unified);
        if (path == NULL)
            continue;
        if (best == NULL || strlen(path) > strlen(best))
            best = path;
        if (unified && strcmp(path, "/") != 0) {
            best = path;
            break;
        }
    }
    char *copy = best != NULL ? strdup(best) : NULL;
    free(text);
    return copy;
}

/* ---- The container ---- */

/* How long a container's id stands at the beginning of text; 0: none. */
static size_t id_length(const char *text)
{
    static const char hexadecimal[] = "0123456789abcdef";
    static const unsigned char groups[] = {8, 4, 4, 4, 12};
    size_t digits = strspn(text, hexadecimal);
    if (digits == 64)
        return digits;
    if (digits == 32 && text[32] == '-') {
        size_t number = strspn(text + 33, "0123456789");
        return number > 0 && 33 + number < CONTAINER_ID_SIZE ? 33 + number : 0;
    }
    size_t at = 0;
    for (size_t n = 0; n < sizeof groups; n++) {
        if (strspn(text + at, hexadecimal) != groups[n])
            return 0;
        at += groups[n];
        if (n + 1 < sizeof groups && text[at] != '-' && text[at] != '_')
            return 0;
        at++;
    }
    return at - 1;
}

static bool is_hexadecimal(char character)
{
    return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f');
}

void control_group_container(const char *path, char id[CONTAINER_ID_SIZE])
{
    id[0] = '\0';
    for (const char *at = path; *at != '\0'; at++) {
        /* So the UUID of a Kubernetes pod is none: "pod" stands before it, which ends with such a digit. */
        bool begins = at == path || !is_hexadecimal(at[-1]);
        size_t length = begins ? id_length(at) : 0;
        if (length == 0)
            continue;
        memcpy(id, at, length);
        id[length] = '\0';
        at += length - 1;
    }
}
