/*
 * Read a core file: what it says of the process, its thread states, and the stack of each.
 */
#include "core_snapshot.h"

#include "native_stacks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The process ---- */

static bool take_tasks(const pyunw_core *core, size_t count, struct process_info *info)
{
    pyunw_core_thread thread;
    info->tasks = calloc(count + 1, sizeof *info->tasks);
    for (size_t n = 0; info->tasks != NULL && n < count; n++) {
        if (pyunw_core_thread_at(core, n, &thread) < 0)
            continue;
        struct task *task = &info->tasks[info->task_count++];
        *task = (struct task){.id = thread.native_id, .inner_id = thread.native_id};
        task->name_length = strnlen(thread.name, sizeof thread.name);
        memcpy(task->name, thread.name, task->name_length);
    }
    return info->tasks != NULL;
}

static bool take_process(const pyunw_core *core, const pyunw_core_info *about, struct snapshot *snapshot)
{
    struct process_info *info = &snapshot->info;
    *info = (struct process_info){.pid = about->pid, .parent = about->parent, .uptime = -1};
    snapshot->crash = (struct crash){
        .is_known = true,
        .has_threads = about->thread_count > 0,
        .signal = about->signal,
        .code = about->signal_code,
        .has_code = about->has_signal_code != 0,
        .address = about->signal_address,
        .has_address = about->has_signal_address != 0,
        .thread = about->crashed,
    };
    info->command = malloc(about->command_size + 1);
    if (info->command != NULL && about->command_size > 0) {
        memcpy(info->command, about->command, about->command_size);
        info->command_size = about->command_size;
    }
    if (about->executable != NULL && *about->executable != '\0')
        info->executable = strdup(about->executable);
    return info->command != NULL && take_tasks(core, about->thread_count, info);
}

/* ---- Which thread of Python is which of the kernel ---- */

/*
 * pthread_self() is the thread pointer less a constant of the C library: 0 on x86-64; elsewhere what it is for threads
 * of which both are known (3.11+), or for the main thread, whose kernel id is the process's.
 */
static bool find_distance(const pyunw_core *core, const struct snapshot *snapshot, size_t count, uint64_t *distance)
{
#if defined(__x86_64__)
    (void)core, (void)snapshot, (void)count;
    *distance = 0;
    return true;
#else
    pyunw_core_thread task;
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        const pyunw_thread *thread = &snapshot->threads[n].python;
        bool is_main = (thread->flags & PYUNW_THREAD_MAIN) != 0;
        for (size_t at = 0; at < count; at++) {
            if (pyunw_core_thread_at(core, at, &task) < 0 || !task.has_thread_pointer)
                continue;
            bool same = thread->native_id != 0 ? (uint64_t)task.native_id == thread->native_id
                                               : is_main && task.native_id == snapshot->info.pid;
            *distance = task.thread_pointer - thread->thread_id;
            if (same)
                return true;
        }
    }
    return false;
#endif
}

static const struct task *find_task(const pyunw_core *core, const struct snapshot *snapshot, size_t count,
                                    uint64_t thread_pointer)
{
    pyunw_core_thread task;
    for (size_t n = 0; n < count; n++) {
        if (pyunw_core_thread_at(core, n, &task) == 0 && task.has_thread_pointer &&
            task.thread_pointer == thread_pointer)
            return process_info_task(&snapshot->info, (uint64_t)task.native_id);
    }
    return NULL;
}

/* By the thread pointer, which no pid namespace changes; else by the kernel's id (3.11+). */
static void match_tasks(const pyunw_core *core, struct snapshot *snapshot, size_t count)
{
    uint64_t distance = 0;
    bool has_distance = find_distance(core, snapshot, count, &distance);
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        struct thread *thread = &snapshot->threads[n];
        if (has_distance && thread->python.thread_id != 0)
            thread->task = find_task(core, snapshot, count, thread->python.thread_id + distance);
        if (thread->task == NULL && thread->python.native_id != 0)
            thread->task = process_info_task(&snapshot->info, thread->python.native_id);
    }
}

/* ---- The crash ---- */

static int read_native(const pyunw_core *core, const pyunw_target *target, struct snapshot *snapshot, char *message,
                       size_t message_size)
{
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = message_size};
    int err = pyunw_native_open_core(&snapshot->native, core, &options);
    if (err == 0)
        err = native_stacks_read(target, snapshot);
    if (err < 0 && message[0] == '\0')
        (void)snprintf(message, message_size, "%s", pyunw_strerror(err));
    native_stacks_describe(snapshot);
    return err;
}

bool core_snapshot_read(const pyunw_core *core, const struct core_wish *wish, struct snapshot *snapshot, char *message,
                        size_t message_size)
{
    pyunw_target target;
    pyunw_target_info python;
    pyunw_core_info about;
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = message_size};
    *snapshot = (struct snapshot){.with_locals = wish->locals};
    message[0] = '\0';
    snapshot->error = pyunw_core_describe(core, &about);
    if (snapshot->error == 0)
        snapshot->error = pyunw_open_core(&target, core, &options);
    if (snapshot->error < 0) {
        if (message[0] == '\0')
            (void)snprintf(message, message_size, "%s", pyunw_strerror(snapshot->error));
        return false;
    }
    (void)pyunw_target_describe(&target, &python);
    snapshot->version = python.version;
    snapshot->free_threaded = python.free_threaded;
    snapshot->list_error =
        take_process(core, &about, snapshot) ? snapshot_read_threads(&target, true, snapshot) : PYUNW_ERR_SYSTEM;
    match_tasks(core, snapshot, about.thread_count);
    if (wish->native)
        snapshot->native_error = read_native(core, &target, snapshot, message, message_size);
    pyunw_close(&target);
    snapshot_put_crashed_first(snapshot);
    if (snapshot->list_error < 0 && snapshot->thread_count == 0) {
        (void)snprintf(message, message_size, "the threads of process %d could not be read: %s", (int)about.pid,
                       pyunw_strerror(snapshot->list_error));
        return false;
    }
    return snapshot->error == 0;
}
