/*
 * The file behind a mapping of another process.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_FILE_H
#define PYUNW_TARGET_PROCESS_FILE_H

#include "process_maps.h"

/* A descriptor to be closed, or -1 where the file that is mapped cannot be had (another may have its name now). */
int pyunw_process_file_open(pid_t pid, const struct mapping *mapping);

#endif
