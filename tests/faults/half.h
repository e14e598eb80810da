/*
 * A system call that does less than it was asked for, as it may: read, pread64, write and process_vm_readv.
 * Include from: the tests of faults.
 */
#ifndef PYUNW_TESTS_FAULTS_HALF_H
#define PYUNW_TESTS_FAULTS_HALF_H

#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/types.h>

#define NO_HALF INT64_MIN

/*
 * Do the half of the call for the thread that makes it, which waits; owner: its process. The result, or a negative
 * errno; NO_HALF: it would wait, as for who fills a pipe, and is to do so itself.
 */
int64_t do_half(const struct seccomp_notif *call, pid_t owner);

#endif
