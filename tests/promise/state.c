/*
 * What a call changes of the process: looked at before and after it. errno, the thread's signal mask and alternate
 * stack, what each signal does, the descriptors, how floating point rounds and traps, and the mappings.
 */
#include "pyunwind.h"

#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SIGNALS = 64, DESCRIPTORS = 64, MAPS_ROOM = 1 << 18, STACK_USED = 1 << 16, ERRNO = 4242 };

struct state {
    int descriptors[DESCRIPTORS]; /* their flags, or -1 */
    int lowest_free;
    sigset_t mask;
    stack_t alternate;
    uint64_t actions[SIGNALS][4]; /* as the kernel tells: what libc makes of it holds bytes that nobody wrote */
    fenv_t floating;
};

static struct state before, after;
static char maps_before[MAPS_ROOM], maps_after[MAPS_ROOM];

static void look(struct state *state)
{
    memset(state, 0, sizeof *state);
    fegetenv(&state->floating);
    for (int n = 0; n < DESCRIPTORS; n++)
        state->descriptors[n] = fcntl(n, F_GETFD);
    state->lowest_free = dup(0);
    close(state->lowest_free);
    sigprocmask(SIG_BLOCK, NULL, &state->mask);
    sigaltstack(NULL, &state->alternate);
    for (int n = 1; n < SIGNALS; n++)
        syscall(SYS_rt_sigaction, n, NULL, state->actions[n], sizeof(uint64_t));
}

static size_t read_maps(char *text)
{
    size_t size = 0;
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t count;
    while (size < MAPS_ROOM && (count = read(file, text + size, MAPS_ROOM - size)) > 0)
        size += (size_t)count;
    close(file);
    return size;
}

/* A stack that grows is a mapping that grows, whoever needs it. */
static __attribute__((noinline)) void grow_stack(void)
{
    volatile char room[STACK_USED];
    for (size_t n = 0; n < sizeof room; n += 512)
        room[n] = 0;
}

static const char *difference(int error)
{
    if (error != ERRNO)
        return "errno";
    if (memcmp(before.descriptors, after.descriptors, sizeof before.descriptors) != 0 ||
        before.lowest_free != after.lowest_free)
        return "descriptors";
    if (memcmp(&before.mask, &after.mask, sizeof before.mask) != 0)
        return "signal mask";
    if (memcmp(&before.alternate, &after.alternate, sizeof before.alternate) != 0)
        return "alternate stack";
    if (memcmp(before.actions, after.actions, sizeof before.actions) != 0)
        return "signal handlers";
    if (memcmp(&before.floating, &after.floating, sizeof before.floating) != 0)
        return "floating point";
    return NULL;
}

/* NULL, or what the call changed. *result: what it returned. maps: look at the mappings, too, which takes long. */
const char *call_and_look(void *function, const uint64_t *arguments, long *result, int maps)
{
    long (*call)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) =
        (long (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))(uintptr_t)function;
    grow_stack();
    size_t size_before = maps ? read_maps(maps_before) : 0;
    look(&before);
    errno = ERRNO;
    *result = call(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    int error = errno;
    look(&after);
    const char *changed = difference(error);
    if (changed == NULL && maps &&
        (read_maps(maps_after) != size_before || memcmp(maps_before, maps_after, size_before) != 0))
        changed = "mappings";
    return changed;
}

/* A pyunw_read_function over the own process. */
int read_own_memory(void *context, pyunw_addr address, void *buffer, size_t size)
{
    const struct iovec to = {buffer, size};
    const struct iovec from = {(void *)(uintptr_t)address, size};
    int error = errno;
    (void)context;
    ssize_t got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
    errno = error;
    return got == (ssize_t)size ? 0 : PYUNW_ERR_FAULT;
}

/* ---- Changes made on purpose, by the name that call_and_look() has to give them ---- */

static long change_errno(void)
{
    errno = EINTR;
    return 0;
}

static long change_descriptors(void)
{
    return dup(0);
}

static long change_mask(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigprocmask(SIG_BLOCK, &set, NULL);
}

static long change_stack(void)
{
    static char room[1 << 16];
    const stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    return sigaltstack(&stack, NULL);
}

static void ignore(int signal)
{
    (void)signal;
}

static long change_handler(void)
{
    return signal(SIGUSR2, ignore) == SIG_ERR;
}

static long change_rounding(void)
{
    return fesetround(FE_UPWARD);
}

static long change_mappings(void)
{
    int error = errno;
    void *room = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = error;
    return room == MAP_FAILED;
}

static const struct {
    const char *name;
    long (*change)(void);
} changes[] = {
    {"errno", change_errno},           {"descriptors", change_descriptors}, {"signal mask", change_mask},
    {"alternate stack", change_stack}, {"signal handlers", change_handler}, {"floating point", change_rounding},
    {"mappings", change_mappings},
};

/* How many changes are told as what they are; all of them are made. */
int changes_told(int *made)
{
    static const uint64_t none[6];
    int told = 0;
    *made = sizeof changes / sizeof changes[0];
    for (int n = 0; n < *made; n++) {
        long result = -1;
        const char *name = call_and_look((void *)(uintptr_t)changes[n].change, none, &result, 1);
        told += name != NULL && strcmp(name, changes[n].name) == 0 && result >= 0;
    }
    return told;
}
