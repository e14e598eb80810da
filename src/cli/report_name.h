/*
 * The files of a report folder, told by their names.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_REPORT_NAME_H
#define PYUNW_CLI_REPORT_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum report_kind {
    REPORT_FINISHED,  /* pyunwind-20261125T074049Z-4711.json */
    REPORT_PARTIAL,   /* pyunwind-20261125T074049Z-4711.partial */
    REPORT_TEMPORARY, /* .pyunwind-20261125T074049Z-4711.json.tmp: being written */
};

enum { REPORT_TIME_SIZE = 21, REPORT_NAME_SIZE = 96 };

struct report_name {
    enum report_kind kind;
    char time[REPORT_TIME_SIZE]; /* RFC 3339, UTC: when it crashed */
    time_t seconds;              /* the same */
    int64_t pid;
    int number; /* 2, 3, ... of the same process at the same second; 1 for the first */
};

/* False for any other name. */
bool report_name_parse(const char *file, struct report_name *name);

/* "pyunwind-20261125T074049Z-4711": what all files of a crash begin with. */
void report_name_base(const struct report_name *name, char base[REPORT_NAME_SIZE]);

/* PYUNWIND_REPORT_DIR, else $XDG_STATE_HOME/pyunwind, else ~/.local/state/pyunwind. To be freed; NULL: no memory. */
char *report_folder(void);

#endif
