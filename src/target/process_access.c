/*
 * What a process is (/proc/PID/status), and which rule of the system keeps it from being read.
 * Signal-safe: no.
 */
#include "process_access.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The process ---- */

static void take_line(const char *line, struct process_status *status)
{
    size_t length = strcspn(line, "\n");
    if (strncmp(line, "Name:\t", 6) == 0) {
        size_t size = length - 6 < sizeof status->name ? length - 6 : sizeof status->name - 1;
        memcpy(status->name, line + 6, size);
        status->name[size] = '\0';
    } else if (strncmp(line, "State:\t", 7) == 0) {
        status->state = line[7];
    } else if (strncmp(line, "Tgid:\t", 6) == 0) {
        status->group = (pid_t)strtol(line + 6, NULL, 10);
    } else if (strncmp(line, "TracerPid:\t", 11) == 0) {
        status->tracer = (pid_t)strtol(line + 11, NULL, 10);
    } else if (strncmp(line, "Uid:\t", 5) == 0) {
        status->user = (uid_t)strtoul(line + 5, NULL, 10);
    } else if (strncmp(line, "VmSize:\t", 8) == 0) {
        status->has_memory = true;
    } else if (strncmp(line, "Kthread:\t", 9) == 0) { /* Linux 6.8+ */
        status->kernel_thread = line[9] == '1';
    }
}

static int err_from_errno(int error)
{
    return error == ENOENT || error == ESRCH ? PYUNW_ERR_NO_PROCESS : PYUNW_ERR_SYSTEM;
}

int pyunw_process_status_read(pid_t pid, struct process_status *status)
{
    char path[64];
    char line[256];
    char buffer[4096];
    *status = (struct process_status){0};
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        /* Without /proc nothing can be said of any process. */
        int error = errno;
        bool has_proc = access("/proc/self/status", R_OK) == 0;
        errno = error;
        return has_proc ? err_from_errno(error) : PYUNW_ERR_SYSTEM;
    }
    /* Nothing of interest stands behind the size of its memory, and each read of the file costs a call. */
    (void)setvbuf(file, buffer, _IOFBF, sizeof buffer);
    while (!status->has_memory && fgets(line, sizeof line, file) != NULL)
        take_line(line, status);
    int error = ferror(file) ? errno : 0;
    (void)fclose(file);
    errno = error;
    if (error != 0)
        return err_from_errno(error);
    return status->group != 0 ? PYUNW_OK : PYUNW_ERR_NO_PROCESS;
}

/* ---- Access ---- */

static bool holds_sys_ptrace(void)
{
    enum { SYS_PTRACE_BIT = 19 };
    char line[256];
    uint64_t effective = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "CapEff:\t", 8) == 0)
            effective = strtoull(line + 8, NULL, 16);
    }
    (void)fclose(file);
    return (effective >> SYS_PTRACE_BIT & 1u) != 0;
}

static int read_yama_scope(void)
{
    char text[16] = "";
    FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    if (file == NULL)
        return -1;
    bool read = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file);
    return read ? (int)strtol(text, NULL, 10) : -1;
}

struct access_facts pyunw_access_facts(uid_t user)
{
    return (struct access_facts){
        .own_user = geteuid(),
        .user = user,
        .has_sys_ptrace = holds_sys_ptrace(),
        .yama_scope = read_yama_scope(),
    };
}

static const char as_root[] = "run as root (sudo), or with CAP_SYS_PTRACE (in a container: --cap-add=SYS_PTRACE)";

static void explain_same_user(const struct access_facts *facts, pid_t pid, char *text, size_t size)
{
    int scope = facts->yama_scope;
    if (scope == 1)
        (void)snprintf(
            text, size,
            "Yama lets a process be read only by its ancestors (kernel.yama.ptrace_scope is 1). Either %s; or "
            "allow it to your own processes: sysctl kernel.yama.ptrace_scope=0",
            as_root);
    else if (scope == 2)
        (void)snprintf(text, size,
                       "Yama lets processes be read only with CAP_SYS_PTRACE (kernel.yama.ptrace_scope is 2). Either "
                       "%s; or allow it to your own processes: sysctl kernel.yama.ptrace_scope=0",
                       as_root);
    else if (scope >= 3)
        (void)snprintf(
            text, size,
            "Yama lets no process be read (kernel.yama.ptrace_scope is %d), and keeps to that until the next "
            "boot. Either boot without that setting, or let the program report its own stacks (pyunwind.h)",
            scope);
    else
        (void)snprintf(text, size,
                       "process %d belongs to the same user, but holds more capabilities, or has forbidden it (it "
                       "changed its user, or called prctl(PR_SET_DUMPABLE, 0)). Either %s; or start it without that",
                       (int)pid, as_root);
}

void pyunw_explain_refusal(const struct access_facts *facts, pid_t pid, char *text, size_t size)
{
    if (facts->has_sys_ptrace && facts->yama_scope < 3)
        (void)snprintf(
            text, size,
            "CAP_SYS_PTRACE is held, but process %d belongs to another user namespace, or a sandbox (seccomp, "
            "SELinux, AppArmor) refuses. Either run outside of the container, or allow process_vm_readv and "
            "ptrace in its profile",
            (int)pid);
    else if (facts->user != facts->own_user)
        (void)snprintf(
            text, size,
            "process %d belongs to user %u, and this is user %u without CAP_SYS_PTRACE. Either %s; or run as "
            "user %u",
            (int)pid, (unsigned)facts->user, (unsigned)facts->own_user, as_root, (unsigned)facts->user);
    else
        explain_same_user(facts, pid, text, size);
}

/* ---- Refusals ---- */

int pyunw_refuse(const pyunw_options *options, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (options->message != NULL && options->message_size > 0)
        (void)vsnprintf(options->message, options->message_size, format, arguments);
    va_end(arguments);
    return err;
}

int pyunw_refuse_permission(const pyunw_options *options, pid_t pid, uid_t user)
{
    char why[512];
    struct access_facts facts = pyunw_access_facts(user);
    pyunw_explain_refusal(&facts, pid, why, sizeof why);
    return pyunw_refuse(options, PYUNW_ERR_PERMISSION, "not permitted: %s", why);
}

int pyunw_check_alive(pid_t pid, struct process_status *status, const pyunw_options *options)
{
    int err = pyunw_process_status_read(pid, status);
    if (err == PYUNW_ERR_NO_PROCESS)
        return pyunw_refuse(options, err, "there is no process %d", (int)pid);
    if (err < 0)
        return pyunw_refuse(options, err, "/proc/%d/status cannot be read: %s", (int)pid, strerror(errno));
    if (status->state == 'Z' || status->state == 'X')
        return pyunw_refuse(options, PYUNW_ERR_NO_PROCESS,
                            "process %d (%s) has ended: a zombie that its parent has not collected yet", (int)pid,
                            status->name);
    if (status->group != pid)
        return pyunw_refuse(options, PYUNW_ERR_NO_PROCESS, "%d is a thread of process %d: open that", (int)pid,
                            (int)status->group);
    if (status->kernel_thread)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON, "%d (%s) is a thread of the kernel", (int)pid, status->name);
    if (!status->has_memory)
        return pyunw_refuse(options, PYUNW_ERR_NO_PROCESS,
                            "process %d (%s) has no memory any more: it is ending, or a thread of the kernel", (int)pid,
                            status->name);
    return PYUNW_OK;
}
