/*
 * Damage, and what is made of it: in a child process, words of the interpreter's own structures are overwritten, and
 * the child reads itself in every memory. Its answers lie in memory that it shares with its parent.
 */
#include "pyunwind.h"

#include "target.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { ROOM = 96, FEW = 9, THREADS = 16, CPU_SECONDS = 20, FILE_BYTES = 1 << 20 };

struct patch {
    uint64_t address;
    uint64_t value;
    uint64_t size; /* bytes of value that are written: 1, 4 or 8 */
};

/* What one memory answers. */
struct probe {
    const pyunw_target *target;
    const uint64_t *reads; /* of an image: the count of its reader; else NULL */
    int32_t knows_own;     /* a target of the own process */
    int32_t json;          /* descriptor of the file that JSON is written to, -1: none */
    int32_t done;          /* all that follows is written */
    int32_t count;
    int32_t few_count;
    int32_t thread_count;
    int32_t threads_result;
    int32_t current_result;
    int32_t json_result;
    int32_t json_threads_result;
    pyunw_addr current;
    pyunw_status status;
    pyunw_status few_status;
    uint64_t most_reads; /* of one capture or walk */
    uint64_t thread_reads;
    pyunw_frame frames[ROOM];
    pyunw_raw_frame few[FEW];
    pyunw_thread threads[THREADS];
};

/* Where the fields lie, as the target has it. */
const struct layout_offsets *offsets_of(const pyunw_target *target)
{
    return &open_target(target)->layout.at;
}

struct probe *make_probes(int count)
{
    void *room =
        mmap(NULL, sizeof(struct probe) * (size_t)count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED ? NULL : room;
}

/* The last `size` bytes before memory that is not there. */
uint64_t end_of_mapping(size_t size)
{
    uint8_t *room = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || munmap(room + 4096, 4096) != 0)
        return 0;
    return (uint64_t)(uintptr_t)room + 4096 - size;
}

/* ---- A reader that loads, and comes back from a fault: much faster than a system call ---- */

static sigjmp_buf back;
static volatile sig_atomic_t reading;

static void on_fault(int signal)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    if (reading)
        siglongjmp(back, 1);
    sigaction(signal, &by_default, NULL);
}

/* To be called before pyunw_trap_install(), which hands on to it what is no labelled load. */
int catch_faults(void)
{
    struct sigaction action = {.sa_flags = SA_NODEFER};
    action.sa_handler = on_fault;
    return sigaction(SIGSEGV, &action, NULL) | sigaction(SIGBUS, &action, NULL);
}

/* Damaged addresses are not for AddressSanitizer to judge. */
__attribute__((no_sanitize_address, no_sanitize("undefined"))) static void load(const volatile uint8_t *from,
                                                                                uint8_t *to, size_t size)
{
    for (size_t n = 0; n < size; n++)
        ((volatile uint8_t *)to)[n] = from[n];
}

int read_by_loads(void *context, pyunw_addr address, void *buffer, size_t size)
{
    ++*(uint64_t *)context;
    if (sigsetjmp(back, 0) != 0) {
        reading = 0;
        return PYUNW_ERR_FAULT;
    }
    reading = 1;
    load((const uint8_t *)(uintptr_t)address, buffer, size);
    reading = 0;
    return 0;
}

/* ---- The damaged process ---- */

static void write_patch(const struct patch *patch, const pyunw_segment *segments, size_t segment_count)
{
    memcpy((void *)(uintptr_t)patch->address, &patch->value, patch->size);
    for (size_t n = 0; n < segment_count; n++) {
        uint64_t at = patch->address - segments[n].address;
        if (at < segments[n].size && segments[n].size - at >= patch->size)
            memcpy((uint8_t *)(uintptr_t)segments[n].bytes + at, &patch->value, patch->size);
    }
}

static void note_reads(struct probe *probe, uint64_t *begin, uint64_t *most)
{
    if (probe->reads == NULL)
        return;
    if (*probe->reads - *begin > *most)
        *most = *probe->reads - *begin;
    *begin = *probe->reads;
}

static int list_threads(struct probe *probe)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int result = pyunw_threads_begin(probe->target, &cursor);
    if (result < 0)
        return result;
    while ((result = pyunw_threads_next(&cursor, &thread)) == 1) {
        if (probe->thread_count < THREADS)
            probe->threads[probe->thread_count] = thread;
        probe->thread_count++;
    }
    return result;
}

static void ask(struct probe *probe, pyunw_addr tstate)
{
    uint64_t begin = probe->reads != NULL ? *probe->reads : 0;
    probe->count = pyunw_capture(probe->target, tstate, probe->frames, ROOM, &probe->status);
    note_reads(probe, &begin, &probe->most_reads);
    probe->few_count = pyunw_walk(probe->target, tstate, probe->few, FEW, &probe->few_status);
    note_reads(probe, &begin, &probe->most_reads);
    probe->threads_result = list_threads(probe);
    note_reads(probe, &begin, &probe->thread_reads);
    if (probe->knows_own)
        probe->current_result = pyunw_current_thread(probe->target, &probe->current);
    if (probe->json >= 0) {
        probe->json_result = pyunw_write_json(probe->target, probe->json, tstate);
        probe->json_threads_result = pyunw_write_json_threads(probe->target, probe->json);
    }
    probe->done = 1;
}

/*
 * Write the patches and ask the probes from first up to last, in a child. segments: copies of memory that are to be
 * damaged alike. Returns the child's wait status.
 */
int ask_damaged(struct probe *probes, int first, int last, pyunw_addr tstate, const struct patch *patches,
                int patch_count, const pyunw_segment *segments, size_t segment_count)
{
    int status = 0;
    for (int n = first; n < last; n++)
        memset(&probes[n].done, 0, sizeof probes[n] - offsetof(struct probe, done));
    long child = raw_syscall6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (child == 0) {
        struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS}; /* of processor time: the slowest machine is given it, too */
        struct rlimit file = {FILE_BYTES, FILE_BYTES};
        struct rlimit core = {0, 0};
        struct sigaction ignored = {.sa_handler = SIG_IGN};
        sigaction(SIGXFSZ, &ignored, NULL);
        raw_syscall4(SYS_prlimit64, 0, RLIMIT_CPU, (long)&cpu, 0);
        raw_syscall4(SYS_prlimit64, 0, RLIMIT_FSIZE, (long)&file, 0);
        raw_syscall4(SYS_prlimit64, 0, RLIMIT_CORE, (long)&core, 0);
        for (int n = 0; n < patch_count; n++)
            write_patch(&patches[n], segments, segment_count);
        for (int n = first; n < last; n++)
            ask(&probes[n], tstate);
        raw_syscall3(SYS_exit_group, 0, 0, 0);
    }
    if (child < 0 || raw_syscall4(SYS_wait4, child, (long)&status, 0, 0) != child)
        return -1;
    return status;
}
