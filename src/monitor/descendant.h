/*
 * How a process ended that is no child of the monitor: its own parent is told, and others only what the kernel keeps.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_DESCENDANT_H
#define PYUNW_MONITOR_DESCENDANT_H

#include "watched.h"

#include <stdbool.h>

/*
 * Whether it has ended, and how: status as of waitpid(2). False: that is not known yet, where may_come is true, or
 * never. A zombie tells those who may trace it; afterwards its pidfd tells, from Linux 6.15 on.
 */
bool descendant_ended(const struct watched *watched, int *status, bool *may_come);

#endif
