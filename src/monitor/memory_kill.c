/*
 * The kernel's own word, where its log may be read; else a counter of the control group that has grown.
 */
#include "memory_kill.h"

#include "process_figures.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Microseconds since the start of the machine: the third number of a record. */
static uint64_t time_of(const char *record)
{
    const char *at = strchr(record, ',');
    at = at != NULL ? strchr(at + 1, ',') : NULL;
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

/* Another process may have had the number before, and been killed too. The log's clock stands while the machine sleeps,
 * and is a little off: its records are never later than they were. */
static bool is_of_lifetime(const char *record, const struct watched *watched)
{
    const uint64_t slack = 1000000;
    struct timespec asleep = {0};
    struct timespec awake = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &asleep);
    (void)clock_gettime(CLOCK_MONOTONIC, &awake);
    uint64_t slept = (uint64_t)(asleep.tv_sec - awake.tv_sec) * 1000000;
    uint64_t start = watched->info.start * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return time_of(record) + slept + slack >= start;
}

/* "6,1234,5678,-;Memory cgroup out of memory: Killed process 4711 (python3) total-vm:...": the text, or NULL. */
static char *of_process(char *record, const struct watched *watched)
{
    char wanted[64];
    char *text = strchr(record, ';');
    (void)snprintf(wanted, sizeof wanted, "illed process %d (", (int)watched->pid);
    if (text == NULL || strstr(text, wanted) == NULL || !is_of_lifetime(record, watched))
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text + 1;
}

/* The newest record of the kernel's log (dev-kmsg) that tells of its end, to be freed; NULL: none, or
 * not to be read. */
static char *find_in_log(const struct watched *watched)
{
    enum { RECORD_MAX = 8192 };
    char record[RECORD_MAX + 1];
    char *found = NULL;
    int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    for (ssize_t n = 0; log >= 0 && (n = read(log, record, RECORD_MAX)) > 0;) {
        record[n] = '\0';
        const char *text = of_process(record, watched);
        if (text == NULL)
            continue;
        free(found);
        found = strdup(text);
    }
    if (log >= 0)
        (void)close(log);
    return found;
}

static int64_t kills_of(const char *group)
{
    json_t *memory = control_group_memory(group);
    const json_t *kills = json_object_get(memory, "oom_kills");
    int64_t count = json_is_integer(kills) ? json_integer_value(kills) : -1;
    json_decref(memory);
    return count;
}

bool memory_kill_find(const struct watched *watched, json_t *evidence)
{
    const char *group = watched->info.control_group;
    int64_t kills = kills_of(group);
    bool counted = kills >= 0 && watched->oom_kills_before >= 0 && kills > watched->oom_kills_before;
    char *logged = find_in_log(watched);
    bool found = counted || logged != NULL;
    json_t *text = logged != NULL ? json_string(logged) : NULL;
    if (text != NULL)
        (void)json_array_append_new(evidence, json_sprintf("the kernel's log: %s", logged));
    json_decref(text);
    if (counted)
        (void)json_array_append_new(
            evidence, json_sprintf("the kernel has killed %lld of the control group %s for want of memory since the "
                                   "process was last seen",
                                   (long long)(kills - watched->oom_kills_before), group != NULL ? group : "?"));
    free(logged);
    return found;
}
