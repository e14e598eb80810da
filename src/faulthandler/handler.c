/*
 * The handlers: of the signals of which a process dies, and of those that ask for a dump.
 * Signal-safe: yes.
 */
#include "faulthandler.h"
#include "output.h"

#include <time.h>

struct faulthandler pyunw_faulthandler;
struct user_signal pyunw_faulthandler_user[SIGNAL_COUNT + 1];
struct fatal_signal pyunw_faulthandler_fatal[FATAL_COUNT] = {
    {.number = SIGBUS, .name = "Bus error"},
    {.number = SIGILL, .name = "Illegal instruction"},
    {.number = SIGFPE, .name = "Floating point exception"},
    {.number = SIGABRT, .name = "Aborted"},
    {.number = SIGSEGV, .name = "Segmentation fault"},
};

/* The thread that writes; 0: none. */
struct writer {
    pid_t thread;
};

static struct writer death_writer; /* of why the process dies */
static struct writer dump_writer;  /* of what was asked for */

/* ---- One at a time ---- */

static void pause_a_millisecond(void)
{
    const struct timespec time = {.tv_nsec = 1000000};
    (void)raw_syscall4(SYS_nanosleep, (long)&time, 0, 0, 0);
}

/*
 * Become the one that writes. False where this thread is it already: then writing itself has been interrupted, or has
 * failed; and where another does not come to an end.
 */
static bool begin_to_write(struct writer *writer)
{
    const int milliseconds_at_most = 10000;
    pid_t own = (pid_t)raw_syscall0(SYS_gettid);
    for (int n = 0; n < milliseconds_at_most; n++) {
        pid_t none = 0;
        if (__atomic_compare_exchange_n(&writer->thread, &none, own, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
        if (none == own)
            return false;
        pause_a_millisecond();
    }
    return false;
}

static void end_to_write(struct writer *writer)
{
    __atomic_store_n(&writer->thread, 0, __ATOMIC_SEQ_CST);
}

/* ---- Giving signals on ---- */

static void set_action(int signal, const struct kernel_sigaction *action)
{
    (void)raw_syscall4(SYS_rt_sigaction, signal, (long)action, 0, sizeof action->mask);
}

static void block(uint64_t mask)
{
    (void)raw_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, 0, sizeof mask);
}

/*
 * To the handler that was there before, or the default action: with the siginfo that it would have had, and where the
 * thread was interrupted, since the signal stays blocked until our handler returns.
 */
static void give_on(int signal, const struct kernel_sigaction *previous, const siginfo_t *info)
{
    set_action(signal, previous);
    block(signal_bit(signal));
    long pid = raw_syscall0(SYS_getpid);
    long thread = raw_syscall0(SYS_gettid);
    (void)raw_syscall4(SYS_rt_tgsigqueueinfo, pid, thread, signal, (long)info);
}

static bool has_handler(const struct kernel_sigaction *action)
{
    return action->handler != (void *)SIG_DFL && action->handler != (void *)SIG_IGN;
}

static void call(const struct kernel_sigaction *handler, int signal, siginfo_t *info, void *context)
{
    block(handler->mask);
    if ((handler->flags & (unsigned long)SA_SIGINFO) != 0)
        ((void (*)(int, siginfo_t *, void *))handler->handler)(signal, info, context);
    else
        ((void (*)(int))handler->handler)(signal);
}

/* ---- The end of the process ---- */

static const char *name_of(const struct fatal_signal *fatal)
{
    const uint32_t with_hyphen = 0x030d0000; /* 3.13, Modules/faulthandler.c */
    if (fatal->number == SIGFPE && pyunw_faulthandler.version >= with_hyphen)
        return "Floating-point exception";
    return fatal->name;
}

/* As long as there is an interpreter: CPython's own module is disabled where it ends. */
static bool has_interpreter(void)
{
    int finalizing = pyunw_is_finalizing(&pyunw_faulthandler.target);
    return finalizing != PYUNW_ERR_FINALIZED && finalizing != PYUNW_ERR_NOT_INITIALIZED;
}

static void write_why(const struct fatal_signal *fatal, const void *context)
{
    const uint32_t with_modules = 0x030a0000; /* 3.10, Python/pylifecycle.c, _Py_DumpExtensionModules() */
    const struct faulthandler *state = &pyunw_faulthandler;
    struct output output;
    pyunw_output_begin(&output, state->fatal.fd);
    pyunw_output_string(&output, "Fatal Python error: ");
    pyunw_output_string(&output, name_of(fatal));
    pyunw_output_string(&output, "\n\n");
    (void)pyunw_output_flush(&output);
    (void)pyunw_faulthandler_write(&state->fatal, pyunw_faulthandler_current());
    if (state->write_c_stack != NULL)
        pyunw_faulthandler_write_c_stack_of(state->fatal.fd, context);
    if (state->version >= with_modules)
        pyunw_faulthandler_write_modules(state->fatal.fd);
}

void pyunw_faulthandler_on_fatal(int signal, siginfo_t *info, void *context)
{
    struct fatal_signal *fatal = pyunw_faulthandler_fatal;
    while (fatal->number != signal && fatal < &pyunw_faulthandler_fatal[FATAL_COUNT - 1])
        fatal++;
    if (begin_to_write(&death_writer)) {
        bool is_written = signal == SIGABRT && pyunw_faulthandler_in_fatal_error(context);
        /* Another thread may have died of it meanwhile. */
        if (fatal->taken && !is_written && has_interpreter())
            write_why(fatal, context);
        fatal->taken = false;
        give_on(signal, &fatal->previous, info);
        end_to_write(&death_writer);
        return;
    }
    fatal->taken = false;
    give_on(signal, &fatal->previous, info);
}

/* ---- A dump that is asked for ---- */

void pyunw_faulthandler_on_user(int signal, siginfo_t *info, void *context)
{
    const struct user_signal *user = &pyunw_faulthandler_user[signal];
    if (!user->taken)
        return;
    if (begin_to_write(&dump_writer)) {
        (void)pyunw_faulthandler_write(&user->dump, pyunw_faulthandler_current());
        end_to_write(&dump_writer);
    }
    if (!user->chain)
        return;
    if (has_handler(&user->previous)) {
        call(&user->previous, signal, info, context);
    } else if (user->previous.handler == (void *)SIG_DFL) {
        /* The default action, which the process may survive. */
        long pid = raw_syscall0(SYS_getpid);
        long thread = raw_syscall0(SYS_gettid);
        set_action(signal, &user->previous);
        (void)raw_syscall4(SYS_rt_tgsigqueueinfo, pid, thread, signal, (long)info);
        set_action(signal, &user->ours);
    }
}
