/*
 * What /proc tells of a process and its tasks (the kernel's threads).
 * Include from: cli.
 */
#ifndef PYUNW_CLI_PROCESS_INFO_H
#define PYUNW_CLI_PROCESS_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct task {
    pid_t id;       /* as this process's pid namespace numbers it */
    pid_t inner_id; /* as the task's own does */
    char state;     /* 'R' running, 'S' sleeping, ... (proc(5)); 0: unknown */
    size_t name_length;
    char name[64]; /* comm: bytes of any kind */
};

struct process_info {
    pid_t pid;
    pid_t parent;
    uint64_t start;   /* clock ticks after boot: tells a process from another of the same number */
    uint64_t program; /* tells what it executes from what it does after another execve() */
    double uptime;    /* seconds; less than 0: unknown */
    char *command;    /* the arguments, each ended by a NUL; empty for one that has none */
    size_t command_size;
    char *executable;    /* NULL: unknown */
    char *control_group; /* its path; NULL: unknown */
    struct task *tasks;
    size_t task_count;
    bool lost_tasks; /* one that was listed could not be looked at any more: it has ended, as far as is known */
    int error; /* errno: why something above is missing, ENOENT or ESRCH where the process has ended; 0: nothing is */
};

/* False where not all could be read, for which error says why. What was read is to be freed, also after false. */
bool process_info_read(pid_t pid, struct process_info *info);

void process_info_free(struct process_info *info);

/* False where memory is short: nothing is to be freed then. */
bool process_info_copy(const struct process_info *info, struct process_info *copy);

/* Is the process there still, be it as a zombie? */
bool process_info_is_there(const struct process_info *info);

/* Its parent, 0 for one that has none; -1: it has ended. */
pid_t process_parent(pid_t pid);

/* What has become of the process since the info was read. */
enum process_fate {
    PROCESS_GOES_ON,
    PROCESS_REPLACED_PROGRAM, /* it executes another: nothing that was read before is there any more */
    PROCESS_ENDED,
    PROCESS_UNKNOWN, /* it cannot be looked at again: errno says why */
};

enum process_fate process_info_fate(const struct process_info *info);

/* What a process's files in /proc say when it has ended: before it was asked, or meanwhile. */
bool has_ended_by(int error);

/* The whole of a file, with a NUL behind it, to be freed; *size without that. NULL (errno) where it cannot be read. */
char *read_whole_file(const char *path, size_t *size);

/* The same of a file that the kernel gives in pieces, as a list of mappings. */
char *read_whole_list(const char *path, size_t *size);

/* The task whose id in its own namespace is inner_id, or NULL. */
const struct task *process_info_task(const struct process_info *info, uint64_t inner_id);

#endif
