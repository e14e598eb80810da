/*
 * Which task of the kernel is which thread of Python.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_NATIVE_IDS_H
#define PYUNW_CLI_NATIVE_IDS_H

#include "snapshot.h"

/* Set the task of every thread for which it is certain. */
void native_ids_match(struct snapshot *snapshot);

#endif
