/*
 * Write Python stacks, and have the C stack written.
 * Signal-safe: yes.
 */
#include "faulthandler.h"
#include "output.h"

#include <stddef.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>

pyunw_addr pyunw_faulthandler_current(void)
{
    pyunw_addr current = 0;
    return pyunw_current_thread(&pyunw_faulthandler.target, &current) == 0 ? current : 0;
}

static int write_mark_of_more(int fd)
{
    struct output output;
    pyunw_output_begin(&output, fd);
    pyunw_output_string(&output, "...\n");
    return pyunw_output_flush(&output);
}

int pyunw_faulthandler_write(const struct dump *dump, pyunw_addr current)
{
    const struct faulthandler *state = &pyunw_faulthandler;
    /* A list that is replaced meanwhile may be seen as some of the old one and some of the new. */
    pyunw_addr hidden[PYUNW_FAULTHANDLER_HIDDEN_MAX];
    int hidden_count = atomic_load_explicit(&state->hidden_count, memory_order_acquire);
    for (int n = 0; n < hidden_count; n++)
        hidden[n] = atomic_load_explicit(&state->hidden[n], memory_order_relaxed);
    const pyunw_text_options options = {
        .size = sizeof options,
        .hidden = hidden,
        .hidden_count = hidden_count,
        .max_threads = dump->max_threads,
        .interpreter = dump->interpreter,
        .current = current,
    };
    if (dump->all_threads)
        return dump->max_threads < 0 ? write_mark_of_more(dump->fd)
                                     : pyunw_write_text_threads_with(&state->target, dump->fd, &options);
    /* CPython writes nothing of a thread that it does not know. */
    return current == 0 ? PYUNW_OK : pyunw_write_text_with(&state->target, dump->fd, current, &options);
}

/* ---- The interrupted thread ---- */

uint64_t pyunw_faulthandler_pc(const void *context)
{
    const ucontext_t *interrupted = context;
#if defined(__x86_64__)
    return (uint64_t)interrupted->uc_mcontext.gregs[REG_RIP];
#else
    return interrupted->uc_mcontext.pc;
#endif
}

uint64_t pyunw_faulthandler_sp(const void *context)
{
    const ucontext_t *interrupted = context;
#if defined(__x86_64__)
    return (uint64_t)interrupted->uc_mcontext.gregs[REG_RSP];
#else
    return interrupted->uc_mcontext.sp;
#endif
}

static bool is_return_into(const struct code_range *range, uint64_t address)
{
    return range->begin < address && address <= range->end;
}

/*
 * Py_FatalError() calls fatal_error(), and that abort() (Python/pylifecycle.c): a return address into the function that
 * the program called lies near the end of the stack. Nothing puts one there in a process that is alive.
 */
bool pyunw_faulthandler_in_fatal_error(const void *context)
{
    enum { WORDS = 64, PARTS = 16 };
    uint64_t words[WORDS] = {0};
    uint64_t at = pyunw_faulthandler_sp(context);
    for (int part = 0; part < PARTS; part++, at += sizeof words) {
        const struct iovec here = {.iov_base = words, .iov_len = sizeof words};
        const struct iovec there = {.iov_base = (void *)(uintptr_t)at, .iov_len = sizeof words};
        long pid = raw_syscall0(SYS_getpid);
        if (raw_syscall6(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0) != (long)sizeof words)
            return false;
        for (int n = 0; n < WORDS; n++) {
            for (int function = 0; function < FATAL_FUNCTIONS; function++) {
                if (is_return_into(&pyunw_faulthandler.fatal_error[function], words[n]))
                    return true;
            }
        }
    }
    return false;
}

/* ---- The C stack ---- */

/* What goes wrong in the copy is to end it, without a handler of the program's and without a core file. */
static void be_mortal(void)
{
    const struct kernel_sigaction by_default = {0};
    const struct rlimit none = {0};
    const uint64_t no_signal = 0;
    for (int n = 0; n < FATAL_COUNT; n++)
        (void)raw_syscall4(SYS_rt_sigaction, pyunw_faulthandler_fatal[n].number, (long)&by_default, 0,
                           sizeof by_default.mask);
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&no_signal, 0, sizeof no_signal);
    (void)raw_syscall4(SYS_prlimit64, 0, RLIMIT_CORE, (long)&none, 0);
}

static bool await(long child, int milliseconds)
{
    const int no_hang = 1;                              /* WNOHANG */
    const int any_kind = 0x40000000;                    /* __WALL */
    const struct timespec pause = {.tv_nsec = 1000000}; /* a millisecond */
    for (int n = 0; n < milliseconds; n++) {
        if (raw_syscall4(SYS_wait4, child, 0, no_hang | any_kind, 0) != 0)
            return true;
        (void)raw_syscall4(SYS_nanosleep, (long)&pause, 0, 0, 0);
    }
    return false;
}

/*
 * The unwinder of the C library takes locks and trusts the stack. So a copy of the process runs it, which may hang or
 * crash. It has no exit signal: who waits for any child sees none.
 */
void pyunw_faulthandler_write_c_stack_of(int fd, const void *context)
{
    const int at_most = 2000;         /* milliseconds */
    const long untraced = 0x00800000; /* CLONE_UNTRACED */
    struct output output;
    pyunw_output_begin(&output, fd);
    pyunw_output_string(&output, "\nCurrent thread's C stack trace (most recent call first):\n");
    (void)pyunw_output_flush(&output);
    long child = raw_syscall6(SYS_clone, untraced, 0, 0, 0, 0, 0);
    if (child == 0) {
        be_mortal();
        pyunw_faulthandler.write_c_stack(fd, pyunw_faulthandler_pc(context));
        (void)raw_syscall3(SYS_exit_group, 0, 0, 0);
    }
    if (child < 0) {
        pyunw_output_string(&output, "  <system returned no stack trace>\n");
        (void)pyunw_output_flush(&output);
        return;
    }
    if (!await(child, at_most)) {
        (void)raw_syscall3(SYS_kill, child, SIGKILL, 0);
        (void)await(child, at_most);
    }
}
