/*
 * A window in which no code of others can run: while a watched call is made, the text of every program and library
 * but libpyunwind's and this one's cannot be executed. Whatever is called there (malloc, a lock, the interpreter, the
 * dynamic linker) faults at its first instruction and is told by name.
 *
 * To be preloaded: memcpy, memset and memcmp, which libpyunwind may call, are given here. Inside the window this file
 * makes raw system calls only.
 */
#include "pyunwind.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "syscalls.h"

/* ---- What libpyunwind may call ---- */

/* Each byte by a volatile access, or the compiler would make these loops into calls of themselves. */
typedef volatile uint8_t byte;

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    for (size_t n = 0; n < size; n++)
        ((byte *)to)[n] = ((const byte *)from)[n];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    for (size_t n = 0; n < size; n++)
        ((byte *)to)[n] = (uint8_t)value;
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    for (size_t n = 0; n < size; n++) {
        int difference = ((const byte *)left)[n] - ((const byte *)right)[n];
        if (difference != 0)
            return difference;
    }
    return 0;
}

/* ---- The window ---- */

struct range {
    uintptr_t begin;
    uintptr_t end;
    int protection;
};

enum { RANGES = 1024, PAGE = 4096, FOUND_OUT = 99 };

static struct range ranges[RANGES];
static int range_count;
static volatile int window_open;

/* As rt_sigaction(2) has it. */
struct kernel_action {
    uintptr_t handler;
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
};

/* Where the fault handler of trapped loads returns to: the C library's, kept executable for the kernel's sake. */
static uintptr_t restorer_page(void)
{
    struct kernel_action action = {0};
    raw_syscall4(SYS_rt_sigaction, SIGSEGV, 0, (long)&action, sizeof action.mask);
    return action.restorer & ~(uintptr_t)(PAGE - 1);
}

/* Note a mapping that is to be closed. The page of the restorer is left out. */
int foreign_text(uintptr_t begin, uintptr_t end, int protection)
{
    uintptr_t kept = restorer_page();
    if (range_count + 2 > RANGES)
        return -1;
    if (kept >= begin && kept < end) {
        if (kept > begin)
            ranges[range_count++] = (struct range){begin, kept, protection};
        begin = kept + PAGE;
    }
    if (begin < end)
        ranges[range_count++] = (struct range){begin, end, protection};
    return range_count;
}

static long protect_all(int without)
{
    long failed = 0;
    for (int n = 0; n < range_count; n++) {
        const struct range *range = &ranges[n];
        failed |= raw_syscall3(SYS_mprotect, (long)range->begin, (long)(range->end - range->begin),
                               range->protection & ~without);
    }
    return failed;
}

/* Call function in the window; *result: what it returned. Not 0 where the window could not be made. */
int call_in_window(void *function, const uint64_t *arguments, long *result)
{
    long (*call)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) =
        (long (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))(uintptr_t)function;
    if (range_count == 0)
        return -1;
    window_open = 1;
    long failed = protect_all(PROT_EXEC);
    if (failed == 0)
        *result = call(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    failed |= protect_all(0);
    window_open = 0;
    return failed != 0;
}

/* ---- What was called in it ---- */

static uintptr_t *found_out; /* first instruction of what was called; shared with the children of offend() */

static uintptr_t pc_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
    return (uintptr_t)context->uc_mcontext.pc;
#endif
}

/* Where a function returns to, at its first instruction. */
static uintptr_t caller_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return *(const uintptr_t *)context->uc_mcontext.gregs[REG_RSP];
#else
    return (uintptr_t)context->uc_mcontext.regs[30];
#endif
}

static void say_place(const char *what, uintptr_t address)
{
    Dl_info where = {0};
    if (dladdr((void *)address, &where) == 0)
        dprintf(2, "%s %#lx\n", what, address);
    else
        dprintf(2, "%s %s+%#lx (%s)\n", what, where.dli_fname, address - (uintptr_t)where.dli_fbase,
                where.dli_sname != NULL ? where.dli_sname : "no name");
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    uintptr_t pc = pc_of(context);
    if (!window_open) { /* not ours: die of it when the instruction comes again */
        struct kernel_action by_default = {0};
        raw_syscall4(SYS_rt_sigaction, signal, (long)&by_default, 0, sizeof by_default.mask);
        return;
    }
    window_open = 0;
    protect_all(0);
    *found_out = pc;
    if ((uintptr_t)info->si_addr != pc) {
        dprintf(2, "a load or store of %p failed\n", info->si_addr);
        say_place("at", pc);
    } else {
        say_place("foreign code was called:", pc);
        say_place("from", caller_of(context));
    }
    raw_syscall3(SYS_exit_group, FOUND_OUT, 0, 0);
}

/* To be called before pyunw_trap_install(), which hands on to it what is no labelled load. */
int watch_faults(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = on_fault;
    found_out = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return found_out == MAP_FAILED || sigaction(SIGSEGV, &action, NULL) != 0;
}

/*
 * Call function in the window of a child process, where arguments are all 0. Returns the address whose execution was
 * found out, 0 where none was, 1 where the child ended otherwise.
 */
uintptr_t offend(void *function)
{
    static const uint64_t arguments[6];
    long result = 0;
    int status = 0;
    *found_out = 0;
    long child = raw_syscall6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (child == 0) {
        raw_syscall3(SYS_dup3, open("/dev/null", O_WRONLY), 2, 0);
        raw_syscall3(SYS_exit_group, call_in_window(function, arguments, &result) == 0 ? 0 : 1, 0, 0);
    }
    long waited = child < 0 ? child : raw_syscall4(SYS_wait4, child, (long)&status, 0, 0);
    if (waited == child && child > 0 && (status == FOUND_OUT << 8 || status == 0))
        return *found_out;
    dprintf(2, "the child that was to call %p: clone or wait4 gave %ld, wait status %#x, found out %#lx\n", function,
            waited, (unsigned)status, (unsigned long)*found_out);
    return 1;
}

/* A pyunw_read_function over the own process. */
int read_own_memory(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    (void)context;
    long pid = raw_syscall0(SYS_getpid);
    long got = raw_syscall6(SYS_process_vm_readv, pid, (long)&to, 1, (long)&from, 1, 0);
    return got == (long)size ? 0 : PYUNW_ERR_FAULT;
}
