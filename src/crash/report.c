/*
 * One report at a time, made in stages, the safest first.
 * Signal-safe: yes.
 */
#include "report.h"

#include "other_copy.h"

#include <time.h>
#include <ucontext.h>

enum stage { STAGE_JOURNAL, STAGE_FAULT, STAGE_STACK, STAGE_SIDECAR, STAGE_COPY, STAGE_FINISH, STAGE_DONE };

enum { OWN_FAULTS = 8 };

static struct {
    /* Who reports: the process in the upper half, in the lower its thread, or ENDING; 0: nobody. A child that was
     * forked meanwhile finds its parent's number, and takes no notice of it. */
    uint64_t owner;
    int stage; /* enum stage: the one that is at work */
    int own_faults;
    int sidecar; /* enum sidecar_end */
    struct crash_fault fault;
    struct crash_journal journal;
} report;

int pyunw_crash_fault_in_stage = -1;
const struct preloaded_tracker *pyunw_crash_preloaded;

/* ---- Stages ---- */

/* For the tests. It is the processor that is to find it, and not a sanitizer. */
__attribute__((no_sanitize("null"))) static void fault(void)
{
    static int *volatile nowhere;
    *nowhere = 0; /* NOLINT(clang-analyzer-core.NullDereference): it is to fault */
}

static void run_stage(enum stage stage)
{
    if ((int)stage == pyunw_crash_fault_in_stage && report.own_faults == 0)
        fault();
    switch (stage) {
    case STAGE_JOURNAL:
        pyunw_crash_journal_open(&report.journal);
        break;
    case STAGE_FAULT:
        pyunw_crash_write_fault(&report.journal, &report.fault);
        break;
    case STAGE_STACK:
        pyunw_crash_write_stack(&report.journal);
        break;
    case STAGE_SIDECAR:
        report.sidecar = pyunw_crash_run_sidecar(&report.journal, &report.fault, SIDECAR_COLLECT);
        break;
    case STAGE_COPY:
        if (report.sidecar == SIDECAR_REFUSED || report.sidecar == SIDECAR_NOT_STARTED)
            pyunw_crash_write_all_stacks(&report.journal, report.fault.deadline);
        break;
    case STAGE_FINISH:
        if (report.sidecar == SIDECAR_REFUSED)
            report.sidecar = pyunw_crash_run_sidecar(&report.journal, &report.fault, SIDECAR_FINISH);
        break;
    case STAGE_DONE:
        break;
    }
}

static void run_stages(void)
{
    while (report.stage < STAGE_DONE) {
        run_stage((enum stage)report.stage);
        report.stage++;
    }
}

/*
 * On a stack of our own: the alternate one may be another library's, and small. Meanwhile the thread has no alternate
 * stack, else the kernel would put the frame of a fault of ours over the one that is reported.
 */
static void run_on_own_stack(void *unused)
{
    static const stack_t none = {.ss_flags = SS_DISABLE};
    (void)unused;
    (void)raw_syscall3(SYS_sigaltstack, (long)&none, 0, 0);
    run_stages();
}

void pyunw_crash_leave_stage(void *context)
{
    ucontext_t *own = context;
    /* The registers lie on a stack that may be damaged: the fault is told without them. */
    if (report.stage == STAGE_FAULT && report.fault.context != 0)
        report.fault.context = 0;
    else
        report.stage++;
    if (++report.own_faults <= OWN_FAULTS)
        run_stages();
#if defined(__x86_64__)
    own->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)&pyunw_crash_come_back;
#else
    own->uc_mcontext.pc = (uint64_t)(uintptr_t)&pyunw_crash_come_back;
#endif
}

/* ---- Who reports ---- */

enum { ENDING = 0x7fffffff }; /* the process is about to end: no thread has this number */

static uint64_t owner_of(pid_t thread)
{
    return (uint64_t)raw_syscall0(SYS_getpid) << 32 | (uint32_t)thread;
}

static bool is_of_this_process(uint64_t owner)
{
    return owner >> 32 == (uint64_t)raw_syscall0(SYS_getpid);
}

static bool claim(pid_t thread)
{
    uint64_t owner = __atomic_load_n(&report.owner, __ATOMIC_SEQ_CST);
    if (owner != 0 && is_of_this_process(owner))
        return false;
    return __atomic_compare_exchange_n(&report.owner, &owner, owner_of(thread), false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static bool claim_until(pid_t thread, int64_t deadline)
{
    const int64_t moment = 2000000;
    while (!claim(thread)) {
        if (pyunw_crash_now(CLOCK_MONOTONIC) > deadline)
            return false;
        pyunw_crash_sleep(moment);
    }
    return true;
}

bool pyunw_crash_is_reporting(pid_t thread)
{
    return __atomic_load_n(&report.owner, __ATOMIC_SEQ_CST) == owner_of(thread);
}

void pyunw_crash_end_reports(void)
{
    __atomic_store_n(&report.owner, owner_of(ENDING), __ATOMIC_SEQ_CST);
}

bool pyunw_crash_report(const struct crash_fault *fault, bool is_last)
{
    stack_t found = {.ss_flags = SS_DISABLE};
    int64_t limit = pyunw_crash_settings.time_limit;
    if (!claim_until(fault->thread, pyunw_crash_now(CLOCK_MONOTONIC) + 2 * limit))
        return false;
    report.fault = *fault;
    report.fault.deadline = pyunw_crash_now(CLOCK_MONOTONIC) + limit;
    report.stage = STAGE_JOURNAL;
    report.own_faults = 0;
    report.sidecar = SIDECAR_FAILED;
    report.journal = (struct crash_journal){.file = {.fd = -1}};
    (void)raw_syscall3(SYS_sigaltstack, 0, (long)&found, 0);
    pyunw_crash_call_on(pyunw_crash_settings.stack_top, run_on_own_stack, NULL);
    (void)raw_syscall3(SYS_sigaltstack, (long)&found, 0, 0);
    pyunw_crash_journal_close(&report.journal);
    bool good = report.sidecar == SIDECAR_DONE;
    __atomic_store_n(&report.owner, is_last ? owner_of(ENDING) : 0, __ATOMIC_SEQ_CST);
    return good;
}

int pyunw_crash_report_now(void)
{
    const struct crash_fault now = {.thread = (pid_t)raw_syscall0(SYS_gettid), .system_call = -1};
    const uint64_t faults = signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGILL) | signal_bit(SIGFPE) |
                            signal_bit(SIGABRT) | signal_bit(SIGSYS) | signal_bit(SIGTRAP);
    const uint64_t others = ~faults;
    uint64_t mask = 0;
    if (pyunw_crash_preloaded != NULL)
        return pyunw_crash_preloaded->report_now();
    if (!pyunw_crash_settings.installed)
        return PYUNW_ERR_NOT_OPEN;
    /* No handler of the program's is to run on our stack, and none of ours to ask for another report. */
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&others, (long)&mask, sizeof mask);
    bool good = pyunw_crash_report(&now, false);
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask);
    return good ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}
