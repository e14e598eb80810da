/*
 * For test_trapped.py, loaded into an interpreter: faults on purpose, with handlers that capture and recover, and
 * threads that fault at the same time.
 */
#include <pthread.h>
#include <pyunwind.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { MANY_FRAMES = 32, PAGE = 4096 };

/* ---- A fault of the program's own ---- */

static void *nowhere;

extern const char own_load[], after_own_load[];

__attribute__((noinline)) static void load_nowhere(void)
{
    uint64_t value;
#if defined(__x86_64__)
    __asm__ volatile(".globl own_load, after_own_load\n"
                     "own_load: movq (%1), %0\n"
                     "after_own_load:\n"
                     : "=r"(value)
                     : "r"(nowhere)
                     : "memory");
#else
    __asm__ volatile(".globl own_load, after_own_load\n"
                     "own_load: ldr %0, [%1]\n"
                     "after_own_load:\n"
                     : "=r"(value)
                     : "r"(nowhere)
                     : "memory");
#endif
}

static uintptr_t *pc_of(void *context)
{
#if defined(__x86_64__)
    return (uintptr_t *)&((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#else
    return (uintptr_t *)&((ucontext_t *)context)->uc_mcontext.pc;
#endif
}

/* A page that cannot be touched, its address for Python. */
uint64_t make_nowhere(void)
{
    if (nowhere == NULL)
        nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return nowhere == MAP_FAILED ? 0 : (uint64_t)(uintptr_t)nowhere;
}

/* ---- A handler that captures ---- */

static const pyunw_target *handler_target;
static bool handler_jumps;
static sigjmp_buf back;

/* What it found, read by Python afterwards. */
struct found {
    int32_t calls;
    int32_t count;
    pyunw_status status;
    int32_t bad_code; /* what was answered to an address that cannot be read; 1: direct targets were not asked */
    int32_t bad_thread;
    int32_t on_alternate_stack;
    int32_t reserved;
    pyunw_frame frames[MANY_FRAMES];
};

struct found found;

static void capture_and_recover(int signal, siginfo_t *info, void *context)
{
    pyunw_code_identity identity;
    pyunw_target_info target;
    stack_t stack;
    (void)signal;
    if (info->si_code <= 0 || *pc_of(context) != (uintptr_t)own_load)
        _exit(96);
    found.calls++;
    pyunw_target_describe(handler_target, &target);
    found.bad_code = 1;
    if (target.memory != PYUNW_MEMORY_DIRECT)
        found.bad_code = pyunw_identify_code(handler_target, (pyunw_addr)(uintptr_t)nowhere, &identity);
    found.bad_thread = pyunw_capture(handler_target, (pyunw_addr)(uintptr_t)nowhere, NULL, 0, NULL);
    found.count = pyunw_capture_current(handler_target, found.frames, MANY_FRAMES, &found.status);
    found.on_alternate_stack = sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_ONSTACK) != 0;
    if (handler_jumps)
        siglongjmp(back, 1);
    *pc_of(context) = (uintptr_t)after_own_load;
}

static struct sigaction before;

/* Let this program handle its SIGSEGV itself; alternate_size: bytes of an alternate stack, 0: none. 0, or -1. */
int handle_faults(const pyunw_target *target, int flags, bool jumps, size_t alternate_size)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | flags};
    action.sa_sigaction = capture_and_recover;
    handler_target = target;
    handler_jumps = jumps;
    stack_t stack = {.ss_flags = SS_DISABLE};
    if (alternate_size > 0) {
        stack = (stack_t){.ss_sp = malloc(alternate_size), .ss_size = alternate_size};
        action.sa_flags |= SA_ONSTACK;
    }
    if ((alternate_size > 0 && stack.ss_sp == NULL) || sigaltstack(&stack, NULL) != 0)
        return -1;
    return sigaction(SIGSEGV, &action, &before);
}

/* Give back what handle_faults() found. */
int stop_handling_faults(void)
{
    return sigaction(SIGSEGV, &before, NULL);
}

void fault(void)
{
    if (!handler_jumps || sigsetjmp(back, 1) == 0)
        load_nowhere();
}

/* ---- Masks ---- */

/* Block or unblock a signal in the calling thread. */
int block(int signal, bool blocked)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* ---- Many threads at once ---- */

/* Reads of the target that fault: how many of so many were answered with PYUNW_ERR_FAULT. */
int read_badly(const pyunw_target *target, int times)
{
    pyunw_code_identity identity;
    int good = 0;
    for (int n = 0; n < times; n++)
        good += pyunw_identify_code(target, (pyunw_addr)(uintptr_t)nowhere, &identity) == PYUNW_ERR_FAULT;
    return good;
}

/* Faults of the program's own meanwhile, that its handler recovers from; how many were. */
int fault_often(int times)
{
    for (int n = 0; n < times; n++)
        load_nowhere();
    return times;
}

/* A handler as virtual machines have it: it knows its own loads, and takes everything else for a crash. */
static void skip_own_load(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    if (*pc_of(context) != (uintptr_t)own_load || info->si_addr != nowhere)
        _exit(95);
    *pc_of(context) = (uintptr_t)after_own_load;
}

int handle_like_a_virtual_machine(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    action.sa_sigaction = skip_own_load;
    return sigaction(SIGSEGV, &action, &before);
}
