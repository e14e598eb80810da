/*
 * A process beside the monitor that ends it when it does not move any more: whom it traces would wait for it at their
 * next signal, and are let go by the kernel when it dies.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_WATCHDOG_H
#define PYUNW_MONITOR_WATCHDOG_H

#include <stdbool.h>

/* Begin to watch over this process. False where no process, or no memory, is to be had. */
bool watchdog_begin(void);

/* This process moves. */
void watchdog_beat(void);

/* Milliseconds within which it has to move. */
int watchdog_longest(void);

/* It stands because its job is stopped, or goes on. Nothing is traced meanwhile. */
void watchdog_rest(bool rests);

#endif
