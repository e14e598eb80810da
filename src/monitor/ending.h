/*
 * End as the program ended.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_ENDING_H
#define PYUNW_MONITOR_ENDING_H

/* status: of waitpid(2). Dies by the same signal; else the exit status that the monitor is to have. */
int ending_take(int status);

#endif
