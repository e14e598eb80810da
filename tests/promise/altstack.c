/*
 * Calls made in a signal handler on an alternate stack of a given size, with nothing below it: in a child process, so
 * that a stack that is too small is seen as its death.
 */
#include "pyunwind.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "syscalls.h"
#include "target.h"

enum { ROOM = 96, PAGE = 4096 };

/* Shared with the child: what it is to call and what came of it. */
struct handled {
    long result;
    pyunw_status status;
    pyunw_frame frames[ROOM];
    pyunw_raw_frame raw[ROOM];
};

static struct handled *handled;
static void *call;
static uint64_t words[6];

static void on_signal(int signal)
{
    (void)signal;
    handled->result = ((long (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))(uintptr_t)call)(
        words[0], words[1], words[2], words[3], words[4], words[5]);
}

struct handled *make_room(void)
{
    handled = mmap(NULL, sizeof *handled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return handled == MAP_FAILED ? NULL : handled;
}

/* A stack of exactly size bytes; what is below it cannot be touched. */
static int take_alternate_stack(size_t size)
{
    size_t pages = (size + PAGE - 1) / PAGE * PAGE;
    uint8_t *room = mmap(NULL, PAGE + pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || mprotect(room + PAGE, pages, PROT_READ | PROT_WRITE) != 0)
        return -1;
    stack_t stack = {.ss_sp = room + PAGE, .ss_size = size};
    struct sigaction action = {.sa_flags = SA_ONSTACK};
    action.sa_handler = on_signal;
    if (sigaction(SIGUSR2, &action, NULL) != 0)
        return -1;
    return sigaltstack(&stack, NULL);
}

/* From here on guarded reads fail: what is still read is read by loads. */
static int refuse_guarded_reads(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pipe2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/*
 * Call function(arguments...) in a handler on an alternate stack of size bytes, in a child process. damaged: address
 * of a frame whose link to its caller is first set to `link`, in the child; 0: none. loads_only: guarded reads are
 * made to fail there.
 * Returns the child's wait status; 0 where it lived to return from the handler.
 */
int call_in_handler(void *function, const uint64_t *arguments, size_t size, const pyunw_target *target,
                    pyunw_addr damaged, pyunw_addr link, int loads_only)
{
    int status = 0;
    memset(handled, 0, sizeof *handled);
    call = function;
    memcpy(words, arguments, sizeof words);
    long child = raw_syscall6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (child == 0) {
        if (take_alternate_stack(size) != 0 || (loads_only && refuse_guarded_reads() != 0))
            raw_syscall3(SYS_exit_group, 1, 0, 0);
        if (damaged != 0) {
            const struct layout_frame *at = &open_target(target)->layout.at.frame;
            *(uint64_t *)(uintptr_t)(damaged + at->previous) = link;
        }
        raw_syscall3(SYS_tgkill, raw_syscall0(SYS_getpid), raw_syscall0(SYS_gettid), SIGUSR2);
        raw_syscall3(SYS_exit_group, 0, 0, 0);
    }
    if (child < 0 || raw_syscall4(SYS_wait4, child, (long)&status, 0, 0) != child)
        return -1;
    return status;
}

/* A call of known need, to see that a stack that is too small is seen. */
__attribute__((noinline)) long use_of_stack(uint64_t bytes)
{
    volatile uint8_t *room = __builtin_alloca(bytes);
    for (uint64_t n = 0; n < bytes; n++)
        room[n] = 0;
    return (long)room[bytes / 2];
}
