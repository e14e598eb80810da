/*
 * refuse() lets the kernel refuse system calls to the calling thread, as containers' and browsers' sandboxes do.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

const int number_of_process_vm_readv = SYS_process_vm_readv;
const int number_of_openat = SYS_openat;
const int number_of_pread64 = SYS_pread64;
const int number_of_pipe2 = SYS_pipe2;
const int number_of_rt_sigaction = SYS_rt_sigaction;

enum { MANY_CALLS = 8 };

/* Refuse count system calls with an error from now on: 0, or a negative errno. */
int refuse(const int *numbers, int count, int error)
{
    struct sock_filter filter[5 + 2 * MANY_CALLS];
    unsigned short length = 0;
    if (count < 0 || count > MANY_CALLS)
        return -EINVAL;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 1, 0);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int n = 0; n < count; n++) {
        unsigned verdict = SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA);
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[n], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return -errno;
    return 0;
}
