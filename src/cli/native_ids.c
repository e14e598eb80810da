/*
 * Which task of the kernel is which thread of Python: 3.11 and later keep the kernel's id in the thread state. Before,
 * the C library's descriptor holds it, to which a pthread_t points, at a place that differs between C libraries: the
 * place is taken where the main thread has the process's id and most others that of one of its tasks, each another's,
 * and no other place says otherwise.
 */
#include "native_ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTOR_FROM = 32, DESCRIPTOR_TO = 1024, DESCRIPTOR_WORDS = (DESCRIPTOR_TO - DESCRIPTOR_FROM) / 4 };

/* ---- Tasks by their ids ---- */

struct known_task {
    uint32_t id;
    int claimed; /* the place at which a descriptor has this id, + 1, as holds_ids() goes through them */
    const struct task *task;
};

struct known_tasks {
    struct known_task *list; /* ascending by id */
    size_t count;
};

static int compare_ids(const void *left, const void *right)
{
    uint32_t first = ((const struct known_task *)left)->id;
    uint32_t second = ((const struct known_task *)right)->id;
    return (first > second) - (first < second);
}

static bool know_tasks(const struct process_info *info, struct known_tasks *tasks)
{
    *tasks = (struct known_tasks){.list = calloc(info->task_count + 1, sizeof *tasks->list)};
    if (tasks->list == NULL)
        return false;
    for (size_t n = 0; n < info->task_count; n++)
        tasks->list[tasks->count++] = (struct known_task){(uint32_t)info->tasks[n].inner_id, 0, &info->tasks[n]};
    qsort(tasks->list, tasks->count, sizeof *tasks->list, compare_ids);
    return true;
}

static struct known_task *find_task(const struct known_tasks *tasks, uint64_t id)
{
    const struct known_task key = {.id = (uint32_t)id};
    if (id == 0 || id > UINT32_MAX)
        return NULL;
    return bsearch(&key, tasks->list, tasks->count, sizeof key, compare_ids);
}

/* ---- Descriptors of the C library ---- */

struct descriptor {
    uint64_t thread_id;
    bool is_main;
    bool is_read; /* not so where the thread has ended meanwhile */
    uint32_t *words;
};

struct descriptors {
    struct descriptor *list; /* ascending by thread_id, the main thread's before them */
    size_t count;
    uint32_t *words;
};

static int compare_descriptors(const void *left, const void *right)
{
    const struct descriptor *first = left;
    const struct descriptor *second = right;
    if (first->is_main != second->is_main)
        return first->is_main ? -1 : 1;
    return (first->thread_id > second->thread_id) - (first->thread_id < second->thread_id);
}

/* A thread that has entered several interpreters has a thread state in each: one descriptor for all of them. */
static void list_descriptors(const struct snapshot *snapshot, struct descriptors *descriptors)
{
    struct descriptor *list = descriptors->list;
    size_t count = 0;
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        const pyunw_thread *thread = &snapshot->threads[n].python;
        list[n] = (struct descriptor){thread->thread_id, (thread->flags & PYUNW_THREAD_MAIN) != 0, false, NULL};
    }
    qsort(list, snapshot->thread_count, sizeof *list, compare_descriptors);
    for (size_t n = 0; n < snapshot->thread_count; n++) {
        if (count > 0 && list[n].thread_id == list[count - 1].thread_id)
            continue;
        list[count] = list[n];
        list[count].words = descriptors->words + count * DESCRIPTOR_WORDS;
        count++;
    }
    descriptors->count = count;
}

/* As process_vm_readv(2), which a sandbox may refuse: bytes of all that could be read, up to the first that cannot. */
static ssize_t read_by_file(pid_t pid, const struct iovec *to, const struct iovec *from, size_t count)
{
    char path[64];
    ssize_t whole = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    for (size_t n = 0; n < count; n++) {
        if (pread(fd, to[n].iov_base, to[n].iov_len, (off_t)(uintptr_t)from[n].iov_base) != (ssize_t)to[n].iov_len)
            break;
        whole += (ssize_t)to[n].iov_len;
    }
    (void)close(fd);
    return whole;
}

/* Many in one call, which ends at the first that cannot be read: it goes on behind that one. */
static void read_descriptors(pid_t pid, struct descriptors *descriptors)
{
    enum { MANY_AT_ONCE = 256, SIZE = DESCRIPTOR_WORDS * sizeof(uint32_t) };
    struct iovec to[MANY_AT_ONCE];
    struct iovec from[MANY_AT_ONCE];
    for (size_t at = 0; at < descriptors->count;) {
        size_t asked = 0;
        for (; asked < MANY_AT_ONCE && at + asked < descriptors->count; asked++) {
            const struct descriptor *descriptor = &descriptors->list[at + asked];
            to[asked] = (struct iovec){descriptor->words, SIZE};
            from[asked] = (struct iovec){(void *)(uintptr_t)(descriptor->thread_id + DESCRIPTOR_FROM), SIZE};
        }
        ssize_t size = process_vm_readv(pid, to, asked, from, asked, 0);
        if (size < 0 && errno != EFAULT)
            size = read_by_file(pid, to, from, asked);
        if (size < 0)
            return;
        size_t whole = size > 0 ? (size_t)size / SIZE : 0;
        for (size_t n = 0; n < whole; n++)
            descriptors->list[at + n].is_read = true;
        at += whole < asked ? whole + 1 : whole;
    }
}

static bool begin_descriptors(const struct snapshot *snapshot, struct descriptors *descriptors)
{
    *descriptors = (struct descriptors){
        .list = calloc(snapshot->thread_count + 1, sizeof *descriptors->list),
        .words = calloc(snapshot->thread_count + 1, DESCRIPTOR_WORDS * sizeof *descriptors->words),
    };
    if (descriptors->list == NULL || descriptors->words == NULL)
        return false;
    list_descriptors(snapshot, descriptors);
    read_descriptors(snapshot->info.pid, descriptors);
    return true;
}

static void end_descriptors(struct descriptors *descriptors)
{
    free(descriptors->list);
    free(descriptors->words);
}

/* ---- The place of the id ---- */

/*
 * Do the descriptors have ids of tasks at this place, the main thread's that of the process? A thread that has ended,
 * or begun after the tasks were listed, may have none; two have the same nowhere.
 */
static bool holds_ids(pid_t pid, const struct known_tasks *tasks, const struct descriptors *descriptors, int place)
{
    size_t known = 0;
    size_t count = 0;
    for (size_t n = 0; n < descriptors->count; n++) {
        const struct descriptor *descriptor = &descriptors->list[n];
        if (!descriptor->is_read)
            continue;
        count++;
        struct known_task *found = find_task(tasks, descriptor->words[place]);
        if (descriptor->is_main && (found == NULL || found->task->id != pid))
            return false;
        if (found == NULL)
            continue;
        known++;
        if (found->claimed == place + 1)
            return false;
        found->claimed = place + 1;
    }
    return 2 * known > count;
}

static bool say_the_same(const struct descriptors *descriptors, int place, int other)
{
    for (size_t n = 0; n < descriptors->count; n++) {
        const struct descriptor *descriptor = &descriptors->list[n];
        if (descriptor->is_read && descriptor->words[place] != descriptor->words[other])
            return false;
    }
    return true;
}

/* The place of the id, or -1 where there is none or a doubt. */
static int find_place(pid_t pid, const struct known_tasks *tasks, const struct descriptors *descriptors)
{
    int found = -1;
    for (int place = 0; place < DESCRIPTOR_WORDS; place++) {
        if (!holds_ids(pid, tasks, descriptors, place))
            continue;
        if (found >= 0 && !say_the_same(descriptors, place, found))
            return -1;
        found = place;
    }
    return found;
}

static const struct task *find_by_place(const struct known_tasks *tasks, const struct descriptors *descriptors,
                                        const pyunw_thread *thread, int place)
{
    const struct descriptor key = {.thread_id = thread->thread_id, .is_main = (thread->flags & PYUNW_THREAD_MAIN) != 0};
    const struct descriptor *descriptor =
        bsearch(&key, descriptors->list, descriptors->count, sizeof key, compare_descriptors);
    const struct known_task *found =
        descriptor != NULL && descriptor->is_read ? find_task(tasks, descriptor->words[place]) : NULL;
    return found != NULL ? found->task : NULL;
}

static void match_by_descriptors(struct snapshot *snapshot, const struct known_tasks *tasks)
{
    struct descriptors descriptors;
    bool good = begin_descriptors(snapshot, &descriptors);
    int place = good ? find_place(snapshot->info.pid, tasks, &descriptors) : -1;
    for (size_t n = 0; place >= 0 && n < snapshot->thread_count; n++)
        snapshot->threads[n].task = find_by_place(tasks, &descriptors, &snapshot->threads[n].python, place);
    end_descriptors(&descriptors);
}

void native_ids_match(struct snapshot *snapshot)
{
    struct known_tasks tasks;
    bool published = false;
    bool good = know_tasks(&snapshot->info, &tasks);
    for (size_t n = 0; good && n < snapshot->thread_count; n++) {
        struct thread *thread = &snapshot->threads[n];
        if (thread->python.native_id == 0)
            continue;
        published = true;
        const struct known_task *found = find_task(&tasks, thread->python.native_id);
        thread->task = found != NULL ? found->task : NULL;
    }
    if (good && !published)
        match_by_descriptors(snapshot, &tasks);
    free(tasks.list);
}
