/*
 * Look at all processes below the monitor, in a thread of its own. Where memory is used up, a file can be opened only
 * when some has become free, and meanwhile a process may be killed for want of it, and has to be read.
 * Include from: monitor.
 */
#ifndef PYUNW_MONITOR_LOOKS_H
#define PYUNW_MONITOR_LOOKS_H

#include "watched_list.h"

#include <stdbool.h>
#include <stdint.h>

/* Make what the thread is asked by, and what can be read (poll(2)) when a look is done. False: errno says why. */
bool looks_open(int *asked, int *done);

/* Start the thread; opens: interpreters, too. Where there cannot be one, a look is its caller's. */
void looks_begin(bool opens);

/* Begin a look. Not before the last one was taken. */
void looks_ask(void);

/*
 * What was seen, to be freed by watched_take() one by one, and watched_free(). work: out, milliseconds of processor
 * time that it took. False: the look is not done.
 */
bool looks_take(struct watched_list *news, int64_t *work);

#endif
