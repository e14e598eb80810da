/*
 * Which task of the kernel is which thread of Python: 3.11 and later keep the kernel's id in the thread state. Before,
 * the C library's descriptor holds it, to which a pthread_t points, at a place that differs between C libraries: the
 * place is taken where the main thread has the process's id and most others that of one of its tasks, each another's,
 * and no other place says otherwise.
 */
#include "native_ids.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { DESCRIPTOR_FROM = 32, DESCRIPTOR_TO = 1024, DESCRIPTOR_WORDS = (DESCRIPTOR_TO - DESCRIPTOR_FROM) / 4 };

struct descriptor {
    uint64_t thread_id;
    bool is_main;
    uint32_t words[DESCRIPTOR_WORDS];
};

static bool read_descriptor(pid_t pid, uint64_t thread_id, bool is_main, struct descriptor *descriptor)
{
    struct iovec to = {descriptor->words, sizeof descriptor->words};
    struct iovec from = {(void *)(uintptr_t)(thread_id + DESCRIPTOR_FROM), sizeof descriptor->words};
    descriptor->thread_id = thread_id;
    descriptor->is_main = is_main;
    return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)sizeof descriptor->words;
}

/* A thread that has entered several interpreters has a thread state in each: one descriptor for all of them. */
static bool has_descriptor(const struct descriptor *descriptors, size_t count, uint64_t thread_id)
{
    for (size_t n = 0; n < count; n++) {
        if (descriptors[n].thread_id == thread_id)
            return true;
    }
    return false;
}

/* The descriptors of all threads; one that has ended meanwhile has none. */
static struct descriptor *read_descriptors(const struct snapshot *snapshot, size_t *count)
{
    struct descriptor *descriptors = calloc(snapshot->thread_count + 1, sizeof *descriptors);
    *count = 0;
    for (size_t n = 0; descriptors != NULL && n < snapshot->thread_count; n++) {
        uint64_t thread_id = snapshot->threads[n].python.thread_id;
        bool is_main = (snapshot->threads[n].python.flags & PYUNW_THREAD_MAIN) != 0;
        if (!has_descriptor(descriptors, *count, thread_id) &&
            read_descriptor(snapshot->info.pid, thread_id, is_main, &descriptors[*count]))
            (*count)++;
    }
    return descriptors;
}

/*
 * Do the descriptors have ids of tasks at this place, the main thread's that of the process? A thread that has ended,
 * or begun after the tasks were listed, may have none; two have the same nowhere.
 */
static bool holds_ids(const struct snapshot *snapshot, const struct descriptor *descriptors, size_t count, int place)
{
    size_t known = 0;
    for (size_t n = 0; n < count; n++) {
        uint32_t id = descriptors[n].words[place];
        const struct task *task = id != 0 ? process_info_task(&snapshot->info, id) : NULL;
        if (descriptors[n].is_main && (task == NULL || task->id != snapshot->info.pid))
            return false;
        if (task == NULL)
            continue;
        known++;
        for (size_t other = 0; other < n; other++) {
            if (descriptors[other].words[place] == id)
                return false;
        }
    }
    return 2 * known > count;
}

static bool say_the_same(const struct descriptor *descriptors, size_t count, int place, int other)
{
    for (size_t n = 0; n < count; n++) {
        if (descriptors[n].words[place] != descriptors[n].words[other])
            return false;
    }
    return true;
}

/* The place of the id, or -1 where there is none or a doubt. */
static int find_place(const struct snapshot *snapshot, const struct descriptor *descriptors, size_t count)
{
    int found = -1;
    for (int place = 0; place < DESCRIPTOR_WORDS; place++) {
        if (!holds_ids(snapshot, descriptors, count, place))
            continue;
        if (found >= 0 && !say_the_same(descriptors, count, place, found))
            return -1;
        found = place;
    }
    return found;
}

static void match_by_descriptors(struct snapshot *snapshot)
{
    size_t count = 0;
    struct descriptor *descriptors = read_descriptors(snapshot, &count);
    int place = descriptors != NULL ? find_place(snapshot, descriptors, count) : -1;
    for (size_t n = 0; place >= 0 && n < snapshot->thread_count; n++) {
        for (size_t at = 0; at < count; at++) {
            if (descriptors[at].thread_id == snapshot->threads[n].python.thread_id)
                snapshot->threads[n].task = process_info_task(&snapshot->info, descriptors[at].words[place]);
        }
    }
    free(descriptors);
}

void native_ids_match(struct snapshot *snapshot)
{
    bool published = false;
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        struct thread *thread = &snapshot->threads[n];
        if (thread->python.native_id == 0)
            continue;
        published = true;
        thread->task = process_info_task(&snapshot->info, thread->python.native_id);
    }
    if (!published)
        match_by_descriptors(snapshot);
}
