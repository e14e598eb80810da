/*
 * What a program sees of its own faults and signals, printed, so that two runs can be compared: without pyunwind and
 * with its fault handler in front of the program's (or in front and taken away again).
 *
 * Arguments: the case, and "without", "with" or "removed". The last case tells what it compared by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pyunwind.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096 };

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(99);
}

static void must(bool good, const char *what)
{
    if (!good) {
        say("%s: %s\n", what, strerror(errno));
        _exit(98);
    }
}

/* ---- pyunwind, as the mode asks for it ---- */

static enum { WITHOUT, WITH, REMOVED } mode;

static void take_over(void)
{
    if (mode == WITHOUT)
        return;
    must(pyunw_trap_install() == 0 && pyunw_trap_install() == 0, "pyunw_trap_install");
    if (mode == REMOVED)
        must(pyunw_trap_remove() == 0 && pyunw_trap_remove() == 0, "pyunw_trap_remove");
}

/* ---- Faults ---- */

static char *nowhere; /* a page that cannot be touched */

/* The one load that faults, with places for its address and for where a handler goes on. */
__attribute__((noinline)) static uint64_t load(const void *from)
{
    uint64_t value;
#if defined(__x86_64__)
    __asm__ volatile(".globl faulting_load, after_load\n"
                     "faulting_load: movq (%1), %0\n"
                     "after_load:\n"
                     : "=r"(value)
                     : "r"(from)
                     : "memory");
#else
    __asm__ volatile(".globl faulting_load, after_load\n"
                     "faulting_load: ldr %0, [%1]\n"
                     "after_load:\n"
                     : "=r"(value)
                     : "r"(from)
                     : "memory");
#endif
    return value;
}

extern const char faulting_load[], after_load[];

static uintptr_t *pc_of(void *context)
{
#if defined(__x86_64__)
    return (uintptr_t *)&((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#else
    return (uintptr_t *)&((ucontext_t *)context)->uc_mcontext.pc;
#endif
}

/* ---- What a handler says ---- */

static uint64_t current_mask(void)
{
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    return mask;
}

static bool on_alternate_stack(void)
{
    stack_t stack;
    return sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_ONSTACK) != 0;
}

static __thread sigjmp_buf back;
static volatile sig_atomic_t calls;

static void say_plain(int signal)
{
    say("handler: signal %d, mask %016llx%s\n", signal, (unsigned long long)current_mask(),
        on_alternate_stack() ? ", on the alternate stack" : "");
    calls = calls + 1;
}

static void say_info(int signal, const siginfo_t *info, void *context)
{
    uint64_t interrupted = 0;
    memcpy(&interrupted, &((ucontext_t *)context)->uc_sigmask, sizeof interrupted);
    say_plain(signal);
    say("  code %d, interrupted mask %016llx", info->si_code, (unsigned long long)interrupted);
    if (info->si_code > 0)
        say(", address %s%ld, pc %s", (char *)info->si_addr >= nowhere ? "nowhere+" : "",
            (char *)info->si_addr >= nowhere ? (long)((char *)info->si_addr - nowhere) : (long)info->si_addr,
            *pc_of(context) == (uintptr_t)faulting_load ? "at the load" : "elsewhere");
    else
        say(", value %d, from %s", info->si_value.sival_int,
            info->si_pid == getpid() ? "this process" : "another process");
    say("\n");
}

static void plain_jump(int signal)
{
    say_plain(signal);
    siglongjmp(back, 1);
}

static void plain_return(int signal)
{
    say_plain(signal);
}

static void info_jump(int signal, siginfo_t *info, void *context)
{
    say_info(signal, info, context);
    siglongjmp(back, 1);
}

static void info_return(int signal, siginfo_t *info, void *context)
{
    say_info(signal, info, context);
}

static void info_skip(int signal, siginfo_t *info, void *context)
{
    say_info(signal, info, context);
    *pc_of(context) = (uintptr_t)after_load;
}

/* ---- Setting handlers ---- */

static void set_plain(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_flags = flags};
    action.sa_handler = handler;
    must(sigaction(signal, &action, NULL) == 0, "sigaction");
}

static void set_info(int signal, void (*handler)(int, siginfo_t *, void *), int flags, int blocked)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | flags};
    action.sa_sigaction = handler;
    if (blocked != 0) {
        sigaddset(&action.sa_mask, blocked);
        sigaddset(&action.sa_mask, SIGUSR2);
    }
    must(sigaction(signal, &action, NULL) == 0, "sigaction");
}

static void set_alternate_stack(void)
{
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    must(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0, "sigaltstack");
}

static void fault_and_jump_back(int times)
{
    for (int n = 0; n < times; n++) {
        if (sigsetjmp(back, 1) == 0)
            load(nowhere + 8 * n);
        say("recovered, mask %016llx\n", (unsigned long long)current_mask());
    }
}

/* ---- Cases: faults ---- */

static void case_plain(void)
{
    set_plain(SIGSEGV, plain_jump, 0);
    take_over();
    fault_and_jump_back(3);
}

static void case_info(void)
{
    set_info(SIGSEGV, info_jump, 0, 0);
    take_over();
    fault_and_jump_back(3);
}

static void case_skip(void)
{
    set_info(SIGSEGV, info_skip, SA_RESTART, SIGTERM);
    take_over();
    for (int n = 0; n < 3; n++) {
        load(nowhere + n);
        say("skipped, mask %016llx\n", (unsigned long long)current_mask());
    }
}

static void case_blocked_beside(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
    set_info(SIGSEGV, info_jump, 0, SIGTERM);
    take_over();
    fault_and_jump_back(2);
}

static void case_nodefer(void)
{
    set_info(SIGSEGV, info_jump, SA_NODEFER, SIGTERM);
    take_over();
    fault_and_jump_back(2);
}

static void nested(int signal, siginfo_t *info, void *context)
{
    say_info(signal, info, context);
    if (calls < 4)
        load(nowhere + 8 * calls);
    *pc_of(context) = (uintptr_t)after_load;
}

static void case_nested_nodefer(void)
{
    set_info(SIGSEGV, nested, SA_NODEFER, 0);
    take_over();
    load(nowhere);
    say("after: %d calls, mask %016llx\n", (int)calls, (unsigned long long)current_mask());
}

static void case_nested_deferred(void)
{
    set_info(SIGSEGV, nested, 0, 0);
    take_over();
    load(nowhere);
    say("not reached\n");
}

static void case_resethand(void)
{
    set_info(SIGSEGV, info_jump, (int)SA_RESETHAND, SIGTERM);
    take_over();
    fault_and_jump_back(2);
    say("not reached\n");
}

static void case_resethand_plain(void)
{
    set_plain(SIGSEGV, plain_jump, (int)(SA_RESETHAND | SA_NODEFER));
    take_over();
    fault_and_jump_back(2);
    say("not reached\n");
}

static void case_default(void)
{
    take_over();
    load(nowhere);
    say("not reached\n");
}

static void case_ignored(void)
{
    set_plain(SIGSEGV, SIG_IGN, 0);
    take_over();
    load(nowhere);
    say("not reached\n");
}

static void case_blocked(void)
{
    sigset_t set;
    set_plain(SIGSEGV, plain_jump, 0);
    take_over();
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
    load(nowhere);
    say("not reached\n");
}

static char *map_beyond_file(void)
{
    FILE *file = tmpfile();
    must(file != NULL, "tmpfile");
    char *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fileno(file), 0);
    must(bytes != MAP_FAILED, "mmap");
    return bytes;
}

static void case_bus(void)
{
    nowhere = map_beyond_file();
    set_info(SIGBUS, info_jump, 0, SIGTERM);
    take_over();
    fault_and_jump_back(2);
}

static void case_bus_default(void)
{
    nowhere = map_beyond_file();
    take_over();
    load(nowhere);
    say("not reached\n");
}

/* A fault of the one signal is none of the other's handler. */
static void case_both(void)
{
    set_info(SIGSEGV, info_jump, 0, 0);
    set_plain(SIGBUS, plain_jump, 0);
    take_over();
    fault_and_jump_back(1);
    nowhere = map_beyond_file();
    fault_and_jump_back(1);
}

static void case_general_protection(void)
{
    set_info(SIGSEGV, info_jump, 0, 0);
    take_over();
    nowhere = (char *)(UINT64_C(1) << 62);
    fault_and_jump_back(1);
}

static void case_general_protection_default(void)
{
    take_over();
    load((void *)(UINT64_C(1) << 62));
    say("not reached\n");
}

static void case_jump_to_null(void)
{
    void (*volatile nothing)(void) = NULL;
    set_info(SIGSEGV, info_jump, 0, 0);
    take_over();
    if (sigsetjmp(back, 1) == 0)
        nothing();
    say("recovered\n");
}

/* A write barrier, as garbage collectors and persistent heaps have: the handler opens the page, the store goes on. */
static char *guarded_pages;

static void open_page(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    char *page = guarded_pages + ((char *)info->si_addr - guarded_pages) / PAGE * PAGE;
    if (info->si_code != SEGV_ACCERR || mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
        _exit(97);
    calls = calls + 1;
}

static void case_write_barrier(void)
{
    enum { PAGES = 500 };
    guarded_pages = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(guarded_pages != MAP_FAILED, "mmap");
    set_info(SIGSEGV, open_page, SA_RESTART, 0);
    take_over();
    for (size_t n = 0; n < PAGES; n++)
        *(volatile char *)(guarded_pages + n * PAGE + n) = 1;
    say("%d pages opened, mask %016llx\n", (int)calls, (unsigned long long)current_mask());
}

__attribute__((noinline)) static int overflow(int depth)
{
    volatile char room[4096];
    room[0] = (char)depth;
    return depth < 1 << 20 ? overflow(depth + 1) + room[0] : 0; /* 4 GiB: it never gets there */
}

static void stack_overflow_handler(int signal)
{
    say_plain(signal);
    _exit(3);
}

static void limit_stack(void)
{
    struct rlimit limit = {256 * 1024, 256 * 1024};
    must(setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
}

static void case_stack_overflow(void)
{
    limit_stack();
    set_alternate_stack();
    set_plain(SIGSEGV, stack_overflow_handler, SA_ONSTACK);
    take_over();
    overflow(0);
}

static void case_stack_overflow_default(void)
{
    limit_stack();
    take_over();
    overflow(0);
}

static void case_stack_overflow_default_alternate(void)
{
    limit_stack();
    set_alternate_stack();
    take_over();
    overflow(0);
}

static void case_alternate_stack(void)
{
    set_alternate_stack();
    set_info(SIGSEGV, info_jump, SA_ONSTACK, SIGTERM);
    take_over();
    fault_and_jump_back(2);
}

/* A handler that did not ask for the alternate stack may need more room than that has. */
static void case_alternate_stack_not_asked_for(void)
{
    set_alternate_stack();
    set_info(SIGSEGV, info_jump, 0, SIGTERM);
    take_over();
    fault_and_jump_back(2);
}

/* What faulthandler does: it says its word, gives the default action back, and lets the fault come again. */
static void reset_and_return(int signal)
{
    say_plain(signal);
    set_plain(signal, SIG_DFL, 0);
}

static void case_reset_and_return(void)
{
    set_plain(SIGSEGV, reset_and_return, SA_NODEFER);
    take_over();
    load(nowhere);
    say("not reached\n");
}

static void reset_and_raise(int signal)
{
    say_plain(signal);
    set_plain(signal, SIG_DFL, 0);
    raise(signal);
    say("raised\n");
}

static void case_reset_and_raise(void)
{
    set_plain(SIGSEGV, reset_and_raise, 0);
    take_over();
    load(nowhere);
    say("not reached\n");
}

static void keep_errno(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    say("errno in the handler: %d\n", errno);
    *pc_of(context) = (uintptr_t)after_load;
}

static void case_errno(void)
{
    set_info(SIGSEGV, keep_errno, 0, 0);
    take_over();
    errno = 42;
    load(nowhere);
    say("errno afterwards: %d\n", errno);
}

/* ---- Cases: signals that are sent ---- */

static void case_kill(void)
{
    set_info(SIGSEGV, info_return, 0, SIGTERM);
    take_over();
    must(kill(getpid(), SIGSEGV) == 0, "kill");
    say("after: %d calls, mask %016llx\n", (int)calls, (unsigned long long)current_mask());
}

static void case_kill_plain(void)
{
    set_plain(SIGSEGV, plain_return, 0);
    take_over();
    must(raise(SIGSEGV) == 0, "raise");
    say("after: %d calls, mask %016llx\n", (int)calls, (unsigned long long)current_mask());
}

static void case_kill_bus(void)
{
    set_info(SIGBUS, info_return, 0, SIGTERM);
    take_over();
    must(kill(getpid(), SIGBUS) == 0, "kill");
    say("after: %d calls, mask %016llx\n", (int)calls, (unsigned long long)current_mask());
}

static void case_queue(void)
{
    set_info(SIGSEGV, info_return, 0, 0);
    take_over();
    must(sigqueue(getpid(), SIGSEGV, (union sigval){.sival_int = 4711}) == 0, "sigqueue");
    say("after: %d calls\n", (int)calls);
}

static void case_kill_default(void)
{
    take_over();
    kill(getpid(), SIGSEGV);
    say("not reached\n");
}

static void case_raise_default(void)
{
    take_over();
    raise(SIGSEGV);
    say("not reached\n");
}

static void case_queue_default(void)
{
    take_over();
    sigqueue(getpid(), SIGSEGV, (union sigval){.sival_int = 1});
    say("not reached\n");
}

static void case_kill_bus_default(void)
{
    take_over();
    raise(SIGBUS);
    say("not reached\n");
}

static void case_kill_ignored(void)
{
    set_plain(SIGSEGV, SIG_IGN, 0);
    set_plain(SIGBUS, SIG_IGN, 0);
    take_over();
    for (int n = 0; n < 3; n++) {
        must(kill(getpid(), SIGSEGV) == 0 && raise(SIGSEGV) == 0 && raise(SIGBUS) == 0, "kill");
        must(sigqueue(getpid(), SIGSEGV, (union sigval){.sival_int = 1}) == 0, "sigqueue");
    }
    say("still here, mask %016llx\n", (unsigned long long)current_mask());
    load(nowhere);
    say("not reached\n");
}

static void kill_from_other_process(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        kill(getppid(), SIGSEGV);
        _exit(0);
    }
    must(pid > 0, "fork");
    while (waitpid(pid, NULL, 0) < 0)
        ;
}

static void case_kill_from_other_process(void)
{
    set_info(SIGSEGV, info_return, 0, 0);
    take_over();
    kill_from_other_process();
    say("after: %d calls\n", (int)calls);
}

static void case_kill_from_other_process_default(void)
{
    take_over();
    kill_from_other_process();
    say("not reached\n");
}

static void case_pending(void)
{
    sigset_t set;
    set_info(SIGSEGV, info_return, 0, 0);
    take_over();
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && raise(SIGSEGV) == 0, "raise");
    say("blocked: %d calls\n", (int)calls);
    must(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0, "sigprocmask");
    say("after: %d calls\n", (int)calls);
}

static void *raise_in_thread(void *unused)
{
    (void)unused;
    raise(SIGSEGV);
    return NULL;
}

static void case_raise_in_thread_default(void)
{
    pthread_t thread;
    take_over();
    must(pthread_create(&thread, NULL, raise_in_thread, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
    say("not reached\n");
}

static void *load_in_thread(void *unused)
{
    (void)unused;
    load(nowhere);
    return NULL;
}

static void case_default_in_thread(void)
{
    pthread_t thread;
    take_over();
    must(pthread_create(&thread, NULL, load_in_thread, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
    say("not reached\n");
}

/* Does a thread stand in a system call of this number? The kernel tells. */
static bool stands_in_call(pid_t tid, long number)
{
    char path[64];
    char text[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)tid);
    int fd = open(path, O_RDONLY);
    must(fd >= 0 && read(fd, text, sizeof text - 1) > 0, path);
    close(fd);
    return text[0] >= '0' && text[0] <= '9' && strtol(text, NULL, 10) == number;
}

struct reader {
    pthread_t thread;
    pid_t tid;
    int pipe[2];
};

static void *interrupt_reader(void *context)
{
    const struct reader *reader = context;
    while (!stands_in_call(reader->tid, SYS_read))
        sched_yield();
    pthread_kill(reader->thread, SIGSEGV);
    while (calls == 0)
        sched_yield();
    must(write(reader->pipe[1], "x", 1) == 1, "write");
    return NULL;
}

static void interrupt_a_read(int flags)
{
    struct reader reader = {.thread = pthread_self(), .tid = gettid()};
    pthread_t thread;
    char byte = '-';
    set_plain(SIGSEGV, plain_return, flags);
    take_over();
    must(pipe(reader.pipe) == 0, "pipe");
    must(pthread_create(&thread, NULL, interrupt_reader, &reader) == 0, "pthread_create");
    ssize_t count = read(reader.pipe[0], &byte, 1);
    say("read: %d %c %s\n", (int)count, byte, count < 0 ? strerror(errno) : "");
    pthread_join(thread, NULL);
}

static void case_interrupted_read(void)
{
    interrupt_a_read(0);
}

static void case_restarted_read(void)
{
    interrupt_a_read(SA_RESTART);
}

/* ---- Cases: threads ---- */

enum { THREADS = 4, ROUNDS = 5000 };

static pthread_barrier_t barrier;
static int recovered[THREADS];

static void jump_quietly(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    siglongjmp(back, (char *)info->si_addr == nowhere ? 1 : 2);
}

static void *recover_by_jumps(void *context)
{
    int *count = context;
    pthread_barrier_wait(&barrier);
    for (int n = 0; n < ROUNDS; n++) {
        int result = sigsetjmp(back, 1);
        if (result == 0)
            load(nowhere);
        else
            *count += result == 1;
    }
    return NULL;
}

/* Like a virtual machine's null checks: the handler sets the program counter. */
static void skip_quietly(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    if (*pc_of(context) != (uintptr_t)faulting_load || (char *)info->si_addr != nowhere)
        _exit(96);
    *pc_of(context) = (uintptr_t)after_load;
}

static void *recover_by_pc(void *context)
{
    int *count = context;
    pthread_barrier_wait(&barrier);
    for (int n = 0; n < ROUNDS; n++) {
        load(nowhere);
        *count += 1;
    }
    return NULL;
}

static void run_threads(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    must(pthread_barrier_init(&barrier, NULL, THREADS) == 0, "pthread_barrier_init");
    for (int n = 0; n < THREADS; n++)
        must(pthread_create(&threads[n], NULL, function, &recovered[n]) == 0, "pthread_create");
    for (int n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    for (int n = 0; n < THREADS; n++)
        say("thread %d: %d recovered\n", n, recovered[n]);
}

static void case_threads_jump(void)
{
    set_info(SIGSEGV, jump_quietly, 0, SIGTERM);
    take_over();
    run_threads(recover_by_jumps);
}

static void case_threads_skip(void)
{
    set_info(SIGSEGV, skip_quietly, SA_RESTART | SA_ONSTACK, SIGTERM);
    take_over();
    run_threads(recover_by_pc);
}

/* ---- Cases: handlers in front of pyunwind's; compared with a program that has the same two without it ---- */

static struct sigaction behind;

/* The handler in front: hands on to the one that it found, as a good one does. */
static void hand_on(int signal, siginfo_t *info, void *context)
{
    say("in front: signal %d, code %d\n", signal, info->si_code);
    must(++calls < 10, "the handlers call each other for ever"); /* before the stack is full */
    if ((behind.sa_flags & SA_SIGINFO) != 0)
        behind.sa_sigaction(signal, info, context);
    else if (behind.sa_handler != SIG_DFL && behind.sa_handler != SIG_IGN)
        behind.sa_handler(signal);
    else
        set_plain(signal, SIG_DFL, 0);
}

static void put_in_front(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    action.sa_sigaction = hand_on;
    must(sigaction(SIGSEGV, &action, &behind) == 0, "sigaction");
}

static void skip_behind(int signal, siginfo_t *info, void *context)
{
    say("behind: signal %d, code %d\n", signal, info->si_code);
    *pc_of(context) = (uintptr_t)after_load;
}

static void case_displaced(void)
{
    set_info(SIGSEGV, skip_behind, SA_NODEFER, 0);
    take_over();
    put_in_front();
    load(nowhere);
    say("after, mask %016llx\n", (unsigned long long)current_mask());
}

static void case_displaced_default(void)
{
    take_over();
    put_in_front();
    load(nowhere);
    say("not reached\n");
}

/* Installed again, in front of the one that displaced it and that hands on to it: no fault goes round in circles. */
static void case_displaced_installed_again(void)
{
    set_info(SIGSEGV, skip_behind, SA_NODEFER, 0);
    take_over();
    put_in_front();
    take_over();
    load(nowhere);
    say("after, mask %016llx\n", (unsigned long long)current_mask());
}

static void case_displaced_removed_installed_again(void)
{
    set_info(SIGSEGV, skip_behind, SA_NODEFER, 0);
    take_over();
    put_in_front();
    must(pyunw_trap_remove() == 0, "pyunw_trap_remove");
    load(nowhere);
    take_over();
    load(nowhere);
    must(pyunw_trap_remove() == 0, "pyunw_trap_remove");
    load(nowhere);
    say("after, mask %016llx\n", (unsigned long long)current_mask());
}

/* The one in front goes, and gives back what it found: pyunwind's, which was removed meanwhile and only passes on. */
static void case_displaced_removed_uncovered(void)
{
    set_info(SIGSEGV, skip_behind, SA_NODEFER, 0);
    take_over();
    put_in_front();
    must(pyunw_trap_remove() == 0, "pyunw_trap_remove");
    must(sigaction(SIGSEGV, &behind, NULL) == 0, "sigaction");
    load(nowhere);
    take_over();
    load(nowhere);
    must(pyunw_trap_remove() == 0, "pyunw_trap_remove");
    load(nowhere);
    say("after, mask %016llx\n", (unsigned long long)current_mask());
}

/* ---- The case that tells by itself: what was found is given back ---- */

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static struct kernel_sigaction query(int signal)
{
    struct kernel_sigaction action;
    memset(&action, 0, sizeof action);
    must(syscall(SYS_rt_sigaction, signal, NULL, &action, sizeof action.mask) == 0, "rt_sigaction");
    return action;
}

static void set_raw(int signal, const struct kernel_sigaction *action)
{
    must(syscall(SYS_rt_sigaction, signal, action, NULL, sizeof action->mask) == 0, "rt_sigaction");
}

static void restorer(void)
{
}

static void check_given_back(const struct kernel_sigaction *segv, const struct kernel_sigaction *bus)
{
    set_raw(SIGSEGV, segv);
    set_raw(SIGBUS, bus);
    const struct kernel_sigaction before[2] = {query(SIGSEGV), query(SIGBUS)};
    must(pyunw_trap_install() == 0, "pyunw_trap_install");
    const struct kernel_sigaction ours[2] = {query(SIGSEGV), query(SIGBUS)};
    must(ours[0].handler != before[0].handler && ours[1].handler != before[1].handler, "it is not installed");
    must(pyunw_trap_install() == 0, "pyunw_trap_install again");
    const struct kernel_sigaction again[2] = {query(SIGSEGV), query(SIGBUS)};
    must(memcmp(ours, again, sizeof ours) == 0, "installing again changed something");
    must(pyunw_trap_remove() == 0, "pyunw_trap_remove");
    const struct kernel_sigaction after[2] = {query(SIGSEGV), query(SIGBUS)};
    must(memcmp(before, after, sizeof before) == 0, "what was found is not given back");
    must(pyunw_trap_remove() == 0, "pyunw_trap_remove again");
    const struct kernel_sigaction last[2] = {query(SIGSEGV), query(SIGBUS)};
    must(memcmp(before, last, sizeof before) == 0, "removing again changed something");
}

/* One of the two displaced: it stays, the other goes back. Then the other way round. */
static void check_displaced(const struct kernel_sigaction *found, const struct kernel_sigaction *other)
{
    const int signals[2] = {SIGSEGV, SIGBUS};
    for (int n = 0; n < 2; n++) {
        set_raw(SIGSEGV, found);
        set_raw(SIGBUS, found);
        const struct kernel_sigaction before = query(signals[1 - n]);
        must(pyunw_trap_install() == 0, "pyunw_trap_install");
        set_raw(signals[n], other);
        const struct kernel_sigaction displaced = query(signals[n]);
        must(pyunw_trap_remove() == 0, "pyunw_trap_remove");
        const struct kernel_sigaction stays = query(signals[n]);
        const struct kernel_sigaction back_again = query(signals[1 - n]);
        must(memcmp(&displaced, &stays, sizeof stays) == 0, "the handler in front was changed");
        must(memcmp(&before, &back_again, sizeof before) == 0, "what was found is not given back");
    }
}

static void case_given_back(void)
{
    set_plain(SIGUSR1, plain_return, 0); /* for the C library's own flags and restorer */
    const struct kernel_sigaction libc = query(SIGUSR1);
    const struct kernel_sigaction actions[] = {
        {.handler = (void *)SIG_DFL},
        {.handler = (void *)SIG_IGN},
        {.handler = (void *)SIG_DFL, .flags = SA_RESTART | SA_NODEFER, .mask = 1},
        {.handler = (void *)plain_return, .flags = libc.flags, .restorer = libc.restorer},
        {.handler = (void *)plain_return, .flags = libc.flags | SA_RESETHAND | SA_NODEFER, .restorer = libc.restorer},
        {.handler = (void *)info_return,
         .flags = libc.flags | SA_SIGINFO | SA_ONSTACK | SA_RESTART,
         .restorer = libc.restorer,
         .mask = UINT64_C(0x8000000180000001)},
        {.handler = (void *)info_return,
         .flags = libc.flags | SA_SIGINFO | SA_NOCLDSTOP | SA_NOCLDWAIT,
         .restorer = (void *)restorer,
         .mask = ~UINT64_C(0)},
        {.handler = (void *)restorer, .flags = SA_SIGINFO, .restorer = (void *)restorer, .mask = UINT64_C(1) << 33},
    };
    enum { COUNT = sizeof actions / sizeof actions[0] };
    int compared = 0;
    for (int first = 0; first < COUNT; first++) {
        for (int second = 0; second < COUNT; second++) {
            check_given_back(&actions[first], &actions[second]);
            compared++;
        }
    }
    for (int n = 1; n < COUNT; n++) {
        check_displaced(&actions[0], &actions[n]);
        check_displaced(&actions[n], &actions[0]);
        compared += 4;
    }
    say("%d times given back as found\n", compared);
}

/* ---- */

#define CASE(name)                                                                                                     \
    {                                                                                                                  \
#name, case_##name                                                                                             \
    }

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    CASE(plain),
    CASE(info),
    CASE(skip),
    CASE(blocked_beside),
    CASE(nodefer),
    CASE(nested_nodefer),
    CASE(nested_deferred),
    CASE(resethand),
    CASE(resethand_plain),
    CASE(default),
    CASE(ignored),
    CASE(blocked),
    CASE(bus),
    CASE(bus_default),
    CASE(both),
    CASE(general_protection),
    CASE(general_protection_default),
    CASE(jump_to_null),
    CASE(write_barrier),
    CASE(stack_overflow),
    CASE(stack_overflow_default),
    CASE(stack_overflow_default_alternate),
    CASE(alternate_stack),
    CASE(alternate_stack_not_asked_for),
    CASE(reset_and_return),
    CASE(reset_and_raise),
    CASE(errno),
    CASE(kill),
    CASE(kill_plain),
    CASE(kill_bus),
    CASE(queue),
    CASE(kill_default),
    CASE(raise_default),
    CASE(queue_default),
    CASE(kill_bus_default),
    CASE(kill_ignored),
    CASE(kill_from_other_process),
    CASE(kill_from_other_process_default),
    CASE(pending),
    CASE(raise_in_thread_default),
    CASE(default_in_thread),
    CASE(interrupted_read),
    CASE(restarted_read),
    CASE(threads_jump),
    CASE(threads_skip),
    CASE(displaced),
    CASE(displaced_default),
    CASE(displaced_installed_again),
    CASE(displaced_removed_installed_again),
    CASE(displaced_removed_uncovered),
    CASE(given_back),
};

int main(int count, char **arguments)
{
    struct rlimit no_core = {0, 0};
    if (count == 1) {
        for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++)
            say("%s\n", cases[n].name);
        return 0;
    }
    if (count != 3)
        return 2;
    mode = strcmp(arguments[2], "with") == 0 ? WITH : strcmp(arguments[2], "removed") == 0 ? REMOVED : WITHOUT;
    setrlimit(RLIMIT_CORE, &no_core);
    nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(nowhere != MAP_FAILED, "mmap");
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        if (strcmp(arguments[1], cases[n].name) == 0) {
            cases[n].run();
            say("the end\n");
            return 0;
        }
    }
    return 2;
}
