/*
 * Read a crashed process. It is stopped for it, so that its other threads stand as well.
 */
#include "crash_snapshot.h"

#include "abort_message.h"
#include "native_ids.h"
#include "native_stacks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Python ---- */

/* err: of the opening of the target. */
static void read_threads(const pyunw_target *target, int err, const struct crash_wish *wish,
                         struct crash_snapshot *crash)
{
    struct snapshot *snapshot = &crash->snapshot;
    pyunw_target_info about;
    crash->has_python = err != PYUNW_ERR_NO_PYTHON;
    crash->python_error = err;
    crash->is_finalizing = -1;
    if (pyunw_target_describe(target, &about) == 0) {
        snapshot->version = about.version;
        snapshot->free_threaded = about.free_threaded;
    }
    if (err < 0)
        return;
    snapshot->with_locals = wish->locals;
    snapshot->list_error = snapshot_read_threads(target, true, snapshot);
    crash->is_finalizing = pyunw_is_finalizing(target);
}

static void read_python(const struct standing *standing, const struct crash_wish *wish, struct crash_snapshot *crash,
                        pyunw_target *target)
{
    static char room[1 << 21]; /* for the pages that are read of the process */
    const pyunw_options options = {.size = sizeof options, .room = room, .room_size = sizeof room};
    *target = (pyunw_target){0};
    read_threads(target, pyunw_open_paused(target, standing->pause, &options), wish, crash);
    native_ids_match(&crash->snapshot);
}

/* ---- Threads that Python does not know ---- */

static const struct thread *find_crashed(const struct snapshot *snapshot)
{
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        if (is_crashed(snapshot, &snapshot->threads[n]))
            return &snapshot->threads[n];
    }
    return NULL;
}

/* Without native stacks only the one that crashed is told, if it is none of Python's. */
static void add_crashed(struct snapshot *snapshot)
{
    const struct task *task = process_info_task(&snapshot->info, (uint64_t)snapshot->crash.thread);
    if (task == NULL || find_crashed(snapshot) != NULL)
        return;
    struct thread *grown = realloc(snapshot->threads, (snapshot->thread_count + 1) * sizeof *grown);
    if (grown == NULL)
        return;
    snapshot->threads = grown;
    grown[snapshot->thread_count++] = (struct thread){.task = task, .status = {.end = PYUNW_NO_FRAME}};
}

/* ---- The exception of the thread that crashed ---- */

/* A thread that is in several interpreters has one in each at most: the innermost is told. */
static void read_exception(const pyunw_target *target, struct crash_snapshot *crash)
{
    const struct snapshot *snapshot = &crash->snapshot;
    for (size_t n = 0; n < snapshot->thread_count && crash->has_exception == 0; n++) {
        const struct thread *thread = &snapshot->threads[n];
        pyunw_exception exception;
        if (!thread->is_python || !is_crashed(snapshot, thread))
            continue;
        crash->has_exception = pyunw_exception_find(target, thread->python.tstate, &exception);
        int err = crash->has_exception == 1 ? pyunw_describe_exception(target, &exception, &crash->exception) : 0;
        if (err < 0)
            crash->has_exception = err;
    }
}

/* ---- Native stacks ---- */

static void read_modules(struct crash_snapshot *crash)
{
    pyunw_native *native = crash->snapshot.native;
    int count = pyunw_native_modules(native, NULL, 0);
    crash->modules = count > 0 ? calloc((size_t)count, sizeof *crash->modules) : NULL;
    if (crash->modules != NULL)
        crash->module_count = pyunw_native_modules(native, crash->modules, count);
}

static void read_native(const struct standing *standing, const pyunw_target *target, struct crash_snapshot *crash)
{
    struct snapshot *snapshot = &crash->snapshot;
    const pyunw_options options = {
        .size = sizeof options, .message = crash->why_native, .message_size = sizeof crash->why_native};
    int err = pyunw_native_open(&snapshot->native, standing->pause, &options);
    if (err == 0)
        err = native_stacks_read(target, snapshot);
    if (err < 0 && crash->why_native[0] == '\0')
        (void)snprintf(crash->why_native, sizeof crash->why_native, "%s", pyunw_strerror(err));
    if (err == 0)
        read_modules(crash);
}

/* ---- All ---- */

static char *read_maps(pid_t pid)
{
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    return read_whole_list(path, &size);
}

static void keep_crashed_task(struct process_info *info, pid_t thread)
{
    const struct task *task = process_info_task(info, (uint64_t)thread);
    if (task != NULL)
        info->tasks[0] = *task;
    info->task_count = task != NULL ? 1 : 0;
}

int crash_snapshot_read(pid_t pid, const struct crash_wish *wish, struct crash_snapshot *crash, char *message,
                        size_t message_size)
{
    struct standing standing;
    pyunw_target target;
    struct snapshot *snapshot = &crash->snapshot;
    *crash = (struct crash_snapshot){0};
    int err = standing_begin_within(pid, wish->limit, &standing, message, message_size);
    if (err < 0) {
        process_info_free(&standing.before);
        return err;
    }
    standing.native = wish->native;
    (void)process_info_read(pid, &snapshot->info);
    standing_tell_states(&standing, &snapshot->info);
    snapshot->crash = (struct crash){.is_known = true, .thread = wish->thread, .context = wish->context};
    read_python(&standing, wish, crash, &target);
    if (wish->crashed)
        read_exception(&target, crash);
    add_crashed(snapshot);
    if (wish->native)
        read_native(&standing, &target, crash);
    crash->maps = read_maps(pid);
    if (wish->crashed)
        crash->abort_message = abort_message_read(pid, crash->modules, crash->module_count);
    pyunw_close(&target);
    if (!standing_end(&standing, message, message_size))
        (void)snprintf(crash->why_native, sizeof crash->why_native, "the time to read it was over");
    native_stacks_describe(snapshot);
    snapshot_put_crashed_first(snapshot);
    return 0;
}

/* Which Python it is does not change under the reading. */
static void read_version(pid_t pid, struct snapshot *snapshot)
{
    pyunw_target target = {0};
    pyunw_target_info about;
    (void)pyunw_open_pid(&target, pid, NULL);
    if (pyunw_target_describe(&target, &about) == 0) {
        snapshot->version = about.version;
        snapshot->free_threaded = about.free_threaded;
    }
    pyunw_close(&target);
}

int crash_snapshot_read_crashed(pid_t pid, const struct crash_wish *wish, struct crash_snapshot *crash)
{
    const pyunw_target no_target = {0};
    struct snapshot *snapshot = &crash->snapshot;
    *crash = (struct crash_snapshot){.python_error = PYUNW_ERR_PERMISSION, .is_finalizing = -1};
    if (wish->context == 0 || !wish->native)
        return PYUNW_ERR_ARGUMENT;
    const pyunw_options options = {
        .size = sizeof options, .message = crash->why_native, .message_size = sizeof crash->why_native};
    int err = pyunw_native_open_pid(&snapshot->native, pid, &options);
    if (err < 0)
        return err;
    read_version(pid, snapshot);
    (void)process_info_read(pid, &snapshot->info);
    snapshot->crash = (struct crash){.is_known = true, .thread = wish->thread, .context = wish->context};
    keep_crashed_task(&snapshot->info, wish->thread);
    err = native_stacks_read(&no_target, snapshot);
    read_modules(crash);
    crash->maps = read_maps(pid);
    crash->abort_message = abort_message_read(pid, crash->modules, crash->module_count);
    native_stacks_describe(snapshot);
    return err;
}

/* Of the main thread alone: the others have ended, or cannot be asked for their registers. */
static void read_ending_native(pid_t pid, const struct crash_wish *wish, const pyunw_target *target,
                               struct crash_snapshot *crash)
{
    struct snapshot *snapshot = &crash->snapshot;
    const pyunw_options options = {
        .size = sizeof options, .message = crash->why_native, .message_size = sizeof crash->why_native};
    int err = pyunw_native_open_pid(&snapshot->native, pid, &options);
    if (err < 0)
        return;
    snapshot->crash = (struct crash){.is_known = true, .thread = wish->thread, .context = wish->context};
    /* The kernel tells of the main thread first. What is left of others is ending, and perhaps known to Python. */
    size_t task_count = snapshot->info.task_count;
    snapshot->info.task_count = task_count > 0 && snapshot->info.tasks[0].id == wish->thread ? 1 : 0;
    (void)native_stacks_read(target, snapshot);
    snapshot->info.task_count = task_count;
    snapshot->crash = (struct crash){0}; /* it has not crashed */
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        struct thread *thread = &snapshot->threads[n];
        if (thread->native == NULL || thread->task->id == wish->thread)
            continue;
        native_stack_free(thread->native);
        thread->native = NULL;
    }
    read_modules(crash);
}

/* Others have ended, by which the threads before 3.11 are told apart. */
static void match_main(const struct crash_wish *wish, struct snapshot *snapshot)
{
    const struct task *task = NULL;
    for (size_t n = 0; n < snapshot->info.task_count; n++) {
        if (snapshot->info.tasks[n].id == wish->thread)
            task = &snapshot->info.tasks[n];
    }
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        struct thread *thread = &snapshot->threads[n];
        if (thread->task == NULL && wish->thread_pointer != 0 && thread->python.thread_id == wish->thread_pointer)
            thread->task = task;
    }
}

void crash_snapshot_describe_ending(struct crash_snapshot *crash)
{
    native_stacks_describe(&crash->snapshot);
}

void crash_snapshot_read_ending(pid_t pid, const struct crash_wish *wish, struct crash_snapshot *crash)
{
    struct process_info *info = &crash->snapshot.info;
    pyunw_target own = {0};
    const pyunw_target *target = wish->target != NULL ? wish->target : &own;
    *crash = (struct crash_snapshot){.native_of_one = true};
    read_threads(target, wish->target != NULL ? 0 : pyunw_open_pid(&own, pid, NULL), wish, crash);
    (void)process_info_read(pid, info);
    for (size_t n = 0; n < info->task_count; n++)
        info->tasks[n].state = 0; /* it tells of the end, not of before */
    native_ids_match(&crash->snapshot);
    match_main(wish, &crash->snapshot);
    crash->maps = read_maps(pid);
    if (wish->context != 0)
        read_ending_native(pid, wish, target, crash);
    pyunw_close(&own);
}

void crash_snapshot_free(struct crash_snapshot *crash)
{
    free(crash->maps);
    free(crash->abort_message);
    free(crash->modules);
    snapshot_free(&crash->snapshot);
}
