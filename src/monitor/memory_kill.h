/*
 * Was it the kernel that killed, for want of memory?
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_MEMORY_KILL_H
#define PYUNW_MONITOR_MEMORY_KILL_H

#include "watched.h"

#include <jansson.h>
#include <stdbool.h>

/* True where it was; what tells so is added to the evidence, a list of texts. */
bool memory_kill_find(const struct watched *watched, json_t *evidence);

#endif
