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
 * a pread(2) of /proc/PID/mem. With options->room (pyunwind.h) pages are read many at once, anew for each walk and each
 * description: a few calls for a stack that else takes hundreds, and fewer innermost frames that a thread which runs
 * loses. The target holds no descriptor and no memory; pyunw_close() ends it. It names the process by its number: when
 * the process has ended reads fail, and of a process that was given the same number later they tell nonsense. Whoever
 * keeps a target for long compares the start time in /proc/PID/stat.
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

/* ---- A process that stands ----------------------------------------------------------------------------------- */

/** A process that stands still: opaque, allocated by pyunw_pause_process(), freed by pyunw_resume_process(). */
typedef struct pyunw_pause pyunw_pause;

/**
 * Stop every thread of a process, those it starts meanwhile too, so that what is read of it is exact: what the stacks
 * are at one moment, the same for all threads.
 *
 * A thread of the library's own holds them (PTRACE_SEIZE, PTRACE_INTERRUPT), until pyunw_resume_process() or until
 * limit has passed, whatever the caller does. When the caller's process ends, by SIGKILL too, the kernel lets them go.
 * No signal is lost or added: what was sent meanwhile arrives afterwards, and a process that was stopped (SIGSTOP, job
 * control) stays so. System calls that were waiting go on, but for the few which end with EINTR also after SIGSTOP and
 * SIGCONT (epoll_wait(2), ...; signal(7)).
 *
 * Meanwhile the caller must not wait for what the paused process has to do: not for a lock in memory that both share,
 * not for room in a pipe that it empties. To the kernel the caller is its tracer: waitpid(2) for any child, or for the
 * paused process, may tell each of the caller's threads that one has stopped (WIFSTOPPED), and SIGCHLD arrives.
 * @param pid      As for pyunw_open_pid(); not the caller's own process.
 * @param limit    Milliseconds, more than 0, from now: how long it takes at most until the process runs again. Counted
 *                 in it: the time until all threads stand.
 * @param pause    Out: the handle; NULL when it fails. Nothing stands then.
 * @param options  NULL for the defaults; only message and message_size are used, as by pyunw_open_pid().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NO_PROCESS, PYUNW_ERR_PERMISSION as for pyunw_open_pid(), and
 *         PYUNW_ERR_PERMISSION where a debugger or another pause holds the process (the message names it);
 *         PYUNW_ERR_NO_PYTHON for a thread of the kernel; PYUNW_ERR_TORN where not all threads stood before the limit
 *         (the message names one, which waits for a disk, say);
 *         PYUNW_ERR_SYSTEM where /proc, memory or a thread is not to be had.
 * Signal-safe: no. Allocates: yes. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_pause_process(pid_t pid, int limit, pyunw_pause **pause, const pyunw_options *options);

/**
 * Let a paused process run on.
 * @param pause  The handle, which is freed: close the targets that were opened with it before. NULL: nothing is done.
 *               A child that the caller has forked since cannot use the handle, nor free it.
 * @return 0: it stood until now, or was ended by another; PYUNW_ERR_TORN: the limit had passed before, and it has run
 *         on since. What was read until then is exact, and what was to be read later was refused.
 * Signal-safe: no. Allocates: no. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_resume_process(pyunw_pause *pause);

/**
 * Open the interpreter of a paused process: as pyunw_open_pid(), but each stack is read once, as it stands.
 * @param target   Caller's memory; filled in, whatever it held. Close it before the process is resumed.
 * @param pause    Of pyunw_pause_process(); borrowed until pyunw_close(). Several targets may share it.
 * @param options  As for pyunw_open_pid().
 * @return As pyunw_open_pid(); PYUNW_ERR_ARGUMENT for a pause that is NULL. When the limit of the pause has passed,
 *         captures fail, or end with PYUNW_CORRUPT at what was not read before.
 * Signal-safe: no; captures of the target are. Allocates: while it runs. Threads: any, one target each. Since: 0.1.
 * CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_open_paused(pyunw_target *target, const pyunw_pause *pause, const pyunw_options *options);

#ifdef __cplusplus
}
#endif

#endif
