/*
 * Processes that are killed on purpose, and what /proc says of them.
 * Include from: the tests of faults.
 */
#ifndef PYUNW_TESTS_FAULTS_VICTIM_H
#define PYUNW_TESTS_FAULTS_VICTIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The value of a line of /proc/TASK/status; key: with ":\t" behind it. */
pid_t task_status_number(pid_t task, const char *key);

/* It is below this program, which is a subreaper: no stranger with a number that was free again. */
bool is_below_this(pid_t pid);

/* Milliseconds. */
int64_t now_ms(void);

/*
 * Kill it, and wait until it has ended, or stands at its end since it is traced; collected: until its parent has waited
 * for it, too, if that comes about soon: not while another has to wait for it first, who traces it. False: it is not
 * there.
 */
bool end_process(pid_t pid, bool collected);

#endif
