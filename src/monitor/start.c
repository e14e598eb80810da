/*
 * Start the program as a shell would, and keep nothing of what it was given.
 */
#include "start.h"

#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

bool start_prepare(struct found *found)
{
    sigset_t all;
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    (void)sigfillset(&all);
    /* Where SIGCHLD is ignored, nobody learns how a child ended. */
    return sigprocmask(SIG_BLOCK, &all, &found->mask) == 0 && sigaction(SIGCHLD, &by_default, &found->child) == 0 &&
           prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) == 0;
}

/* ---- In the new process ---- */

/* The dynamic linker takes blanks and colons for the ends of a path. */
static bool set_preload(const char *preload)
{
    const char *found = getenv("LD_PRELOAD");
    char *value = NULL;
    size_t length = strlen(preload);
    if (found == NULL || *found == '\0')
        return setenv("LD_PRELOAD", preload, 1) == 0;
    /* A monitor below another. */
    if (strncmp(found, preload, length) == 0 && strchr(": ", found[length]) != NULL)
        return true;
    bool good = asprintf(&value, "%s:%s", preload, found) > 0 && setenv("LD_PRELOAD", value, 1) == 0;
    free(value);
    return good;
}

/* go: is closed when it is to begin. */
static void execute(const struct monitor_wish *wish, const struct found *found, int told, const int go[2])
{
    int error = 0;
    char nothing;
    (void)close(go[1]);
    while (read(go[0], &nothing, 1) < 0 && errno == EINTR)
        continue;
    if (set_preload(wish->preload) && sigaction(SIGCHLD, &found->child, NULL) == 0 &&
        sigprocmask(SIG_SETMASK, &found->mask, NULL) == 0)
        (void)execvp(wish->command[0], wish->command);
    error = errno;
    (void)!write(told, &error, sizeof error);
    _exit(MONITOR_NOT_FOUND);
}

/* ---- In the monitor ---- */

/* 0 once the program is executed: the pipe's end is closed by that. */
static int read_error(int told, pid_t child)
{
    const int moment = 10;
    int error = 0;
    ssize_t n = 0;
    struct pollfd end = {.fd = told, .events = POLLIN};
    while (poll(&end, 1, moment) == 0)
        trace_pass_stops(child);
    do {
        n = read(told, &error, sizeof error);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof error ? error : 0;
}

static int complain(const char *what, const char *of, int error)
{
    (void)fprintf(stderr, "pyunwind run: %s%s: %s\n", what, of, strerror(error));
    return MONITOR_FAILED;
}

pid_t start_program(const struct monitor_wish *wish, const struct found *found, int *exit_status)
{
    int told[2];
    int go[2];
    if (pipe2(told, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0) {
        *exit_status = complain("no pipe can be made", "", errno);
        return -1;
    }
    pid_t child = fork();
    int error = errno;
    if (child == 0)
        execute(wish, found, told[1], go);
    (void)close(told[1]);
    (void)close(go[0]);
    if (child > 0 && wish->trace_kills)
        trace_begin_pid(child);
    (void)close(go[1]);
    if (child < 0) {
        *exit_status = complain("no process can be made", "", error);
    } else if ((error = read_error(told[0], child)) != 0) {
        (void)complain("cannot execute ", wish->command[0], error);
        *exit_status = error == ENOENT ? MONITOR_NOT_FOUND : MONITOR_NOT_EXECUTABLE;
        child = -1;
    }
    (void)close(told[0]);
    return child;
}

/* ---- What was inherited ---- */

static void close_range_of(unsigned first, unsigned last)
{
    const unsigned many = 65536;
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < many; fd++) /* before Linux 5.9 */
        (void)close((int)fd);
}

static int by_number(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

void start_close_inherited(int *kept, size_t count, bool with_standard_error)
{
    int from = STDERR_FILENO + 1;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < from; fd++) {
        bool stays = fd == null || (with_standard_error && fd == STDERR_FILENO);
        for (size_t n = 0; n < count; n++)
            stays = stays || fd == kept[n];
        if (!stays)
            (void)dup2(null, fd);
    }
    qsort(kept, count, sizeof *kept, by_number);
    for (size_t n = 0; n < count; n++) {
        if (kept[n] < from)
            continue;
        close_range_of((unsigned)from, (unsigned)kept[n] - 1);
        from = kept[n] + 1;
    }
    close_range_of((unsigned)from, UINT_MAX);
}
