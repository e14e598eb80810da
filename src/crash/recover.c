/*
 * Find the fault behind a signal that a handler raised again: faulthandler's does, and so do many that print something
 * and then let the process die. The kernel's frame of the first signal, with its siginfo and registers, still lies on
 * the stack, above the handler that was interrupted.
 * Signal-safe: yes.
 */
#include "crash.h"

#include <string.h>
#include <sys/uio.h>
#include <ucontext.h>

/*
 * The kernel's frame, on x86-64 (arch/x86/include/asm/sigframe.h): the address that the handler returns to, in the C
 * library, then the ucontext_t, then the siginfo_t.
 */
#if defined(__x86_64__)

/* A piece lies on the alternate stack, which may be another library's, and small. */
enum { SEARCHED = 1 << 16, PIECE = 512 };

static bool read_stack(uint64_t address, void *buffer, size_t size)
{
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    long pid = raw_syscall0(SYS_getpid);
    return raw_syscall6(SYS_process_vm_readv, pid, (long)&to, 1, (long)&from, 1, 0) == (long)size;
}

/* The kernel's ucontext_t has a signal mask of 8 bytes, behind which siginfo follows. */
enum { CONTEXT_SIZE = offsetof(ucontext_t, uc_sigmask) + 8 };

/*
 * For a handler without SA_SIGINFO the kernel writes no siginfo, but the processor's exception is among the registers:
 * Intel's manual, volume 3, 6.15; arch/x86/kernel/traps.c.
 */
enum exception {
    DIVIDE = 0,
    DEBUG = 1,
    BREAKPOINT = 3,
    INVALID = 6,
    PROTECTION = 13,
    PAGE = 14,
    FLOATING = 16,
    ALIGNMENT = 17,
    SIMD = 19
};

static bool may_cause(uint64_t exception, int signal)
{
    switch (signal) {
    case SIGSEGV:
        return exception == PAGE || exception == PROTECTION;
    case SIGBUS:
        return exception == PAGE || exception == ALIGNMENT;
    case SIGFPE:
        return exception == DIVIDE || exception == FLOATING || exception == SIMD;
    case SIGILL:
        return exception == INVALID;
    case SIGTRAP:
        return exception == DEBUG || exception == BREAKPOINT;
    default:
        return false;
    }
}

static bool take_registers(uint64_t context, int signal, struct crash_fault *fault)
{
    const uint64_t user_code = 0x33; /* the segment, __USER_CS */
    greg_t registers[NGREG] = {0};
    if (!read_stack(context + offsetof(ucontext_t, uc_mcontext.gregs), registers, sizeof registers))
        return false;
    uint64_t exception = (uint64_t)registers[REG_TRAPNO];
    if (((uint64_t)registers[REG_CSGSFS] & 0xffff) != user_code || !may_cause(exception, signal))
        return false;
    *fault = (struct crash_fault){
        .signal = signal, .thread = fault->thread, .context = context, .recovered = true, .system_call = -1};
    fault->has_address = exception == PAGE;
    fault->address = exception == PAGE ? (uint64_t)registers[REG_CR2] : 0;
    return true;
}

static bool take_info(uint64_t context, int signal, struct crash_fault *fault)
{
    siginfo_t info = {0};
    if (!read_stack(context + CONTEXT_SIZE, &info, sizeof info) || info.si_signo != signal || info.si_code <= 0)
        return false;
    pyunw_crash_take_info(fault, &info);
    fault->context = context;
    fault->recovered = true;
    return true;
}

static bool take_frame(uint64_t at, int signal, struct crash_fault *fault)
{
    uint64_t context = at + sizeof(uint64_t);
    return take_info(context, signal, fault) || take_registers(context, signal, fault);
}

bool pyunw_crash_recover_fault(int signal, const void *context, struct crash_fault *fault)
{
    uint64_t piece[PIECE / sizeof(uint64_t)] = {0};
    const ucontext_t *own = context;
    if (context == NULL)
        return false;
    /* Signal frames of one process return to one place. */
    uint64_t return_address = *((const uint64_t *)context - 1);
    uint64_t begin = (uint64_t)own->uc_mcontext.gregs[REG_RSP] & ~(uint64_t)7;
    for (uint64_t at = begin; at < begin + SEARCHED; at += sizeof piece) {
        /* The last page of a stack may be reached in less than a piece. */
        size_t size = sizeof piece;
        if (!read_stack(at, piece, size)) {
            size = (size_t)(((at + PIECE) & ~(uint64_t)(PIECE - 1)) - at);
            if (!read_stack(at, piece, size))
                return false;
        }
        for (size_t n = 0; n < size / sizeof piece[0]; n++) {
            if (piece[n] == return_address && take_frame(at + n * sizeof piece[0], signal, fault))
                return true;
        }
        if (size < sizeof piece)
            return false;
    }
    return false;
}

#else

bool pyunw_crash_recover_fault(int signal, const void *context, struct crash_fault *fault)
{
    /* On aarch64 nothing marks a signal frame but what lies in it. */
    (void)signal, (void)context, (void)fault;
    return false;
}

#endif
