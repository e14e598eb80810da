/*
 * The ways to die in C, for the programs of the corpus: each function that faults does it itself, so that it is the
 * innermost native frame.
 */
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CRASH __attribute__((visibility("default"), noinline, noclone)) void

/* What the compiler cannot know to be so. */
static int *volatile null_pointer;
static int *volatile wild_pointer = (int *)0x123456789000;
static void (*volatile null_function)(void);
static void (*volatile wild_function)(void) = (void (*)(void))0x123456789abc;
static volatile int zero;
static volatile int sink = 12345;

/* ---- Faults ---- */

CRASH null_read(void)
{
    sink = *null_pointer;
}

CRASH null_write(void)
{
    *null_pointer = 1;
}

CRASH null_jump(void)
{
    null_function();
    sink = 1; /* no tail call: the caller is to be found */
}

CRASH wild_read(void)
{
    sink = *wild_pointer;
}

CRASH wild_write(void)
{
    *wild_pointer = 1;
}

CRASH wild_jump(void)
{
    wild_function();
    sink = 1;
}

CRASH divide(void)
{
    sink = sink / zero;
}

CRASH overflow_stack(int depth)
{
    volatile char variables[512];
    variables[0] = (char)depth;
    if (zero == 0) /* always, but the compiler does not know */
        overflow_stack(depth + 1);
    sink = variables[0];
}

/* Python in C in Python: the C stack is used up long before Python's limit of recursion is reached. */
CRASH call_with_large_variables(void (*function)(void))
{
    volatile char variables[256 << 10];
    memset((char *)variables, 1, sizeof variables);
    function();
    sink = variables[sizeof variables - 1];
}

CRASH read_beyond_file(const char *path)
{
    FILE *file = fopen(path, "w+");
    if (file == NULL || ftruncate(fileno(file), 4096) != 0)
        _exit(90);
    volatile char *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
    if (memory == MAP_FAILED || ftruncate(fileno(file), 0) != 0)
        _exit(90);
    sink = memory[100];
}

CRASH execute_rubbish(void)
{
    static const unsigned char undefined[] = {0x0f, 0x0b};
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(90);
    memcpy(memory, undefined, sizeof undefined);
    void (*volatile function)(void) = (void (*)(void))memory;
    function();
    sink = 1;
}

CRASH reach_breakpoint(void)
{
    __asm__ volatile("int3");
}

CRASH fail_assertion(void)
{
    assert(zero == 1);
}

/* ---- The heap ---- */

/* Beyond a block lies the size of the next one, or of what is left of the heap. */
CRASH abort_in_malloc(void)
{
    enum { SIZE = 100000, BLOCKS = 64 };
    char *block = NULL;
    for (int n = 0; n < BLOCKS; n++)
        block = malloc(SIZE);
    if (block == NULL)
        _exit(90);
    memset(block + malloc_usable_size(block), 0xff, 8);
    for (int n = 0; n < BLOCKS; n++)
        sink = malloc(SIZE) != NULL;
}

CRASH free_twice(void)
{
    char *volatile block = malloc(2000);
    char *volatile keep = malloc(2000);
    free(block);
    free(block);
    sink = keep != NULL;
}

/* So that whoever asks for memory, or gives it back, meets rubbish. */
CRASH smash_heap_and_read_null(void)
{
    enum { BLOCKS = 64, SIZES = 64 };
    static char *blocks[SIZES][BLOCKS];
    for (size_t size = 0; size < SIZES; size++) {
        for (int n = 0; n < BLOCKS; n++)
            blocks[size][n] = malloc(16 + 16 * size);
        for (int n = 0; n < BLOCKS; n++)
            free(blocks[size][n]);
    }
    for (size_t size = 0; size < SIZES; size++) {
        for (int n = 0; n < BLOCKS; n++)
            memset(blocks[size][n], 0xa5, 16 + 16 * size);
    }
    sink = *null_pointer;
}

/* ---- Damage ---- */

CRASH damage_and_read_null(void *address, size_t size, int byte)
{
    memset(address, byte, size);
    sink = *null_pointer;
}

/* ---- Threads ---- */

static void *read_null_in_thread(void *unused)
{
    null_read();
    return unused;
}

CRASH crash_in_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, read_null_in_thread, NULL) != 0)
        _exit(90);
    (void)pthread_join(thread, NULL);
}

/* Two threads, here at the same time. */
CRASH read_null_together(void)
{
    static int arrived;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 2)
        ;
    sink = *null_pointer;
}

/* ---- Handlers of a program ---- */

static void *page;
static sigjmp_buf recovery;
static int keeps_mask = 1; /* what sigsetjmp(3) is told */
static struct sigaction handler_before;
static volatile int recoveries;

static void call_handler_before(int signal, siginfo_t *info, void *context)
{
    if ((handler_before.sa_flags & SA_SIGINFO) != 0)
        handler_before.sa_sigaction(signal, info, context);
    else if (handler_before.sa_handler == SIG_DFL)
        (void)sigaction(signal, &handler_before, NULL); /* the fault comes again */
    else
        handler_before.sa_handler(signal);
}

static void recover_by_mprotect(int signal, siginfo_t *info, void *context)
{
    if ((char *)info->si_addr < (char *)page || (char *)info->si_addr >= (char *)page + 4096) {
        call_handler_before(signal, info, context);
        return;
    }
    recoveries = recoveries + 1;
    (void)mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void recover_by_jump(int signal, siginfo_t *info, void *context)
{
    if ((char *)info->si_addr < (char *)page || (char *)info->si_addr >= (char *)page + 4096) {
        call_handler_before(signal, info, context);
        return;
    }
    recoveries = recoveries + 1;
    siglongjmp(recovery, 1);
}

static void print_and_raise(int signal)
{
    static const char words[] = "the program's own handler\n";
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
    (void)sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    (void)raise(signal);
}

static void print_and_raise_with_info(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    print_and_raise(signal);
}

static void print_only(int signal)
{
    static const char words[] = "the program's own handler\n";
    (void)signal;
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
}

static void install(int signal, const struct sigaction *action)
{
    if (page == NULL)
        page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || sigaction(signal, action, &handler_before) != 0)
        _exit(90);
}

CRASH handle_by_mprotect(void)
{
    install(SIGSEGV, &(struct sigaction){.sa_sigaction = recover_by_mprotect, .sa_flags = SA_SIGINFO | SA_ONSTACK});
}

CRASH handle_by_jump(void)
{
    install(SIGSEGV, &(struct sigaction){.sa_sigaction = recover_by_jump, .sa_flags = SA_SIGINFO | SA_ONSTACK});
}

/* As many do: the mask is never touched, neither by the kernel nor by the jump. */
CRASH handle_by_jump_without_mask(void)
{
    keeps_mask = 0;
    install(SIGSEGV, &(struct sigaction){.sa_sigaction = recover_by_jump,
                                         .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_NODEFER)});
}

CRASH handle_by_raising(int signal)
{
    install(signal, &(struct sigaction){.sa_handler = print_and_raise});
}

CRASH handle_by_raising_at_once(int signal)
{
    install(signal, &(struct sigaction){.sa_handler = print_and_raise, .sa_flags = (int)SA_NODEFER});
}

CRASH handle_by_raising_with_info(int signal)
{
    install(signal, &(struct sigaction){.sa_sigaction = print_and_raise_with_info, .sa_flags = SA_SIGINFO});
}

/* Passes on the number alone, as code does that has the handler from signal(2); the registers hold something else. */
static void pass_on_number(int number)
{
    void (*before)(int, long, long) = (void (*)(int, long, long))(uintptr_t)handler_before.sa_handler;
    if (handler_before.sa_handler != SIG_DFL) {
        before(number, 8, 16);
        return;
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

CRASH handle_by_number(int number)
{
    install(number, &(struct sigaction){.sa_handler = pass_on_number});
}

CRASH handle_once(int signal)
{
    install(signal, &(struct sigaction){.sa_handler = print_only, .sa_flags = (int)SA_RESETHAND});
}

/* A fault that the program's handler recovers from, count times: how often it did. */
__attribute__((visibility("default"))) int fault_and_recover(int count)
{
    for (volatile int n = 0; n < count; n++) {
        (void)mprotect(page, 4096, PROT_NONE);
        if (sigsetjmp(recovery, keeps_mask) == 0)
            *(volatile int *)page = 1;
    }
    return recoveries;
}

/* ---- What is forbidden ---- */

/* A system call that fails from now on, with error; 0: it raises SIGSYS; less than 0: it ends the process. */
CRASH forbid(int number, int error)
{
    uint32_t action = SECCOMP_RET_ERRNO | (uint32_t)error;
    if (error == 0)
        action = SECCOMP_RET_TRAP;
    if (error < 0)
        action = SECCOMP_RET_KILL_PROCESS;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = 4, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(91);
}

CRASH call_forbidden(int number)
{
    forbid(number, 0);
    sink = (int)syscall(number, 0, 0, 0, 0, 0, 0);
}

/* ---- Resources ---- */

/* No more than what is mapped, and all of it in use. */
CRASH use_up_address_space(void)
{
    size_t size = (size_t)1 << 30;
    struct rlimit limit = {0};
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (file == NULL || fscanf(file, "%lu", &pages) != 1 || getrlimit(RLIMIT_AS, &limit) != 0)
        _exit(90);
    (void)fclose(file);
    limit.rlim_cur = pages * 4096 + (16 << 20);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        _exit(90);
    for (; size >= 4096; size /= 2) {
        while (mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
            ;
    }
}

/* ---- Who waits for any child ---- */

static void *wait_for_children(void *unused)
{
    for (;;) {
        int status = 0;
        pid_t child = waitpid(-1, &status, 0);
        if (child > 0)
            dprintf(STDOUT_FILENO, "a child has ended with %d\n", status);
        else if (errno == ECHILD)
            (void)usleep(1000);
    }
    return unused;
}

CRASH wait_for_any_child(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_children, NULL) != 0)
        _exit(90);
}

static void print_child(int signal)
{
    static const char words[] = "SIGCHLD\n";
    (void)signal;
    (void)!write(STDOUT_FILENO, words, sizeof words - 1);
}

CRASH print_child_signals(void)
{
    (void)sigaction(SIGCHLD, &(struct sigaction){.sa_handler = print_child, .sa_flags = SA_RESTART}, NULL);
}

/* ---- Reports of a process that goes on ---- */

/*
 * What a report asked for leaves changed: bit 0 it failed, 1 errno, 2 the signal mask, 3 the alternate stack, 4 how the
 * fatal signals are handled.
 */
__attribute__((visibility("default"))) int report_and_compare(int (*report)(void))
{
    enum { MARK = 77 };
    stack_t stacks[2] = {{0}};
    sigset_t masks[2];
    struct sigaction actions[2];
    memset(masks, 0, sizeof masks);
    memset(actions, 0, sizeof actions);
    (void)sigaltstack(NULL, &stacks[0]);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &masks[0]);
    (void)sigaction(SIGSEGV, NULL, &actions[0]);
    errno = MARK;
    int result = report();
    int error = errno;
    (void)sigaltstack(NULL, &stacks[1]);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &masks[1]);
    (void)sigaction(SIGSEGV, NULL, &actions[1]);
    return (result != 0 ? 1 : 0) | (error != MARK ? 2 : 0) |
           (memcmp(&masks[0], &masks[1], sizeof masks[0]) != 0 ? 4 : 0) |
           (stacks[0].ss_sp != stacks[1].ss_sp || stacks[0].ss_size != stacks[1].ss_size ||
                    stacks[0].ss_flags != stacks[1].ss_flags
                ? 8
                : 0) |
           (actions[0].sa_sigaction != actions[1].sa_sigaction || actions[0].sa_flags != actions[1].sa_flags ? 16 : 0);
}

static int raised_signal;

static int raise_it(void)
{
    return raise(raised_signal);
}

__attribute__((visibility("default"))) int raise_and_compare(int signal)
{
    raised_signal = signal;
    return report_and_compare(raise_it);
}
