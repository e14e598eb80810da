/*
 * The native stacks of all tasks. They are walked while the process stands and described when it runs again, since
 * reading symbols and debuginfo takes the longer part.
 */
#include "native_stacks.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_BEGIN = 256, ROOM_MAX = 1 << 16 };

/* Room for a walk, kept from thread to thread and grown to the deepest stack. */
struct walk_room {
    pyunw_native_frame *frames;
    int max;
};

static bool grow_room(struct walk_room *room)
{
    int max = room->max == 0 ? ROOM_BEGIN : room->max * 4;
    pyunw_native_frame *frames = max <= ROOM_MAX ? realloc(room->frames, (size_t)max * sizeof *frames) : NULL;
    if (frames == NULL)
        return false;
    *room = (struct walk_room){frames, max};
    return true;
}

/* ---- Reading ---- */

/* context: where the walk is to begin, for a thread that waits in a handler; 0: where it stands. */
static int walk(pyunw_native *native, pid_t task, pyunw_addr context, const struct walk_room *room, int *end)
{
    return context != 0 ? pyunw_native_walk_context(native, task, context, room->frames, room->max, end)
                        : pyunw_native_walk(native, task, room->frames, room->max, end);
}

static struct native_stack *read_stack(pyunw_native *native, pid_t task, pyunw_addr context, struct walk_room *room)
{
    struct native_stack *stack = calloc(1, sizeof *stack);
    if (stack == NULL)
        return NULL;
    int count = walk(native, task, context, room, &stack->end);
    while (count == room->max && stack->end == PYUNW_NATIVE_TRUNCATED && grow_room(room))
        count = walk(native, task, context, room, &stack->end);
    if (count >= 0)
        stack->frames = malloc((size_t)count * sizeof *stack->frames + 1);
    if (count < 0 || stack->frames == NULL) {
        stack->error = count < 0 ? count : PYUNW_ERR_SYSTEM;
        return stack;
    }
    memcpy(stack->frames, room->frames, (size_t)count * sizeof *stack->frames);
    stack->frame_count = count;
    return stack;
}

/* NULL where memory is short. */
static pyunw_raw_frame *raw_frames(const struct thread *thread)
{
    pyunw_raw_frame *raw = calloc((size_t)thread->frame_count + 1, sizeof *raw);
    for (int n = 0; raw != NULL && n < thread->frame_count; n++)
        raw[n] = thread->frames[n].raw;
    return raw;
}

static void find_entries(pyunw_native *native, const pyunw_target *target, const struct thread *thread)
{
    pyunw_raw_frame *raw = raw_frames(thread);
    if (raw != NULL)
        (void)pyunw_native_find_entries(native, target, raw, thread->frame_count, thread->native->frames,
                                        thread->native->frame_count);
    free(raw);
}

static bool is_known(const struct snapshot *snapshot, const struct task *task)
{
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        if (snapshot->threads[n].task == task)
            return true;
    }
    return false;
}

/* Behind those that Python knows, in the kernel's order. */
static bool add_others(struct snapshot *snapshot)
{
    size_t most = snapshot->thread_count + snapshot->info.task_count + 1;
    struct thread *grown = realloc(snapshot->threads, most * sizeof *grown);
    if (grown == NULL)
        return false;
    snapshot->threads = grown;
    for (size_t n = 0; n < snapshot->info.task_count; n++) {
        if (!is_known(snapshot, &snapshot->info.tasks[n]))
            grown[snapshot->thread_count++] =
                (struct thread){.task = &snapshot->info.tasks[n], .status = {.end = PYUNW_NO_FRAME}};
    }
    return true;
}

int native_stacks_read(const pyunw_target *target, struct snapshot *snapshot)
{
    struct walk_room room = {0};
    int err = grow_room(&room) && add_others(snapshot) ? 0 : PYUNW_ERR_SYSTEM;
    for (size_t n = 0; err == 0 && n < snapshot->thread_count; n++) {
        struct thread *thread = &snapshot->threads[n];
        pyunw_addr context = is_crashed(snapshot, thread) ? snapshot->crash.context : 0;
        if (thread->task != NULL)
            thread->native = read_stack(snapshot->native, thread->task->id, context, &room);
        if (thread->native != NULL)
            find_entries(snapshot->native, target, thread);
    }
    free(room.frames);
    return err;
}

/* ---- Merging ---- */

static void merge(const struct thread *thread, struct native_stack *stack)
{
    int max = stack->frame_count + thread->frame_count;
    pyunw_raw_frame *raw = raw_frames(thread);
    stack->rows = calloc((size_t)max + 1, sizeof *stack->rows);
    int count = PYUNW_ERR_SYSTEM;
    if (raw != NULL && stack->rows != NULL && thread->error == 0)
        count = pyunw_native_merge(stack->frames, stack->frame_count, stack->end, raw, thread->frame_count,
                                   &thread->status, stack->rows, max);
    free(raw);
    if (count < 0) {
        free(stack->rows);
        stack->rows = NULL;
    }
    stack->row_count = count < 0 ? 0 : count;
}

void native_stacks_describe(struct snapshot *snapshot)
{
    for (size_t n = 0; snapshot->native != NULL && n < snapshot->thread_count; n++) {
        struct native_stack *stack = snapshot->threads[n].native;
        if (stack == NULL || stack->error < 0)
            continue;
        stack->error = pyunw_native_describe(snapshot->native, stack->frames, stack->frame_count);
        merge(&snapshot->threads[n], stack);
    }
}

void native_stack_free(struct native_stack *stack)
{
    if (stack == NULL)
        return;
    free(stack->frames);
    free(stack->rows);
    free(stack);
}

/* Before it runs anything else, a thread in take_gil has no loop inward of it. */
static bool takes_gil(const struct native_stack *stack)
{
    for (int n = 0; stack != NULL && n < stack->frame_count; n++) {
        if ((stack->frames[n].flags & PYUNW_NATIVE_EVALUATION_LOOP) != 0)
            return false;
        if ((stack->frames[n].flags & PYUNW_NATIVE_TAKES_GIL) != 0)
            return true;
    }
    return false;
}

bool waits_for_gil(const struct thread *thread)
{
    return (thread->python.flags & PYUNW_THREAD_WAITS_FOR_GIL) != 0 || takes_gil(thread->native);
}
