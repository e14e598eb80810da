/*
 * Look at a process now and then, while it lives.
 */
#include "watched.h"

#include "control_group.h"
#include "crash_document.h"
#include "process_figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- Is it Python? ---- */

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A mapped file that is called python... or libpython... */
static bool maps_python(const char *maps)
{
    for (const char *line = maps; line != NULL && *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        const char *slash = memrchr(line, '/', (size_t)(end - line));
        if (slash != NULL && (has_prefix(slash + 1, "python") || has_prefix(slash + 1, "libpython")))
            return true;
        line = *end == '\n' ? end + 1 : end;
    }
    return false;
}

bool watched_is_command(pid_t pid)
{
    char path[64];
    struct stat own;
    struct stat other;
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat("/proc/self/exe", &own) == 0 && stat(path, &other) == 0 && own.st_dev == other.st_dev &&
           own.st_ino == other.st_ino;
}

/* By the files that it maps; and, once for each program, by a search for an interpreter of any name. */
static bool has_python(struct watched *watched)
{
    char path[64];
    size_t size = 0;
    if (watched_is_command(watched->pid)) /* it maps the files of the interpreter that it reads */
        return false;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)watched->pid);
    char *maps = read_whole_list(path, &size);
    bool found = maps != NULL && maps_python(maps);
    free(maps);
    if (found || watched->was_asked)
        return found;
    pyunw_target target;
    int err = pyunw_open_pid(&target, watched->pid, NULL);
    watched->was_asked = true;
    if (err == PYUNW_OK)
        pyunw_close(&target);
    return err == PYUNW_OK || err == PYUNW_ERR_NOT_INITIALIZED || err == PYUNW_ERR_FINALIZED;
}

/* ---- Figures ---- */

static void take(struct watched *watched, const char *key, json_t *value)
{
    if (json_is_object(value))
        (void)json_object_set(watched->figures, key, value);
    json_decref(value);
}

/* It may have been moved to another. */
static void read_control_group(struct watched *watched)
{
    char *group = control_group_read(watched->pid);
    json_t *text = group != NULL ? json_string(group) : NULL;
    const char *known = watched->info.control_group;
    if (text == NULL || (known != NULL && strcmp(known, group) == 0)) {
        json_decref(text);
        free(group);
        return;
    }
    free(watched->info.control_group);
    watched->info.control_group = group;
    watched->oom_kills = -1; /* the counter is another's, too */
    watched->oom_kills_before = -1;
    (void)json_object_set_new(watched->figures, "cgroup", text);
}

static void read_figures(struct watched *watched)
{
    read_control_group(watched);
    const json_t *memory = json_object_get(watched->figures, "memory");
    take(watched, "limits", process_limits(watched->pid));
    json_t *now = process_memory(watched->pid);
    /* Between the kernel's kill and the end a process still tells of itself, in part. */
    if (!json_is_integer(json_object_get(now, "resident")) && json_is_object(memory)) {
        json_decref(now);
        return;
    }
    const json_t *kills = json_object_get(now, "oom_kills");
    watched->oom_kills_before = watched->oom_kills;
    watched->oom_kills = json_is_integer(kills) ? json_integer_value(kills) : -1;
    if (watched->oom_kills_before < 0)
        watched->oom_kills_before = watched->oom_kills;
    take(watched, "memory", now);
}

void watched_close(struct watched *watched)
{
    if (watched->has_target)
        pyunw_close(&watched->target);
    watched->has_target = false;
}

/* What a process tells of itself until it executes another program. False: it has ended. */
static bool read_program(struct watched *watched)
{
    process_info_free(&watched->info);
    if (!process_info_read(watched->pid, &watched->info)) {
        process_info_free(&watched->info);
        watched->info = (struct process_info){0};
        return false;
    }
    const struct task *main_task = NULL;
    for (size_t n = 0; n < watched->info.task_count; n++) {
        if (watched->info.tasks[n].id == watched->pid)
            main_task = &watched->info.tasks[n];
    }
    watched_close(watched);
    watched->inner_pid = main_task != NULL && main_task->inner_id > 0 ? main_task->inner_id : watched->pid;
    watched->is_python = false;
    watched->was_asked = false;
    watched->gave_target = false;
    json_decref(watched->figures);
    watched->figures = json_object();
    crash_document_add(watched->figures, watched->pid, NULL, true);
    return true;
}

bool watched_look_at(struct watched *watched)
{
    switch (process_info_fate(&watched->info)) {
    case PROCESS_ENDED:
        return false;
    case PROCESS_REPLACED_PROGRAM:
        if (!read_program(watched))
            return false;
        break;
    case PROCESS_GOES_ON:
    case PROCESS_UNKNOWN:
        break;
    }
    watched->is_python = watched->is_python || has_python(watched);
    read_figures(watched); /* also of what may turn out to be Python only later */
    return true;
}

/* Without room for pages: that is for one target at a time, and of one that stands nothing changes meanwhile. */
void watched_open(struct watched *watched)
{
    int err = pyunw_open_pid(&watched->target, watched->pid, NULL);
    watched->has_target = err == PYUNW_OK; /* one that is not initialized yet is opened anew */
    if (err == PYUNW_ERR_NOT_INITIALIZED || err == PYUNW_ERR_FINALIZED)
        pyunw_close(&watched->target);
}

bool watched_look_at_end(struct watched *watched)
{
    bool replaced = process_info_fate(&watched->info) == PROCESS_REPLACED_PROGRAM && read_program(watched);
    watched->was_asked = false;
    watched->is_python = watched->is_python || has_python(watched);
    /* The kernel may have begun to take its memory: the figures of before are kept. */
    if (watched->is_python && !json_is_object(json_object_get(watched->figures, "memory")))
        read_figures(watched);
    return replaced;
}

/* ---- Begin and end ---- */

struct watched *watched_make(pid_t pid)
{
    struct watched *watched = calloc(1, sizeof *watched);
    if (watched == NULL)
        return NULL;
    *watched = (struct watched){.pid = pid, .inner_pid = pid, .pidfd = -1, .oom_kills = -1, .oom_kills_before = -1};
    watched->first_seen = time(NULL);
    return watched;
}

struct watched *watched_begin(pid_t pid)
{
    struct watched *watched = watched_make(pid);
    if (watched == NULL)
        return NULL;
    watched->pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* before it is looked at: so the number is its own */
    if (read_program(watched))
        return watched;
    watched_end(watched);
    return NULL;
}

void watched_end(struct watched *watched)
{
    if (watched->pidfd >= 0)
        (void)close(watched->pidfd);
    process_info_free(&watched->info);
    watched_close(watched);
    json_decref(watched->figures);
    free(watched);
}

/* ---- By name ---- */

/* What was seen of it, if it was of another program than the one of this name. */
static void forget_another(struct watched *watched, const char *name, size_t size)
{
    const struct process_info *info = &watched->info;
    for (size_t n = 0; n < info->task_count; n++) {
        const struct task *task = &info->tasks[n];
        if (task->id == watched->pid && task->name_length + 1 == size && memcmp(task->name, name, size - 1) == 0)
            return;
    }
    process_info_free(&watched->info);
    watched->info = (struct process_info){0};
    json_decref(watched->figures);
    watched->figures = NULL;
}

/* When it was looked at last. */
static bool was_called_python(const struct watched *watched)
{
    static const char python[] = "python";
    for (size_t n = 0; n < watched->info.task_count; n++) {
        const struct task *task = &watched->info.tasks[n];
        if (task->id == watched->pid)
            return task->name_length >= sizeof python - 1 && memcmp(task->name, python, sizeof python - 1) == 0;
    }
    return false;
}

void watched_judge_by_name(struct watched *watched)
{
    char path[64];
    size_t size = 0;
    if (watched->is_python)
        return;
    (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)watched->pid);
    char *name = read_whole_file(path, &size); /* with a line's end */
    if (name == NULL) {
        /* Its parent was quicker. It has its name before it has mapped anything of the program that it executes. */
        watched->is_python = was_called_python(watched);
        return;
    }
    watched->is_python = has_prefix(name, "python");
    if (watched->is_python)
        forget_another(watched, name, size);
    free(name);
}
