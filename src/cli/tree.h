/*
 * A process and those below it: its children, theirs, ...
 * Include from: cli.
 */
#ifndef PYUNW_CLI_TREE_H
#define PYUNW_CLI_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * The process first, each parent before its children, a child's own before the next child. *pids is to be freed, also
 * after false: /proc or memory is not to be had.
 */
bool tree_find(pid_t pid, pid_t **pids, size_t *count);

/* Is a process among them? */
bool tree_has(pid_t pid, const pid_t *pids, size_t count);

/* The same without those that is_left_out() says, and all below them. */
bool tree_find_but(pid_t pid, bool (*is_left_out)(pid_t pid), pid_t **pids, size_t *count);

#endif
