/*
 * Ask the monitor by a queued SIGCHLD, which it passes on to nobody. Its value is the number that the process has for
 * itself; the monitor, to which it may have another, finds it among those that the sender is below.
 */
#include "tracer.h"

#include "process_info.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* 0: it is not traced, or by one that this process cannot see. */
static pid_t tracer_of(pid_t pid)
{
    static const char key[] = "\nTracerPid:";
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    char *text = read_whole_file(path, &size);
    const char *at = text != NULL ? strstr(text, key) : NULL;
    pid_t tracer = at != NULL ? (pid_t)strtol(at + sizeof key - 1, NULL, 10) : 0;
    free(text);
    return tracer;
}

static bool is_this_command(pid_t pid)
{
    char path[64];
    struct stat its;
    struct stat own;
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat(path, &its) == 0 && stat("/proc/self/exe", &own) == 0 && its.st_dev == own.st_dev &&
           its.st_ino == own.st_ino;
}

bool tracer_ask_to_let_go(pid_t pid)
{
    enum { TIMES = 200, MILLISECONDS = 5, ASKED_ANEW = 20 };
    for (int n = 0; n < TIMES; n++) {
        pid_t tracer = tracer_of(pid);
        if (tracer == 0)
            return true;
        /* Signals of children are not counted: this one may have come together with another, and be lost in that. */
        if (n % ASKED_ANEW == 0 &&
            (!is_this_command(tracer) || sigqueue(tracer, SIGCHLD, (union sigval){.sival_int = pid}) != 0))
            return false;
        (void)poll(NULL, 0, MILLISECONDS);
    }
    return tracer_of(pid) == 0;
}
