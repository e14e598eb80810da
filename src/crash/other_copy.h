/*
 * Another copy of the tracker in the same process: that of the library which `pyunwind run` preloads. One of two has to
 * do the work, else a death leaves two reports: it is the preloaded one's, which was there first.
 * Include from: crash, preload.
 */
#ifndef PYUNW_CRASH_OTHER_COPY_H
#define PYUNW_CRASH_OTHER_COPY_H

#include <pyunwind_crash.h>

/* The name that the preloaded library shows it by. */
#define PRELOADED_TRACKER "pyunwind_preloaded_tracker"

struct preloaded_tracker {
    unsigned version; /* of this structure */
    /* The options of the program, for the folder that the monitor looks into. */
    int (*install)(const pyunw_crash_options *options);
    int (*restore)(void); /* the options that it had at first */
    int (*report_now)(void);
};

enum { PRELOADED_TRACKER_VERSION = 1 };

#endif
