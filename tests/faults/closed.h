/*
 * A close(2) that answers with an error. Linux has closed the descriptor by then, whatever it answers (close(2)):
 * another is put in its place that nothing can be done with, so that what was open is closed, and who tries again is
 * seen. Include from: the tests of faults.
 */
#ifndef PYUNW_TESTS_FAULTS_CLOSED_H
#define PYUNW_TESTS_FAULTS_CLOSED_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/types.h>

/* What lies in the place of closed descriptors is LOG.closed, so that they can be told from others. */
bool prepare_closing(const char *log);

bool is_open_descriptor(pid_t task, int fd);

/* Do what close(2) does for the thread that calls it, which waits; owner: its process. False: it could not be done. */
bool do_close(int listener, const struct seccomp_notif *call, pid_t owner);

/* A process that is told of all its calls: does this one close again what do_close() has closed? */
bool closed_twice(pid_t owner, const struct seccomp_data *call);

#endif
