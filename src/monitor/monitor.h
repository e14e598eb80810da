/*
 * The parent of a program: it sees how it ends, and ends likewise.
 * Include from: cli, monitor.
 */
#ifndef PYUNW_MONITOR_MONITOR_H
#define PYUNW_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses of the monitor itself, as of env(1), nohup(1), timeout(1) and shells. */
enum { MONITOR_FAILED = 125, MONITOR_NOT_EXECUTABLE = 126, MONITOR_NOT_FOUND = 127 };

struct monitor_wish {
    char **command;      /* ends with NULL; the first is looked for in PATH */
    const char *preload; /* path of libpyunwind-preload.so */
    int folder;          /* of reports, open; options of reports are in the environment (docs/crash.md) */
    int output;          /* PYUNWIND_REPORT_FD; less than 0: none */
    bool trace_kills;    /* trace all processes, so that one that is killed can be read */
};

/*
 * Run the command to its end. Does not return where the process has to die of a signal: else the exit status that it
 * is to have. The program is given all descriptors but ours, the signal mask and the dispositions as they are found
 * when this is called.
 */
int monitor_run(const struct monitor_wish *wish);

#endif
