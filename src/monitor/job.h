/*
 * The program and the monitor are one job: they stop together, and go on together.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_JOB_H
#define PYUNW_MONITOR_JOB_H

#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/types.h>

/* Is it stopped by a signal? */
bool job_is_stopped(pid_t pid);

/* Stop as the program did, by the same signal, until it or this process is continued. */
void job_stop(pid_t program, int signal);

/* Pass on a signal that was sent to the monitor, and not by a terminal to the whole job. True: it was passed on. */
bool job_pass_on(pid_t program, const struct signalfd_siginfo *info);

#endif
