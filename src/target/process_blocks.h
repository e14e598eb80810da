/*
 * Pages of another process, kept in room that the caller of pyunw_open_pid() gave, and read many at once.
 * Signal-safe: yes. One thread at a time. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_BLOCKS_H
#define PYUNW_TARGET_PROCESS_BLOCKS_H

#include "pyunwind_remote.h"

#include <stdbool.h>

struct blocks;

/* Make room ready to keep pages of a process, of a paused one where pause is not NULL. NULL where it is too small. */
struct blocks *pyunw_blocks_begin(void *room, size_t size, pid_t pid, const pyunw_pause *pause);

/* The functions of a pyunw_image whose context is a struct blocks. */
int pyunw_blocks_read(void *context, pyunw_addr address, void *buffer, size_t size);
void pyunw_blocks_renew(void *context, int purpose);
void pyunw_blocks_expect(void *context, pyunw_addr address, size_t size);

/* The function of a struct source with the same context. */
int pyunw_blocks_look_ahead(void *context, bool begin);

#endif
