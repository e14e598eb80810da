/*
 * The handler of the fatal signals: who is asked first, and what becomes of the process.
 *
 * A handler that was there before may recover from its faults, as a Java machine does, and then nothing has happened.
 * So it is called first, with the signal blocked but for SA_NODEFER: where it gives up it raises the signal again,
 * which then is pending, or sets the default action. Only faulthandler's is known not to come back; it is called when
 * all is reported. Signal-safe: yes.
 */
#include "crash.h"
#include "report.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>

struct crash_settings pyunw_crash_settings;
struct kernel_sigaction pyunw_crash_previous[SIGNAL_COUNT + 1];

static struct kernel_sigaction current_action(int signal)
{
    struct kernel_sigaction action = {0};
    (void)raw_syscall4(SYS_rt_sigaction, signal, 0, (long)&action, sizeof action.mask);
    return action;
}

static bool is_default(const struct kernel_sigaction *action)
{
    return action->handler == (void *)SIG_DFL;
}

static bool has_handler(const struct kernel_sigaction *action)
{
    return action->handler != (void *)SIG_DFL && action->handler != (void *)SIG_IGN;
}

static void block(uint64_t mask)
{
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, 0, sizeof mask);
}

/* The mask that there was. */
static uint64_t set_mask(uint64_t mask)
{
    uint64_t found = 0;
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)&found, sizeof mask);
    return found;
}

/* What was blocked where the thread was interrupted: more than that is blocked while our handler runs. */
static uint64_t mask_of(const void *context)
{
    uint64_t mask = 0;
    if (context != NULL) /* a handler in front has called ours without, perhaps */
        memcpy(&mask, &((const ucontext_t *)context)->uc_sigmask, sizeof mask);
    return mask;
}

/* ---- The end ---- */

/*
 * The default action, with the siginfo that it would have had. The signal stays blocked until the handler returns, so
 * that the process ends, and leaves its core, where it was interrupted.
 */
static void die_by_default(int signal, const siginfo_t *info)
{
    const struct kernel_sigaction by_default = {0};
    pyunw_crash_end_reports();
    block(signal_bit(signal));
    long no_default = raw_syscall4(SYS_rt_sigaction, signal, (long)&by_default, 0, sizeof by_default.mask);
    long pid = raw_syscall0(SYS_getpid);
    long thread = raw_syscall0(SYS_gettid);
    if (no_default < 0) /* a sandbox forbids it: the fault would come to this handler for ever */
        (void)raw_syscall3(SYS_tgkill, pid, thread, SIGKILL);
    if (raw_syscall4(SYS_rt_tgsigqueueinfo, pid, thread, signal, (long)info) < 0)
        (void)raw_syscall3(SYS_tgkill, pid, thread, signal); /* a sandbox may forbid the one and not the other */
}

/* The kernel tells an address of what it found itself. */
static bool has_address(int signal, int code)
{
    bool is_fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGTRAP;
    return is_fault && code > 0 && code != SI_KERNEL;
}

void pyunw_crash_take_info(struct crash_fault *fault, const siginfo_t *info)
{
    int code = info->si_code;
    fault->has_code = true;
    fault->code = code;
    fault->has_address = has_address(fault->signal, code);
    fault->address = fault->has_address ? (uint64_t)(uintptr_t)info->si_addr : 0;
    fault->has_sender = code == SI_USER || code == SI_TKILL || code == SI_QUEUE;
    fault->sender = fault->has_sender ? info->si_pid : 0;
    fault->sender_user = fault->has_sender ? info->si_uid : 0;
    fault->system_call = fault->signal == SIGSYS && code > 0 ? info->si_syscall : -1;
}

static void report_fault(int signal, const siginfo_t *info, const void *context, bool is_last)
{
    struct crash_fault fault = {
        .signal = signal,
        .context = (uint64_t)(uintptr_t)context,
        .thread = (pid_t)raw_syscall0(SYS_gettid),
    };
    pyunw_crash_take_info(&fault, info);
    /* Raised by this process itself: a handler that ran before ours, perhaps. */
    bool raised = (info->si_code == SI_TKILL || info->si_code == SI_USER) && info->si_pid == raw_syscall0(SYS_getpid);
    if (raised)
        (void)pyunw_crash_recover_fault(signal, context, &fault);
    (void)pyunw_crash_report(&fault, is_last);
}

/* ---- Handlers that were there before ---- */

/*
 * A call of such a handler, while it lasts. One that leaves by siglongjmp(3) leaves its entry behind: a word in the
 * frame that has called it tells whether that is still there.
 */
struct call {
    pid_t thread;
    int signal;
    const siginfo_t *info;
    const volatile uint64_t *mark; /* in the frame of the call */
};

enum { CALLS = 64 };
static struct call calls[CALLS];

static struct call *find_call(pid_t thread)
{
    for (size_t n = 0; n < CALLS; n++) {
        struct call *call = &calls[(n + (size_t)thread) % CALLS];
        pid_t none = 0;
        if (__atomic_load_n(&call->thread, __ATOMIC_SEQ_CST) == thread ||
            __atomic_compare_exchange_n(&call->thread, &none, thread, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return call;
    }
    return NULL;
}

/* 0, or -errno. Nothing has to be there: a pointer is as good as who has handed it over. */
static long look_at(const void *address, void *copy, size_t size)
{
    long pid = raw_syscall0(SYS_getpid);
    for (size_t done = 0; done < size;) {
        const struct iovec here = {(char *)copy + done, size - done};
        const struct iovec there = {(char *)(uintptr_t)address + done, size - done};
        long read = raw_syscall6(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0);
        if (read <= 0)
            return read < 0 ? read : -EFAULT;
        done += (size_t)read;
    }
    return 0;
}

static uint64_t mark_of(const volatile uint64_t *mark)
{
    return (uint64_t)(uintptr_t)mark ^ UINT64_C(0x63616c6c65642121);
}

/*
 * Does the handler that we have called hand the signal back to us? It calls ours as the one before it, with the same
 * siginfo, or raises the signal, both further down the stack.
 */
static bool is_handed_back(const struct call *call, int signal, const siginfo_t *info, const volatile uint64_t *mark)
{
    bool raised = info->si_code <= 0 && info->si_pid == (pid_t)raw_syscall0(SYS_getpid);
    uint64_t found = 0;
    if (call == NULL || call->signal != signal || (uintptr_t)mark >= (uintptr_t)call->mark)
        return false;
    /* A thread that has ended had the same number, perhaps, and another stack. */
    long error = look_at((const void *)(uintptr_t)call->mark, &found, sizeof found);
    bool lasts = error == 0 ? found == mark_of(call->mark) : error != -EFAULT;
    return lasts && (raised || info == call->info);
}

static void call_handler(const struct kernel_sigaction *previous, int signal, siginfo_t *info, void *context)
{
    if ((previous->flags & (unsigned long)SA_RESETHAND) != 0)
        pyunw_crash_previous[signal].handler = (void *)SIG_DFL;
    if ((previous->flags & (unsigned long)SA_SIGINFO) != 0)
        ((void (*)(int, siginfo_t *, void *))previous->handler)(signal, info, context);
    else
        ((void (*)(int))previous->handler)(signal);
}

/* What it was before: another call of this thread that lasts, where the handler has faulted itself; else none. */
static void restore_call(struct call *call, const struct call *outer)
{
    if (call == NULL)
        return;
    *(volatile uint64_t *)(uintptr_t)call->mark = 0;
    call->signal = outer->signal;
    call->info = outer->info;
    call->mark = outer->mark;
    if (outer->signal == 0)
        __atomic_store_n(&call->thread, 0, __ATOMIC_SEQ_CST);
}

static struct call remember_call(struct call *call, int signal, const siginfo_t *info, volatile uint64_t *mark)
{
    struct call outer = {0};
    *mark = mark_of(mark);
    if (call == NULL)
        return outer;
    outer = *call;
    call->signal = signal;
    call->info = info;
    call->mark = mark;
    return outer;
}

/* Has it given up? Then what it has raised is pending, or the default action is set and will be met by the fault. */
static bool has_given_up(int signal, const siginfo_t *info)
{
    uint64_t pending = 0;
    const struct kernel_sigaction action = current_action(signal);
    (void)raw_syscall3(SYS_rt_sigpending, (long)&pending, sizeof pending, 0);
    return is_default(&action) && ((pending & signal_bit(signal)) != 0 || info->si_code > 0);
}

/* ---- The handler ---- */

/* What a handler changes that goes on elsewhere. The vector registers are left out: they are large on some machines. */
#if defined(__x86_64__)
typedef gregset_t registers;
#else
typedef struct {
    uint64_t general[31];
    uint64_t stack;
    uint64_t counter;
} registers;
#endif

static void copy_registers(const ucontext_t *context, registers *copy)
{
#if defined(__x86_64__)
    memcpy(copy, &context->uc_mcontext.gregs, sizeof *copy);
#else
    memcpy(copy->general, context->uc_mcontext.regs, sizeof copy->general);
    copy->stack = context->uc_mcontext.sp;
    copy->counter = context->uc_mcontext.pc;
#endif
}

/* What the kernel would have blocked for it: one with SA_NODEFER may leave by longjmp(3), and not touch the mask. */
static uint64_t mask_for(const struct kernel_sigaction *previous, int signal)
{
    bool defers = (previous->flags & (unsigned long)SA_NODEFER) == 0;
    return previous->mask | (defers ? signal_bit(signal) : 0);
}

/* True where the process goes on, or its end is none of ours. */
static bool is_settled(const struct kernel_sigaction *previous, int signal, siginfo_t *info, void *context)
{
    registers before = {0};
    registers after = {0};
    if (context != NULL)
        copy_registers(context, &before);
    /* One that leaves by longjmp(3) takes the mask along: it is to be the one that the kernel would have made. */
    uint64_t blocked = mask_for(previous, signal);
    uint64_t found = set_mask(mask_of(context) | blocked);
    call_handler(previous, signal, info, context);
    (void)set_mask(found | blocked | signal_bit(signal)); /* what it has blocked and raised is to stay pending */
    if (context != NULL)
        copy_registers(context, &after);
    return (context != NULL && memcmp(&before, &after, sizeof before) != 0) || !has_given_up(signal, info);
}

static void call_afterwards(const struct kernel_sigaction *previous, int signal, siginfo_t *info, void *context)
{
    (void)set_mask(mask_of(context) | mask_for(previous, signal));
    call_handler(previous, signal, info, context);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    const struct kernel_sigaction previous = pyunw_crash_previous[signal];
    bool report_first = (pyunw_crash_settings.report_first & signal_bit(signal)) != 0;
    volatile uint64_t mark = 0;
    if (!has_handler(&previous)) {
        /* A signal that was sent may be ignored, a fault may not (signal(7)). */
        if (!is_default(&previous) && info->si_code <= 0)
            return;
        report_fault(signal, info, context, true);
        die_by_default(signal, info);
        return;
    }
    struct call *call = find_call((pid_t)raw_syscall0(SYS_gettid));
    if (is_handed_back(call, signal, info, &mark)) {
        if (!report_first)
            report_fault(signal, info, context, true);
        die_by_default(signal, info);
        return;
    }
    const struct call outer = remember_call(call, signal, info, &mark);
    if (report_first) {
        report_fault(signal, info, context, (pyunw_crash_settings.dies_afterwards & signal_bit(signal)) != 0);
        call_afterwards(&previous, signal, info, context);
    } else if (!is_settled(&previous, signal, info, context)) {
        report_fault(signal, info, context, true);
    }
    restore_call(call, &outer);
}

/* Until the report is done: the mask that the thread goes on with holds it back. */
static void put_off(int signal, const siginfo_t *info, ucontext_t *context)
{
    uint64_t mask = mask_of(context) | signal_bit(signal);
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    block(signal_bit(signal));
    long pid = raw_syscall0(SYS_getpid);
    long thread = raw_syscall0(SYS_gettid);
    (void)raw_syscall4(SYS_rt_tgsigqueueinfo, pid, thread, signal, (long)info);
}

/*
 * A handler in front of ours may call it with the number alone, as one calls what signal(2) has returned: the other two
 * arguments are whatever the registers held.
 */
static bool is_info(const siginfo_t *info, int signal)
{
    siginfo_t copy = {0};
    long error = look_at(info, &copy, sizeof copy);
    return error == 0 ? copy.si_signo == signal : error != -EFAULT; /* a sandbox may forbid to look */
}

static void handle_number(int signal)
{
    siginfo_t info = {.si_signo = signal, .si_code = SI_TKILL}; /* as raise(3) has it */
    info.si_pid = (pid_t)raw_syscall0(SYS_getpid);
    info.si_uid = (uid_t)raw_syscall0(SYS_getuid);
    handle(signal, &info, NULL);
}

void pyunw_crash_handler(int signal, siginfo_t *info, void *context)
{
    if (!is_info(info, signal)) {
        handle_number(signal);
        return;
    }
    bool is_own = pyunw_crash_is_reporting((pid_t)raw_syscall0(SYS_gettid));
    if (is_own && info->si_code <= 0)
        put_off(signal, info, context); /* sent by a process: it is no fault of ours */
    else if (is_own)
        pyunw_crash_leave_stage(context);
    else
        handle(signal, info, context);
}

void pyunw_crash_report_handler(int signal, siginfo_t *info, void *context)
{
    const struct kernel_sigaction previous = pyunw_crash_previous[signal];
    const struct crash_fault wish = {
        .context = (uint64_t)(uintptr_t)context,
        .thread = (pid_t)raw_syscall0(SYS_gettid),
        .system_call = -1,
    };
    (void)pyunw_crash_report(&wish, false);
    if (has_handler(&previous))
        call_afterwards(&previous, signal, info, context);
}
