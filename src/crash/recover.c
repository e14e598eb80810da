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

enum { SEARCHED = 1 << 16, PIECE = 4096 };

static bool read_stack(uint64_t address, void *buffer, size_t size)
{
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    long pid = raw_syscall0(SYS_getpid);
    return raw_syscall6(SYS_process_vm_readv, pid, (long)&to, 1, (long)&from, 1, 0) == (long)size;
}

/* The kernel's ucontext_t has a signal mask of 8 bytes, behind which siginfo follows. */
enum { CONTEXT_SIZE = offsetof(ucontext_t, uc_sigmask) + 8 };

static bool take_frame(uint64_t at, int signal, struct crash_fault *fault)
{
    siginfo_t info = {0};
    uint64_t context = at + sizeof(uint64_t);
    if (!read_stack(context + CONTEXT_SIZE, &info, sizeof info))
        return false;
    if (info.si_signo != signal || info.si_code <= 0)
        return false;
    fault->info = info;
    fault->context = context;
    fault->has_info = true;
    fault->recovered = true;
    return true;
}

bool pyunw_crash_recover_fault(int signal, const void *context, struct crash_fault *fault)
{
    static uint64_t piece[PIECE / sizeof(uint64_t)];
    const ucontext_t *own = context;
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
