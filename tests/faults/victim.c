/* Kill a process, and see it end. */
#include "victim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { END_MS = 5000, COLLECT_MS = 200 };

pid_t task_status_number(pid_t task, const char *key)
{
    char path[64];
    char line[256];
    pid_t value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)task);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = (pid_t)strtol(line + strlen(key), NULL, 10);
            break;
        }
    }
    if (file != NULL)
        fclose(file);
    return value;
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

/* 0: there is no such process. */
static char state_of(pid_t pid)
{
    char path[64];
    char line[256];
    char state = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (state == 0 && file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "State:\t", 7) == 0)
            state = line[7];
    }
    if (file != NULL)
        fclose(file);
    return state;
}

bool end_process(pid_t pid, bool collected)
{
    if (kill(pid, SIGKILL) != 0)
        return false;
    int64_t deadline = now_ms() + (collected ? COLLECT_MS : END_MS);
    while (now_ms() < deadline) {
        char state = state_of(pid);
        bool is_traced = task_status_number(pid, "TracerPid:\t") != 0;
        if (state == 0 || (is_traced && (state == 't' || state == 'Z')) || (state == 'Z' && !collected))
            break;
        usleep(100);
    }
    return true;
}
