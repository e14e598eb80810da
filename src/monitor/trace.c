/*
 * A traced process stops for each signal that it is given, and before it ends; it goes on as if nobody had looked. When
 * the tracer dies the kernel lets all of them go.
 */
#include "trace.h"

#include "deliver.h"
#include "process_info.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* Its children are traced from their first instruction on; never PTRACE_O_EXITKILL. */
static const long trace_options = PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;

static bool request(int what, pid_t pid, long data)
{
    return ptrace((enum __ptrace_request)what, pid, 0L, data) == 0;
}

/* ---- Try ---- */

static bool refuse(char *message, size_t size, const char *what, int error)
{
    (void)snprintf(message, size, "%s%s%s", what, error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
    return false;
}

/* Of the child that is killed: it stands at its end, and is read there. */
static bool try_end(pid_t child, const uint64_t *word, char *message, size_t size)
{
    int status = 0;
    uint64_t read = 0;
    const struct iovec here = {&read, sizeof read};
    const struct iovec there = {(void *)(uintptr_t)word, sizeof read};
    if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status) || status >> 16 != PTRACE_EVENT_EXIT)
        return refuse(message, size, "this kernel does not stop a process that is killed before its end", 0);
    if (process_vm_readv(child, &here, 1, &there, 1, 0) != (ssize_t)sizeof read || read != *word)
        return refuse(message, size, "a process that is killed cannot be read on this machine", errno);
    return true;
}

bool trace_try(char *message, size_t size)
{
    const uint64_t word = UINT64_C(0x70797577696e6421);
    const pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        while (getppid() == parent) /* whatever becomes of that */
            (void)poll(NULL, 0, 1000);
        _exit(0);
    }
    if (child < 0)
        return refuse(message, size, "no process can be made", errno);
    bool seized = request(PTRACE_SEIZE, child, PTRACE_O_TRACEEXIT);
    int error = errno;
    if (kill(child, SIGKILL) != 0)
        return refuse(message, size, "a child cannot be killed", errno); /* it ends with this process */
    bool good = seized
                    ? try_end(child, &word, message, size)
                    : refuse(message, size, "ptrace(2) is not permitted, by a sandbox or a rule of the system", error);
    (void)request(PTRACE_DETACH, child, 0);
    (void)waitpid(child, NULL, __WALL);
    return good;
}

/* Of the stack, deeper than it is ever used. */
__attribute__((noinline)) static void reserve_stack(void)
{
    char room[256 << 10];
    explicit_bzero(room, sizeof room);
}

void trace_reserve(void)
{
    const size_t size = (size_t)8 << 20;
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* large blocks come from the heap, too */
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);  /* which keeps what it had */
    char *memory = malloc(size);
    if (memory != NULL)
        explicit_bzero(memory, size);
    free(memory);
    reserve_stack();
}

void trace_lock(void)
{
    (void)mlockall(MCL_CURRENT); /* where the limit of locked memory allows it */
}

/* ---- Begin and let go ---- */

/* 'T' stopped, 't' traced, ...; 0: it is gone. */
static char state_of(pid_t pid)
{
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *text = read_whole_file(path, &size);
    const char *name_end = text != NULL ? strrchr(text, ')') : NULL;
    char state = '\0';
    if (name_end != NULL && name_end[1] == ' ')
        state = name_end[2];
    free(text);
    return state;
}

static bool is_traced_here(pid_t pid)
{
    static const char key[] = "\nTracerPid:";
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    char *text = read_whole_file(path, &size);
    const char *at = text != NULL ? strstr(text, key) : NULL;
    bool here = at != NULL && strtol(at + sizeof key - 1, NULL, 10) == getpid();
    free(text);
    return here;
}

void trace_begin(struct watched *process)
{
    if (process->trace != TRACE_NONE || state_of(process->pid) == 'T' || watched_is_command(process->pid))
        return;
    if (request(PTRACE_SEIZE, process->pid, trace_options) || is_traced_here(process->pid))
        process->trace = TRACE_ON;
}

void trace_begin_pid(pid_t pid)
{
    (void)request(PTRACE_SEIZE, pid, trace_options);
}

void trace_pass_stops(pid_t pid)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | __WALL) != 0 || info.si_pid != pid ||
        info.si_code != CLD_TRAPPED)
        return;
    /* One that is stopped by job control is let go with that, and watched before long. */
    bool is_group_stop = info.si_status >> 8 == PTRACE_EVENT_STOP && (info.si_status & 0xff) != SIGTRAP;
    (void)request(is_group_stop ? PTRACE_DETACH : PTRACE_CONT, pid,
                  info.si_status >> 8 == 0 ? (long)info.si_status : 0L);
}

void trace_let_go(struct watched *process, bool for_good)
{
    if (process->trace == TRACE_ON && request(PTRACE_INTERRUPT, process->pid, 0))
        process->trace = for_good ? TRACE_LETTING_GO_FOR_GOOD : TRACE_LETTING_GO;
    else if (process->trace == TRACE_LETTING_GO && for_good)
        process->trace = TRACE_LETTING_GO_FOR_GOOD;
    else if (process->trace == TRACE_NONE && for_good)
        process->trace = TRACE_LET_GO;
}

static void detach(struct watched *process, int signal)
{
    (void)request(PTRACE_DETACH, process->pid, signal);
    process->trace = process->trace == TRACE_LETTING_GO_FOR_GOOD ? TRACE_LET_GO : TRACE_NONE;
}

void trace_let_all_go(const struct watched_list *list)
{
    const int64_t deadline = deliver_now() + 1000;
    for (size_t n = 0; n < list->count; n++)
        trace_let_go(list->entries[n], false);
    for (size_t n = 0; n < list->count; n++) {
        struct watched *process = list->entries[n];
        siginfo_t info = {0};
        int how = 0;
        while ((process->trace == TRACE_LETTING_GO || process->trace == TRACE_LETTING_GO_FOR_GOOD) &&
               deliver_now() < deadline) {
            if (waitid(P_PID, (id_t)process->pid, &info, WSTOPPED | WNOHANG | __WALL) != 0)
                break;
            if (info.si_pid == 0)
                (void)poll(NULL, 0, 1);
            else if (trace_take_stop(process, info.si_status, &how) == TRACE_ENDS)
                trace_end(process);
            info.si_pid = 0;
        }
    }
}

/* ---- Stops ---- */

static bool is_job_stop(int signal)
{
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* Until the kernel has it stopped for its parent, too. */
static void wait_until_stopped(pid_t pid)
{
    const int64_t deadline = deliver_now() + 1000;
    for (char state = state_of(pid); state != 'T' && state != 'Z' && state != '\0' && deliver_now() < deadline;
         state = state_of(pid))
        (void)poll(NULL, 0, 1);
}

enum trace_stop trace_take_stop(struct watched *process, int stop, int *how)
{
    int signal = stop & 0xff;
    int event = stop >> 8;
    if (event == PTRACE_EVENT_EXIT) {
        unsigned long status = 0;
        (void)ptrace(PTRACE_GETEVENTMSG, process->pid, 0L, &status);
        *how = (int)status;
        return TRACE_ENDS;
    }
    if (event == PTRACE_EVENT_STOP && is_job_stop(signal)) {
        detach(process, 0);
        wait_until_stopped(process->pid);
        *how = signal;
        return TRACE_STOPPED;
    }
    int passed_on = event == 0 ? signal : 0;
    if (process->trace == TRACE_ON || process->trace == TRACE_NONE) {
        process->trace = TRACE_ON; /* a child of a traced one */
        (void)request(PTRACE_CONT, process->pid, passed_on);
    } else {
        detach(process, passed_on);
    }
    return TRACE_GOES_ON;
}

void trace_end(struct watched *process)
{
    detach(process, 0);
}

/* ---- Registers ---- */

#if defined(__x86_64__)

static uint64_t stack_pointer(const struct user_regs_struct *registers)
{
    return registers->rsp;
}

static uint64_t thread_pointer_of(const struct user_regs_struct *registers)
{
    return registers->fs_base;
}

static void fill_context(ucontext_t *context, const struct user_regs_struct *registers)
{
    greg_t *to = context->uc_mcontext.gregs;
    to[REG_R8] = (greg_t)registers->r8;
    to[REG_R9] = (greg_t)registers->r9;
    to[REG_R10] = (greg_t)registers->r10;
    to[REG_R11] = (greg_t)registers->r11;
    to[REG_R12] = (greg_t)registers->r12;
    to[REG_R13] = (greg_t)registers->r13;
    to[REG_R14] = (greg_t)registers->r14;
    to[REG_R15] = (greg_t)registers->r15;
    to[REG_RDI] = (greg_t)registers->rdi;
    to[REG_RSI] = (greg_t)registers->rsi;
    to[REG_RBP] = (greg_t)registers->rbp;
    to[REG_RBX] = (greg_t)registers->rbx;
    to[REG_RDX] = (greg_t)registers->rdx;
    to[REG_RAX] = (greg_t)registers->rax;
    to[REG_RCX] = (greg_t)registers->rcx;
    to[REG_RSP] = (greg_t)registers->rsp;
    to[REG_RIP] = (greg_t)registers->rip;
}

#else

static uint64_t stack_pointer(const struct user_regs_struct *registers)
{
    return registers->sp;
}

/* The C library's thread descriptor, which is the pthread_t, lies below what the register points to. */
static uint64_t thread_pointer_of(const struct user_regs_struct *registers)
{
    (void)registers;
    return 0; /* nothing says how far below */
}

static void fill_context(ucontext_t *context, const struct user_regs_struct *registers)
{
    memcpy(context->uc_mcontext.regs, registers->regs, sizeof context->uc_mcontext.regs);
    context->uc_mcontext.sp = registers->sp;
    context->uc_mcontext.pc = registers->pc;
}

#endif

pyunw_addr trace_save_registers(pid_t pid, uint64_t *thread_pointer)
{
    enum { RED_ZONE = 128, ALIGNMENT = 16 };
    /* What stands behind the general registers is not read; on aarch64 it is large. */
    const size_t size = offsetof(ucontext_t, uc_mcontext) + sizeof(struct user_regs_struct) + 64;
    static ucontext_t context;
    struct user_regs_struct registers;
    struct iovec given = {&registers, sizeof registers};
    context = (ucontext_t){0};
    *thread_pointer = 0;
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &given) != 0)
        return 0;
    *thread_pointer = thread_pointer_of(&registers);
    fill_context(&context, &registers);
    pyunw_addr at = (stack_pointer(&registers) - RED_ZONE - size) / ALIGNMENT * ALIGNMENT;
    const struct iovec here = {&context, size};
    const struct iovec there = {(void *)(uintptr_t)at, size}; // NOLINT(performance-no-int-to-ptr): another's address
    return process_vm_writev(pid, &here, 1, &there, 1, 0) == (ssize_t)size ? at : 0;
}
