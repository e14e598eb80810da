/*
 * Captures while the C library's heap lock is held by the very thread that captures: brk(2), which malloc calls with
 * its arena locked, is made to raise SIGSYS (seccomp), and the handler captures. And captures at any moment of a loop
 * of malloc and free, by a timer.
 */
#include "pyunwind.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { ROOM = 96, PLANS = 8, BLOCK = 100000, MANY_BLOCKS = 100 };

/* What one memory is asked for, and what it answered. */
struct plan {
    const pyunw_target *target;
    pyunw_addr other; /* thread state of a thread that rests */
    int text;         /* descriptors */
    int json;
    int own_count;
    int other_count;
    int text_result;
    int json_result;
    pyunw_status own_status;
    pyunw_status other_status;
    pyunw_frame own_frames[ROOM];
    pyunw_frame other_frames[ROOM];
};

static struct plan plans[PLANS];
static int plan_count;
static int handler_allocates;
static volatile int traps;
static void *break_before;

static uintptr_t pc_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
    return (uintptr_t)context->uc_mcontext.pc;
#endif
}

/* brk(2) that cannot be done returns the break as it is; malloc then takes memory by mmap(2). */
static void refuse_brk(ucontext_t *context)
{
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RAX] = (greg_t)(uintptr_t)break_before;
#else
    context->uc_mcontext.regs[0] = (uintptr_t)break_before;
#endif
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    refuse_brk(context);
    if (traps++ > 0)
        return;
    if (handler_allocates)
        free(malloc(BLOCK)); /* never returns: its own thread holds the lock */
    for (int n = 0; n < plan_count; n++) {
        struct plan *plan = &plans[n];
        plan->own_count = pyunw_capture_current(plan->target, plan->own_frames, ROOM, &plan->own_status);
        plan->other_count = pyunw_capture(plan->target, plan->other, plan->other_frames, ROOM, &plan->other_status);
        plan->text_result = pyunw_write_text_threads(plan->target, plan->text, 0, 0, 0);
        plan->json_result = pyunw_write_json_threads(plan->target, plan->json);
    }
}

struct plan *add_plan(const pyunw_target *target, pyunw_addr other, int text, int json)
{
    plans[plan_count] = (struct plan){.target = target, .other = other, .text = text, .json = json};
    return &plans[plan_count++];
}

/* From here on and for good, each brk(2) of this process is a SIGSYS. */
static int trap_brk(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_brk, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_trap;
    if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/*
 * Allocate until malloc asks for more memory with its arena locked, and capture there: how often it did, or -1.
 * allocate: the handler is to call malloc instead, which shows that the lock is held: this call never returns.
 */
int capture_in_malloc(int allocate)
{
    void *blocks[MANY_BLOCKS];
    int count = 0;
    handler_allocates = allocate;
    break_before = sbrk(0);
    mallopt(M_MMAP_THRESHOLD, 2 * BLOCK);
    if (trap_brk() != 0)
        return -1;
    while (traps == 0 && count < MANY_BLOCKS)
        blocks[count++] = malloc(BLOCK);
    while (count > 0)
        free(blocks[--count]);
    return traps;
}

/* ---- At any moment ---- */

struct tally {
    long captures;
    long in_libc; /* of these, the interrupted instruction was the C library's */
    long wrong;   /* of these, not the stack that it is */
};

static const pyunw_target *timed_target;
static struct tally tally;
static timer_t timer;
static uintptr_t libc_begin, libc_end;
static pyunw_raw_frame expected[ROOM];
static int expected_count;

static int is_expected(const pyunw_frame *frames, int count, const pyunw_status *status)
{
    if (count != expected_count || status->end != PYUNW_COMPLETE)
        return 0;
    for (int n = 0; n < count; n++) {
        if (frames[n].raw.code != expected[n].code || frames[n].raw.offset != expected[n].offset)
            return 0;
    }
    return 1;
}

/* Once, 200 us from now: armed anew after each capture, so that the loop goes on however long captures take. */
static int arm_timer(void)
{
    struct itimerspec once = {.it_value = {0, 200000}};
    return timer_settime(timer, 0, &once, NULL);
}

static void on_timer(int signal, siginfo_t *info, void *context)
{
    static pyunw_frame frames[ROOM];
    pyunw_status status;
    (void)signal;
    (void)info;
    uintptr_t pc = pc_of(context);
    int count = pyunw_capture_current(timed_target, frames, ROOM, &status);
    tally.captures++;
    tally.in_libc += pc >= libc_begin && pc < libc_end;
    tally.wrong += !is_expected(frames, count, &status);
    arm_timer();
}

/* malloc and free under a timer of up to 5 kHz until wanted captures were made of an instruction of the C library's. */
int capture_by_timer(const pyunw_target *target, uintptr_t begin, uintptr_t end, long wanted, struct tally *result)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
    pyunw_status status;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    action.sa_sigaction = on_timer;
    timed_target = target;
    libc_begin = begin;
    libc_end = end;
    expected_count = pyunw_walk(target, 0, expected, ROOM, &status);
    tally = (struct tally){0};
    if (expected_count <= 0 || status.end != PYUNW_COMPLETE || sigaction(SIGPROF, &action, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || arm_timer() != 0)
        return -1;
    while (((volatile struct tally *)&tally)->in_libc < wanted) {
        void *blocks[16];
        for (size_t n = 0; n < 16; n++)
            blocks[n] = malloc(2000 + 1000 * n); /* beyond the thread's own cache: the arena's lock is taken */
        for (size_t n = 0; n < 16; n++)
            free(blocks[n]);
    }
    timer_delete(timer);
    *result = tally;
    return 0;
}
