/*
 * The parts of the installation.
 * Signal-safe: no. Include from: crash.
 */
#ifndef PYUNW_CRASH_INSTALL_H
#define PYUNW_CRASH_INSTALL_H

#include "crash.h"

/* Say why in options->message, and return error. */
int pyunw_crash_refuse(const pyunw_crash_options *options, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The path of the report folder. */
int pyunw_crash_find_folder(const pyunw_crash_options *options, char path[PATH_MAX]);

/* Make the folder where it is missing, see that reports can be written there, and open it and a file in it. */
int pyunw_crash_open_folder(const pyunw_crash_options *options, struct crash_settings *settings);

/* Find the pyunwind command, and open it. */
int pyunw_crash_open_helper(const pyunw_crash_options *options, struct crash_settings *settings);

/* Make the sidecar's environment. */
int pyunw_crash_make_environment(const pyunw_crash_options *options, struct crash_settings *settings);

/* Move a descriptor out of the way of the numbers that programs use; fd is closed. */
int pyunw_crash_move_high(int fd);

/* Memory for a stack with a page below it that cannot be written: the lowest address that can, NULL where there is
 * none. */
void *pyunw_crash_map_stack(size_t size);

#endif
