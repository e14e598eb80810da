/*
 * Options of the crash tracker, as the environment says them (docs/crash.md).
 * Include from: cli, monitor.
 */
#ifndef PYUNW_CLI_CRASH_OPTIONS_H
#define PYUNW_CLI_CRASH_OPTIONS_H

#include <stdbool.h>

/* NULL where it is not set, or empty. */
const char *crash_option(const char *name);

/* Anything but "0" is true. otherwise: where it is not set. */
bool crash_option_is_set(const char *name, bool otherwise);

/* otherwise: also where it is no number. */
long crash_option_number(const char *name, long otherwise);

#endif
