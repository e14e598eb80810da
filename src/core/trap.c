/*
 * The fault handler behind trapped loads: resumes a labelled load at its fixup, and hands every other fault on.
 * Signal-safe: yes.
 */
#include "trap.h"

#include "memory.h"
#include "syscalls.h"

#include <ucontext.h>

struct kernel_sigaction pyunw_trap_previous[TRAP_COUNT];
atomic_bool pyunw_trap_installed;

/* One label: where a load stands and where it goes on after a fault, each as an offset from the entry's own field. */
struct fixup {
    int32_t load;
    int32_t resume;
};

extern const struct fixup fixups_begin[] __asm__("__start_pyunw_fixups") __attribute__((visibility("hidden")));
extern const struct fixup fixups_end[] __asm__("__stop_pyunw_fixups") __attribute__((visibility("hidden")));

static uintptr_t at_offset(const int32_t *field)
{
    return (uintptr_t)field + (uintptr_t)(intptr_t)*field;
}

static uintptr_t find_resume(uintptr_t pc)
{
    /* The linker's own symbols: both ends of one array. */
    /* cppcheck-suppress comparePointers */
    for (const struct fixup *fixup = fixups_begin; fixup < fixups_end; fixup++) {
        if (at_offset(&fixup->load) == pc)
            return at_offset(&fixup->resume);
    }
    return 0;
}

#if defined(__x86_64__)
static uintptr_t context_pc(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
}

static void set_context_pc(ucontext_t *context, uintptr_t pc)
{
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}
#else
static uintptr_t context_pc(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.pc;
}

static void set_context_pc(ucontext_t *context, uintptr_t pc)
{
    context->uc_mcontext.pc = pc;
}
#endif

static uint64_t signal_bit(int signal)
{
    return UINT64_C(1) << (signal - 1);
}

/* The default action, with the original cause: a fault comes again when the instruction does, a sent signal is sent. */
static void die_by_default(int signal, const siginfo_t *info)
{
    struct kernel_sigaction by_default = {0};
    raw_syscall4(SYS_rt_sigaction, signal, (long)&by_default, 0, sizeof by_default.mask);
    if (info->si_code <= 0) {
        long pid = raw_syscall0(SYS_getpid);
        long tid = raw_syscall0(SYS_gettid);
        raw_syscall4(SYS_rt_tgsigqueueinfo, pid, tid, signal, (long)info);
    }
}

static void call_previous(int signal, siginfo_t *info, void *context)
{
    struct kernel_sigaction *slot = &pyunw_trap_previous[signal == SIGBUS ? TRAP_BUS : TRAP_SEGV];
    struct kernel_sigaction previous = *slot;
    if (previous.handler == (void *)SIG_DFL || previous.handler == (void *)SIG_IGN) {
        /* A sent signal may be ignored; a fault cannot (signal(7)). */
        if (previous.handler == (void *)SIG_DFL || info->si_code > 0)
            die_by_default(signal, info);
        return;
    }
    if (previous.flags & (unsigned long)SA_RESETHAND)
        slot->handler = (void *)SIG_DFL;
    /* What the kernel would have blocked for it; the mask goes back to the interrupted one when we return. */
    uint64_t mask = previous.mask;
    if ((previous.flags & (unsigned long)SA_NODEFER) == 0)
        mask |= signal_bit(signal);
    raw_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, 0, sizeof mask);
    if (previous.flags & (unsigned long)SA_SIGINFO)
        ((void (*)(int, siginfo_t *, void *))previous.handler)(signal, info, context);
    else
        ((void (*)(int))previous.handler)(signal);
}

void pyunw_trap_handler(int signal, siginfo_t *info, void *context)
{
    uintptr_t resume = find_resume(context_pc(context));
    if (resume != 0)
        set_context_pc(context, resume);
    else
        call_previous(signal, info, context);
}

bool pyunw_trap_usable(void)
{
    if (!atomic_load_explicit(&pyunw_trap_installed, memory_order_acquire))
        return false;
    uint64_t blocked = 0;
    if (raw_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&blocked, sizeof blocked) < 0)
        return false;
    for (int which = 0; which < TRAP_COUNT; which++) {
        struct kernel_sigaction current = {0};
        int signal = trap_signal(which);
        if (blocked & signal_bit(signal))
            return false;
        if (raw_syscall4(SYS_rt_sigaction, signal, 0, (long)&current, sizeof current.mask) < 0)
            return false;
        if (current.handler != (void *)(uintptr_t)&pyunw_trap_handler)
            return false;
    }
    return true;
}
