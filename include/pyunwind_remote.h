/*
 * pyunwind: the Python stacks of another process.
 *
 * What is opened here is read with all of pyunwind.h: pyunw_threads_begin(), pyunw_capture(), pyunw_describe_into(),
 * ... The library is libpyunwind-remote (pkg-config pyunwind-remote); it needs elfutils' libelf, and libpyunwind.
 *
 * Closing words of each comment: as in pyunwind.h.
 */
#ifndef PYUNWIND_REMOTE_H
#define PYUNWIND_REMOTE_H

#include <sys/types.h>

#include "pyunwind.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Open the interpreter of another process, of any CPython that pyunw_open_self() knows: in libpython, in the executable
 * or embedded in a foreign program; stripped, deleted or replaced on disk, in another mount or pid namespace.
 *
 * The process is not stopped, and nothing of it is changed: its stacks are read while it runs, each until two reads
 * agree, and pyunw_status says what could not be settled. Every read is a process_vm_readv(2), or where that is refused
 * a pread(2) of /proc/PID/mem. The target holds no descriptor and no memory; pyunw_close() ends it. It names the
 * process by its number: when the process has ended reads fail, and of a process that was given the same number later
 * they tell nonsense. Whoever keeps a target for long compares the start time in /proc/PID/stat.
 *
 * Of two interpreters in one process the one that is initialized is opened, else the one that is loaded lower, unless
 * options->runtime names one.
 * @param target   Caller's memory; filled in, whatever it held.
 * @param pid      The process as the caller's own pid namespace numbers it; more than 0; a process, not a thread.
 *                 The caller's own is allowed.
 * @param options  NULL for the defaults; memory and guard are ignored. options->message says why when it fails, and
 *                 what could be done, but for a size that is too small; 512 bytes hold most messages whole.
 * @return 0; PYUNW_ERR_ARGUMENT;
 *         PYUNW_ERR_NO_PROCESS where there is no such process, it has ended or is ending (a zombie too), or pid is
 *         a thread's;
 *         PYUNW_ERR_PERMISSION where the system refuses (the message names the rule and two ways out);
 *         PYUNW_ERR_NO_PYTHON where it holds no CPython interpreter (the message says what it is, PyPy too);
 *         PYUNW_ERR_UNSUPPORTED (the message names the version; also a process of 32 bits or another architecture);
 *         PYUNW_ERR_LAYOUT, PYUNW_ERR_FAULT where the runtime is not what its version makes it, or cannot be read;
 *         PYUNW_ERR_SYSTEM where /proc is not to be had;
 *         PYUNW_ERR_NOT_INITIALIZED, PYUNW_ERR_FINALIZED: the target is open all the same, and answers once the
 *         interpreter is initialized.
 * Signal-safe: no; captures of the target are. Allocates: while it runs. Threads: any, one target each. Since: 0.1.
 * CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_open_pid(pyunw_target *target, pid_t pid, const pyunw_options *options);

#ifdef __cplusplus
}
#endif

#endif
