/* Kill a process, and see it end. */
#include "victim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { END_MS = 5000, COLLECT_MS = 200 };

/* The value of a line of /proc/TASK/status: how many characters; 0: there is no such task, or no such line. */
static size_t read_status(pid_t task, const char *key, char value[32])
{
    char path[64];
    char line[256];
    value[0] = '\0';
    snprintf(path, sizeof path, "/proc/%d/status", (int)task);
    FILE *file = fopen(path, "re");
    while (value[0] == '\0' && file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            snprintf(value, 32, "%.31s", line + strlen(key));
    }
    if (file != NULL)
        fclose(file);
    return strlen(value);
}

pid_t task_status_number(pid_t task, const char *key)
{
    char value[32];
    return read_status(task, key, value) > 0 ? (pid_t)strtol(value, NULL, 10) : 0;
}

bool is_below_this(pid_t pid)
{
    for (int n = 0; n < 64 && pid > 1; n++) {
        if (pid == getpid())
            return true;
        pid = task_status_number(pid, "PPid:\t");
    }
    return false;
}

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool end_process(pid_t pid, bool collected)
{
    if (kill(pid, SIGKILL) != 0)
        return false;
    int64_t deadline = now_ms() + (collected ? COLLECT_MS : END_MS);
    while (now_ms() < deadline) {
        char state[32];
        bool is_there = read_status(pid, "State:\t", state) > 0;
        bool is_traced = task_status_number(pid, "TracerPid:\t") != 0;
        bool is_dead = state[0] == 'Z';
        if (!is_there || (is_traced && (state[0] == 't' || is_dead)) || (is_dead && !collected))
            break;
        usleep(100);
    }
    return true;
}
