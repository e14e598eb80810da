/*
 * What the crash tracker keeps between its installation and the death of the process. All of it is static: the handler
 * runs where the heap is not to be used.
 * Include from: crash, preload.
 */
#ifndef PYUNW_CRASH_CRASH_H
#define PYUNW_CRASH_CRASH_H

#include "syscalls.h"

#include <limits.h>
#include <pyunwind_crash.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIGNAL_COUNT = 64 };

static inline uint64_t signal_bit(int signal)
{
    return UINT64_C(1) << ((unsigned)(signal - 1) % SIGNAL_COUNT);
}

/* ---- Descriptors ---- */

/* A descriptor, and the file it was opened on: the program may close any number, and use it anew. */
struct held_file {
    int fd; /* less than 0: none */
    uint64_t device;
    uint64_t inode;
};

/* Is it still open on that file? Signal-safe. */
bool pyunw_crash_holds(const struct held_file *file);

/* Remember what fd is open on. Signal-safe. */
struct held_file pyunw_crash_hold(int fd);

/* The same of one that was opened here, which is closed where that cannot be found out. Signal-safe. */
struct held_file pyunw_crash_hold_own(int fd);

/* ---- Settings ---- */

/* The sidecar's environment: what it needs and nothing else of the program's, above all no LD_PRELOAD. */
enum { ENVIRONMENT_MAX = 24, ENVIRONMENT_SIZE = 2 * PATH_MAX + 4096 };

/* The interpreter is opened once for each way of reading: a sandbox that was entered since may forbid one. */
enum { TARGET_COUNT = 3 };

struct crash_settings {
    bool installed;
    pid_t pid; /* of the process that installed it; a child of fork() has another */
    uint64_t signals;
    uint64_t report_first;    /* signals whose previous handler does not come back: ours reports before it is called */
    uint64_t dies_afterwards; /* of those, the ones whose handler is faulthandler's, which ends the process */
    int64_t time_limit;       /* nanoseconds */
    bool is_restricted; /* by Yama: a process is read only by its ancestors and by whom it names (PR_SET_PTRACER) */
    int report_signal;  /* that asks for a report; 0: none */
    uint32_t flags;     /* enum pyunw_crash_flags */
    pyunw_target targets[TARGET_COUNT];
    int target_count;
    struct held_file folder;  /* where reports are written */
    struct held_file journal; /* a file without a name in it, made beforehand; none where the file system has no such */
    struct held_file helper;
    struct held_file output; /* a descriptor of the caller's, for reports */
    struct held_file standard_error;
    char folder_path[PATH_MAX];
    char helper_path[PATH_MAX];
    char *environment[ENVIRONMENT_MAX];
    char environment_text[ENVIRONMENT_SIZE];
    /* The handler's own stack, since one that a library has set up may have no room; and that of two processes to be.
     */
    char *stack_top;
    char *clone_stack_top;
};

extern struct crash_settings pyunw_crash_settings;

/* The tracker that works in place of this one (other_copy.h); NULL: this one does. */
extern const struct preloaded_tracker *pyunw_crash_preloaded;

/* What the public functions do where this copy does the work. */
int pyunw_crash_install_here(const pyunw_crash_options *asked);
int pyunw_crash_remove_here(void);

/* Handlers that were there before, by signal number. */
extern struct kernel_sigaction pyunw_crash_previous[SIGNAL_COUNT + 1];

/*
 * Set, behind ours, the handler that the program wants for a signal of ours, which is then reported first; NULL: only
 * tell what is there. old, where it is not NULL: what was there. 0. Signal-safe: no.
 */
int pyunw_crash_set_previous(int signal, const struct sigaction *action, struct sigaction *old);

/* ---- The handler's parts ---- */

/* For tests: the stage of the report in which the handler itself is to fault; -1: none. */
extern int pyunw_crash_fault_in_stage;

void pyunw_crash_handler(int signal, siginfo_t *info, void *context);

/* Of the signal that asks for a report. */
void pyunw_crash_report_handler(int signal, siginfo_t *info, void *context);

/* A fault as it is reported. */
struct crash_fault {
    int signal; /* 0: none, a report is wanted of a process that goes on */
    bool has_code;
    int code; /* si_code */
    bool has_address;
    uint64_t address; /* si_addr: the fault's */
    bool has_sender;
    pid_t sender;
    uid_t sender_user;
    int system_call;  /* of SIGSYS; less than 0: none */
    bool recovered;   /* taken from the frame of a handler that ran before */
    uint64_t context; /* address of the ucontext_t; 0: none */
    pid_t thread;
    int64_t deadline; /* nanoseconds of CLOCK_MONOTONIC */
};

/* What siginfo tells. */
void pyunw_crash_take_info(struct crash_fault *fault, const siginfo_t *info);

/* The unfinished report. */
struct crash_journal {
    struct held_file file; /* none: it could not be had */
    char name[64];         /* "pyunwind-20261125T074049Z-4711", without an extension; as long as it has none: "" */
};

/* Where to write: less than 0 where its number is open on another file by now. */
int pyunw_crash_journal_fd(const struct crash_journal *journal);

/* Name and open the unfinished report. */
void pyunw_crash_journal_open(struct crash_journal *journal);

/* Give it back after a report of a process that goes on, and have one ready for the next. */
void pyunw_crash_journal_close(struct crash_journal *journal);

/* Record 1: the signal, the registers. The sidecar is handed it, too, in case it cannot be written. */
void pyunw_crash_write_fault(const struct crash_journal *journal, const struct crash_fault *fault);
const char *pyunw_crash_fault_record(void);

/* Record 2: the Python stack of the thread. */
void pyunw_crash_write_stack(const struct crash_journal *journal);

/* All Python stacks, from a frozen copy of the process where one can be had. */
void pyunw_crash_write_all_stacks(const struct crash_journal *journal, int64_t deadline);

void pyunw_crash_write_note(const struct crash_journal *journal, const char *note);

enum { CLONE_STACK_SIZE = 64 << 10 };

/* What the sidecar is to do. */
enum sidecar_task {
    SIDECAR_COLLECT, /* read the process, and finish the report */
    SIDECAR_FINISH,  /* finish it from what is written already */
};

/* How it ended: its exit status (src/cli/collect.h), or one of these. */
enum sidecar_end {
    SIDECAR_DONE = 0,
    SIDECAR_REFUSED = 10, /* it is not allowed to read the process */
    SIDECAR_NOT_STARTED = -1,
    SIDECAR_FAILED = -2, /* killed, or the time is over */
};

int pyunw_crash_run_sidecar(const struct crash_journal *journal, const struct crash_fault *fault,
                            enum sidecar_task task);

/* The fault of a handler that ran before ours and has raised the signal again, from its signal frame. */
bool pyunw_crash_recover_fault(int signal, const void *context, struct crash_fault *fault);

/* ---- Machine ---- */

/* Call function(argument) on another stack, which grows down from top. One call at a time. */
void pyunw_crash_call_on(void *top, void (*function)(void *argument), void *argument);

/* Not to be called: a context that goes on here returns from pyunw_crash_call_on(), wherever its function stands. */
void pyunw_crash_come_back(void);

/* clone(2) with a stack of its own, where function(argument) runs and does not return. The result carries -errno. */
long pyunw_crash_clone_on(unsigned long flags, void *top, void (*function)(void *argument), void *argument);

/* ---- Time ---- */

enum { NANOSECONDS = 1000000000 };

int64_t pyunw_crash_now(int clock);
void pyunw_crash_sleep(int64_t nanoseconds);

#endif
