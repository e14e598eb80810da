/*
 * A lock profiler to be preloaded: at which Python lines do threads wait longest for locks, and where for the GIL?
 *
 * CPython 3.8 to 3.15 waits for its locks in semaphores (threading.Lock and all that is made of it, PyMutex and events
 * of 3.13+), and for its GIL in mutexes and condition variables, of which it has no others. So a wait in one of these
 * that the interpreter itself called for is for the GIL; every other wait is for a lock, Python's or a C library's.
 *
 * A thread that waits does not hold the GIL, but its Python stack is still its own and stands still: it is read after
 * the wait, when that is known to have been long. The hooks allocate nothing, take no lock, wait for no other thread
 * and never enter the interpreter.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "pyunwind.h"

enum { MAX_FRAMES = 48, STACKS = 1024, TOP = 10, SHORTEST_WAIT = 10000 /* nanoseconds */ };

/* Where threads waited: described by the first that waited there. */
static struct stack {
    _Atomic uint64_t hash; /* 0: not in use */
    atomic_llong nanoseconds, waits;
    atomic_int frame_count;
    pyunw_status status;
    pyunw_frame frames[MAX_FRAMES];
} lock_stacks[STACKS], gil_stacks[STACKS];

static pyunw_target target;
static uintptr_t interpreter_begin, interpreter_end; /* the library or executable that holds it */
static atomic_long lost;

static uint64_t add_to_hash(uint64_t hash, const void *bytes, size_t size)
{
    for (const unsigned char *at = bytes; size > 0; at++, size--)
        hash = (hash ^ *at) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

/* The stack's entry, known by its text: a line has many instructions, and code objects die and give their place up. */
static struct stack *find_stack(struct stack *stacks)
{
    pyunw_raw_frame raw[MAX_FRAMES];
    pyunw_frame frame;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int count = pyunw_walk(&target, 0, raw, MAX_FRAMES, NULL);
    for (int n = 0; n < count; n++) {
        if (pyunw_describe(&target, &raw[n], &frame) < 0)
            continue;
        hash = add_to_hash(hash, frame.filename, frame.filename_length);
        hash = add_to_hash(hash, frame.qualname, frame.qualname_length);
        hash = add_to_hash(hash, &frame.position.lineno, sizeof frame.position.lineno);
    }
    for (size_t n = 0; n < STACKS; n++) {
        struct stack *stack = &stacks[(hash + n) % STACKS];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&stack->hash, &found, hash))
            stack->frame_count = pyunw_capture_current(&target, stack->frames, MAX_FRAMES, &stack->status);
        if (found == 0 || found == hash)
            return stack;
    }
    return NULL;
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Called after each call that may have waited. Like all of pyunwind it leaves errno alone. */
static void waited(long long begun, bool in_semaphore, const void *caller)
{
    long long nanoseconds = now() - begun;
    if (nanoseconds < SHORTEST_WAIT)
        return;
    bool for_gil = !in_semaphore && (uintptr_t)caller >= interpreter_begin && (uintptr_t)caller < interpreter_end;
    struct stack *stack = find_stack(for_gil ? gil_stacks : lock_stacks);
    if (stack == NULL) {
        lost++;
        return;
    }
    stack->nanoseconds += nanoseconds;
    stack->waits++;
}

/* The function behind the hook. Condition variables changed with glibc 2.3.2, and dlsym() may find their old ones. */
static void *find_next(void *_Atomic *known, const char *name)
{
    void *next = *known;
    if (next == NULL)
        next = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    if (next == NULL)
        next = dlsym(RTLD_NEXT, name);
    *known = next;
    return next;
}

#define HOOK(name, in_semaphore, parameters, arguments)                                                                \
    int name parameters                                                                                                \
    {                                                                                                                  \
        static void *_Atomic known;                                                                                    \
        __typeof__(name) *next = find_next(&known, #name);                                                             \
        long long begun = now();                                                                                       \
        int result = next arguments;                                                                                   \
        waited(begun, in_semaphore, __builtin_return_address(0));                                                      \
        return result;                                                                                                 \
    }

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
typedef const struct timespec deadline;

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's names are reserved for it */
HOOK(sem_wait, true, (sem_t * s), (s))
HOOK(sem_timedwait, true, (sem_t *restrict s, deadline *restrict d), (s, d))
HOOK(sem_clockwait, true, (sem_t *restrict s, clockid_t clock, deadline *restrict d), (s, clock, d))
HOOK(pthread_mutex_lock, false, (mutex * m), (m))
HOOK(pthread_cond_wait, false, (condition *restrict c, mutex *restrict m), (c, m))
HOOK(pthread_cond_timedwait, false, (condition *restrict c, mutex *restrict m, deadline *restrict d), (c, m, d))
HOOK(pthread_cond_clockwait, false, (condition *restrict c, mutex *restrict m, clockid_t clock, deadline *restrict d),
     (c, m, clock, d))
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

static int find_interpreter(struct dl_phdr_info *object, size_t size, void *runtime)
{
    uintptr_t begin = UINTPTR_MAX, end = 0;
    (void)size;
    for (const ElfW(Phdr) *segment = object->dlpi_phdr; segment < object->dlpi_phdr + object->dlpi_phnum; segment++) {
        uintptr_t at = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD) {
            begin = at < begin ? at : begin;
            end = at + segment->p_memsz > end ? at + segment->p_memsz : end;
        }
    }
    if ((uintptr_t)runtime < begin || (uintptr_t)runtime >= end)
        return 0;
    interpreter_begin = begin;
    interpreter_end = end;
    return 1;
}

__attribute__((constructor)) static void start(void)
{
    const pyunw_options options = {.size = sizeof options, .memory = PYUNW_MEMORY_DIRECT};
    pyunw_target_info info = {0};
    pyunw_open_self(&target, &options);
    pyunw_target_describe(&target, &info);
    /* Threads that do not hold the GIL are looked up in a list: by loads that may fault, or else by system calls. */
    pyunw_trap_install();
    dl_iterate_phdr(find_interpreter, (void *)(uintptr_t)info.runtime);
}

static void print_stacks(int fd, const char *what, struct stack *stacks)
{
    long long nanoseconds = 0, waits = 0;
    for (struct stack *stack = stacks; stack < stacks + STACKS; stack++) {
        nanoseconds += stack->nanoseconds;
        waits += stack->waits;
    }
    dprintf(fd, "Waiting for %s: %.3f s in %lld waits\n\n", what, (double)nanoseconds / 1e9, waits);
    for (int rank = 1; rank <= TOP; rank++) {
        struct stack *top = stacks;
        for (struct stack *other = stacks; other < stacks + STACKS; other++)
            top = other->nanoseconds > top->nanoseconds ? other : top;
        if (top->nanoseconds == 0)
            break;
        dprintf(fd, "#%d: %.3f s in %lld waits\n", rank, (double)top->nanoseconds / 1e9, top->waits);
        for (int n = 0; n < top->frame_count; n++)
            dprintf(fd, "    %s:%d %s\n", top->frames[n].filename, top->frames[n].position.lineno,
                    top->frames[n].qualname);
        if (top->frame_count <= 0 || top->status.end == PYUNW_TRUNCATED)
            dprintf(fd, "    (%s)\n", top->frame_count > 0 ? "deeper frames left out" : "no Python frame");
        dprintf(fd, "\n");
        top->nanoseconds = 0;
    }
}

__attribute__((destructor)) static void report(void)
{
    pyunw_target_info info;
    const char *path = getenv("PYUNWIND_OUTPUT");
    if (pyunw_target_describe(&target, &info) < 0)
        return; /* a program without Python */
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : STDERR_FILENO;
    dprintf(fd, "Waits of %d us and longer in process %d: %ld lost\n\n", SHORTEST_WAIT / 1000, (int)getpid(), lost);
    print_stacks(fd, "locks", lock_stacks);
    print_stacks(fd, "the GIL", gil_stacks);
}
