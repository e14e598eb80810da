/*
 * One report at a time, made in stages.
 * Signal-safe: yes. Include from: crash.
 */
#ifndef PYUNW_CRASH_REPORT_H
#define PYUNW_CRASH_REPORT_H

#include "crash.h"

/*
 * Report a fault: true, or false where another thread's report took all the time there is, or that thread was to end
 * the process and has not.
 */
bool pyunw_crash_report(const struct crash_fault *fault, bool is_last);

/* Is this thread at work on a report? Then a signal of its own is a fault of ours. */
bool pyunw_crash_is_reporting(pid_t thread);

/* Leave out the stage that faulted, do the others, and let the context go on behind them. */
void pyunw_crash_leave_stage(void *context);

/* From now on no other thread reports: the process ends. */
void pyunw_crash_end_reports(void);

#endif
