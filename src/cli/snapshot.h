/*
 * All that a dump tells of one process, read once and then owned.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_SNAPSHOT_H
#define PYUNW_CLI_SNAPSHOT_H

#include "frame_locals.h"
#include "process_info.h"
#include "standing.h"

#include <pyunwind_remote.h>

/* A text of the target: valid UTF-8, which may hold NULs. */
struct text {
    char *bytes; /* NULL: could not be read */
    size_t length;
    bool cut; /* it is longer than this */
};

struct frame {
    struct text filename;
    struct text name;
    struct text qualname; /* its bytes are NULL before 3.11, which keeps none */
    pyunw_position position;
    pyunw_raw_frame raw;
    struct frame_locals locals;
};

/* Native frames of a thread, and how its Python frames lie among them (native_stacks.h). */
struct native_stack {
    int error;                  /* 0, or why there are no frames: enum pyunw_err */
    int end;                    /* enum pyunw_native_end */
    pyunw_native_frame *frames; /* innermost first */
    int frame_count;
    pyunw_merged_frame *rows; /* NULL: they could not be merged */
    int row_count;
};

struct thread {
    pyunw_thread python;
    const struct task *task; /* the kernel's, in info.tasks; NULL: not known */
    int error;               /* 0, or why there are no frames: enum pyunw_err */
    pyunw_status status;
    struct frame *frames; /* innermost first */
    int frame_count;
    bool is_python;              /* else a task that Python does not know, with nothing but native frames */
    struct native_stack *native; /* NULL: not asked for, or of no known task */
};

/* The end of a process, as its core file tells it. */
struct crash {
    bool is_known;    /* it is of a core file */
    bool has_threads; /* that file tells of threads, and so of a signal, if there was one */
    int signal;       /* 0: none, it ran when the core was made */
    int code;
    bool has_code;
    pyunw_addr address;
    bool has_address;
    pid_t thread; /* the kernel's id of the one that crashed; 0: none */
    /* Where its registers lie in the process, since it waits in its handler now; 0: it does not. */
    pyunw_addr context;
};

struct snapshot {
    bool with_locals;
    int error; /* 0, or why it could not be opened */
    struct process_info info;
    uint32_t version; /* PY_VERSION_HEX; without a release level only the minor is known */
    int free_threaded;
    struct thread *threads; /* as pyunw_threads_next() tells them: newest first */
    size_t thread_count;
    int list_error;       /* 0, or why the list of threads ends early */
    pyunw_native *native; /* owns the texts of the native frames; NULL: they were not asked for, or are not to be had */
    int native_error;     /* 0, or why they are not, though they were asked for: the message says more */
    struct crash crash;
};

/* Is it the thread that the process crashed in? */
static inline bool is_crashed(const struct snapshot *snapshot, const struct thread *thread)
{
    return snapshot->crash.thread != 0 && thread->task != NULL && thread->task->id == snapshot->crash.thread;
}

/*
 * Read a process, as it stands or, where it does not, while it runs, the variables of its frames
 * where that is wanted: true, or false with a message of why, and what could be done. True with native_error is without
 * native stacks that were asked for, and the message of why. What was read is to be freed, also after false.
 */
bool snapshot_read(pid_t pid, const struct standing *standing, bool with_locals, struct snapshot *snapshot,
                   char *message, size_t message_size);

/* The part of it that is read of an open target: 0, or why the list of threads ends early. stands: it does not run. */
int snapshot_read_threads(const pyunw_target *target, bool stands, struct snapshot *snapshot);

/* The states of the thread that crashed, which may have one in each of several interpreters. */
void snapshot_put_crashed_first(struct snapshot *snapshot);

void snapshot_free(struct snapshot *snapshot);

#endif
