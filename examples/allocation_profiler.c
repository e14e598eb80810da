/*
 * A heap profiler to be preloaded: which Python lines hold the memory that is still in use when the program ends?
 *
 * The hooks run wherever memory is allocated, under any lock, with or without the GIL. So they allocate nothing, take
 * no lock, wait for no other thread and never enter the interpreter. Since nothing here allocates, no hook is entered
 * from within itself: that needs no guard in thread-local storage, whose first use in a thread may itself allocate.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pyunwind.h"

enum { MAX_FRAMES = 64, BUCKET = 8, SAMPLES = 1024 * BUCKET, TOP = 10 };

/* A sampled block that is in use, and the stack that allocated it. */
struct sample {
    long long bytes; /* that the sampled bytes in it stand for */
    int line_count;
    struct line { /* a frame, all zero beyond its text: equal lines are equal bytes */
        char filename[112];
        char function[76];
        int lineno;
    } lines[MAX_FRAMES]; /* innermost first */
};

/* A block lies in the bucket of its address or nowhere, so that free() looks at one cache line. 0: not in use. */
static _Alignas(64) _Atomic uintptr_t addresses[SAMPLES];
static struct sample samples[SAMPLES];

static pyunw_target target;
static atomic_bool active;
static long long sample_bytes = 512 * 1024LL;
static atomic_llong bytes_to_go; /* until the next sampled byte */
static atomic_long taken, lost;

/*
 * The frames are described at once, since their code objects may be dead when the report is written. A profiler that
 * samples more often would keep the descriptions, and ask pyunw_identify_code() whether each still holds; here samples
 * are half a megabyte apart, and to describe a frame takes a tenth of a microsecond.
 */
static void take_sample(struct sample *sample, long long bytes)
{
    pyunw_raw_frame frames[MAX_FRAMES];
    int count = pyunw_walk(&target, 0, frames, MAX_FRAMES, NULL);
    for (int n = 0; n < count; n++) {
        struct line *line = memset(&sample->lines[n], 0, sizeof *line);
        pyunw_description description = {0};
        description.filename = (pyunw_text){.data = line->filename, .size = sizeof line->filename};
        description.qualname = (pyunw_text){.data = line->function, .size = sizeof line->function};
        if (pyunw_describe_into(&target, &frames[n], &description) == 0)
            line->lineno = description.position.lineno;
    }
    sample->line_count = count > 0 ? count : 0; /* a thread or a moment without Python: no line */
    sample->bytes = bytes;
}

/* Put the next sampled byte sample_bytes further, on average: at random, so that no rhythm of the program fits. */
static long long go_on(void)
{
    static _Atomic uint64_t state = 1;
    uint64_t z = atomic_fetch_add(&state, UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 32) * UINT64_C(0xd6e8feb86659fd93);
    long long step = 1 + (long long)((z ^ z >> 32) % (uint64_t)(2 * sample_bytes - 1));
    return atomic_fetch_add(&bytes_to_go, step) + step;
}

static size_t bucket_of(const void *block)
{
    return ((uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (SAMPLES / BUCKET) * BUCKET;
}

/* Called before anybody else knows the block. */
static void *allocated(void *block, size_t size)
{
    if (block == NULL || !active)
        return block;
    long long points = (long long)size / sample_bytes;
    long long rest = (long long)size % sample_bytes;
    for (long long left = atomic_fetch_sub(&bytes_to_go, rest) - rest; left < 0; left = go_on())
        points++;
    if (points == 0)
        return block;
    taken++;
    for (size_t n = bucket_of(block), end = n + BUCKET; n < end; n++) {
        uintptr_t unused = 0;
        if (atomic_compare_exchange_strong(&addresses[n], &unused, (uintptr_t)block)) {
            take_sample(&samples[n], points * sample_bytes);
            return block;
        }
    }
    lost++;
    return block;
}

/* On its way out the interpreter frees what the program kept to the end: the profile stops before that. */
static bool interpreter_ends(void)
{
    pyunw_addr tstate = 0;
    pyunw_thread thread = {0};
    int err = pyunw_current_thread(&target, &tstate);
    pyunw_thread_find(&target, tstate, &thread);
    return err == PYUNW_ERR_FINALIZED || (thread.flags & PYUNW_THREAD_FINALIZING) != 0;
}

/* Called before the block is given back: after that, its address may be another's. Returns the block. */
static void *freed(void *block)
{
    for (size_t n = bucket_of(block), end = n + BUCKET; block != NULL && n < end; n++) {
        if (atomic_load_explicit(&addresses[n], memory_order_relaxed) != (uintptr_t)block)
            continue;
        if (active && interpreter_ends())
            active = false;
        samples[n].bytes = active ? 0 : samples[n].bytes;
        addresses[n] = 0;
    }
    return block;
}

/* The allocator, by names that glibc keeps for it: dlsym(), which could look it up, allocates. */
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's names are reserved for it */
void *malloc(size_t size)
{
    return allocated(__libc_malloc(size), size);
}

void *calloc(size_t count, size_t size)
{
    return allocated(__libc_calloc(count, size), count * size);
}

/* Counts as a new block, also in its old place. Where that fails, for want of memory, the old one is forgotten. */
void *realloc(void *block, size_t size)
{
    return allocated(__libc_realloc(freed(block), size), size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return allocated(__libc_memalign(alignment, size), size);
}

void free(void *block)
{
    __libc_free(freed(block));
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

__attribute__((constructor)) static void start(void)
{
    const pyunw_options options = {.size = sizeof options, .memory = PYUNW_MEMORY_DIRECT};
    const char *asked = getenv("PYUNWIND_SAMPLE_BYTES");
    if (asked != NULL && strtoll(asked, NULL, 10) > 0)
        sample_bytes = strtoll(asked, NULL, 10);
    active = pyunw_open_self(&target, &options) == 0;
}

/* Add the samples of equal stacks up, each in the first of them. */
static void merge(struct sample *into)
{
    size_t size = (size_t)into->line_count * sizeof into->lines[0];
    for (struct sample *other = into + 1; into->bytes > 0 && other < samples + SAMPLES; other++) {
        if (other->line_count == into->line_count && memcmp(other->lines, into->lines, size) == 0) {
            into->bytes += other->bytes;
            other->bytes = 0;
        }
    }
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("PYUNWIND_OUTPUT");
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : STDERR_FILENO;
    active = false;
    for (struct sample *sample = samples; sample < samples + SAMPLES; sample++)
        merge(sample);
    if (taken > 0)
        dprintf(fd, "Memory in use at the end of process %d, by one sample in %lld bytes: %ld taken, %ld lost\n",
                (int)getpid(), sample_bytes, taken, lost);
    for (int rank = 1; rank <= TOP; rank++) {
        struct sample *top = samples;
        for (struct sample *other = samples; other < samples + SAMPLES; other++)
            top = other->bytes > top->bytes ? other : top;
        if (top->bytes == 0)
            break;
        dprintf(fd, "\n#%d: %lld bytes\n%s", rank, top->bytes, top->line_count > 0 ? "" : "    (no Python frame)\n");
        for (int n = 0; n < top->line_count; n++)
            dprintf(fd, "    %s:%d %s\n", top->lines[n].filename, top->lines[n].lineno, top->lines[n].function);
        top->bytes = 0;
    }
}
