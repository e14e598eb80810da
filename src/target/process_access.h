/*
 * What a process is, and why it may not be read.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_ACCESS_H
#define PYUNW_TARGET_PROCESS_ACCESS_H

#include "pyunwind.h"

#include <stdbool.h>
#include <sys/types.h>

/* What /proc/PID/status says. */
struct process_status {
    char name[64];   /* the kernel's name of its main thread */
    char state;      /* 'Z': a zombie */
    pid_t group;     /* the process, where the number is a thread's */
    pid_t tracer;    /* who traces it; 0: nobody, or nobody that can be seen from here */
    uid_t user;      /* real, effective and saved differ only while a process changes them */
    bool has_memory; /* not a thread of the kernel, and not a process that is ending */
    bool kernel_thread;
};

/* 0, PYUNW_ERR_NO_PROCESS, PYUNW_ERR_SYSTEM. */
int pyunw_process_status_read(pid_t pid, struct process_status *status);

/* What decides whether this process may read another (ptrace(2), "Ptrace access mode checking"). */
struct access_facts {
    uid_t own_user;
    uid_t user;          /* the other process's */
    bool has_sys_ptrace; /* CAP_SYS_PTRACE is held */
    int yama_scope;      /* kernel.yama.ptrace_scope; -1: no Yama */
};

struct access_facts pyunw_access_facts(uid_t user);

/* Say in words which of the rules refused, and two ways out. */
void pyunw_explain_refusal(const struct access_facts *facts, pid_t pid, char *text, size_t size);

/* ---- For the functions that take pyunw_options: the code, and its words in options->message ---- */

__attribute__((format(printf, 3, 4))) int pyunw_refuse(const pyunw_options *options, int err, const char *format, ...);

/* PYUNW_ERR_PERMISSION, explained. */
int pyunw_refuse_permission(const pyunw_options *options, pid_t pid, uid_t user);

/* 0 for a process of which there is something to read, and its status. */
int pyunw_check_alive(pid_t pid, struct process_status *status, const pyunw_options *options);

#endif
