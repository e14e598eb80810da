/*
 * Thread states: the lists of all interpreters, and the calling thread's own.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_THREAD_H
#define PYUNW_CORE_THREAD_H

#include "target.h"

/* Bounds on foreign lists, far above what systems allow. */
enum { MAX_INTERPRETERS = 1 << 16, MAX_THREADS = 1 << 22 };

/* The fields of a thread state, read at once. */
struct thread_fields {
    pyunw_addr prev;
    pyunw_addr next;
    pyunw_addr interpreter;
    uint64_t thread_id;
    uint64_t native_id; /* 0: unknown */
    uint64_t id;
    bool attached;      /* 3.12+ */
    bool waits_for_gil; /* 3.15+ */
    bool has_frames;
    bool frames_unreadable;
};

int pyunw_read_thread(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                      struct thread_fields *fields);

/* Tell a memory that takes hints what is read next, where each thread of a list is captured: this, and those behind. */
void pyunw_expect_threads(const struct target *target, const struct memory *memory, pyunw_addr tstate,
                          const struct thread_fields *fields);

/* Go on with the one behind, once what was told of it is at hand. Only for a memory that takes hints. */
void pyunw_expect_thread_behind(const struct target *target, const struct memory *memory, pyunw_addr tstate);

/* Do all of size bytes at address lie in the runtime itself, which is always mapped in the own process? */
static inline bool in_runtime(const struct target *target, pyunw_addr address, uint64_t size)
{
    uint64_t at = address - target->runtime;
    return at < target->layout.at.runtime.size && size <= target->layout.at.runtime.size - at;
}

/*
 * The memory for size bytes that may lie in the runtime itself. A pointer into the runtime does not do: of a damaged
 * one the fields may lie behind it.
 */
static inline struct memory memory_at(const struct target *target, const struct memory *memory, pyunw_addr address,
                                      uint64_t size)
{
    if (!is_image(target) && in_runtime(target, address, size))
        return (struct memory){.kind = MEMORY_DIRECT};
    return *memory;
}

/* The memory for the runtime's own fields. */
static inline struct memory memory_of_runtime(const struct target *target, const struct memory *memory)
{
    return memory_at(target, memory, target->runtime, target->layout.at.runtime.size);
}

/* A word that may lie in the runtime itself. */
static inline int read_word_at(const struct target *target, const struct memory *memory, pyunw_addr address,
                               uint64_t *value)
{
    struct memory here = memory_at(target, memory, address, sizeof *value);
    return pyunw_read_u64(&here, address, value);
}

/* pyunw_runtime_state() with the memory that suits the runtime itself. */
int pyunw_check_runtime(const struct target *target, const struct memory *memory, pyunw_addr *main_interpreter);

/*
 * Who holds the GIL of an interpreter: *holder is a thread state, or 0 where nobody does or there is none (or where
 * memory is plain loads, and the GIL lies outside of the runtime). The
 * holder is not followed: it may be gone already.
 */
int pyunw_gil_holder(const struct target *target, const struct memory *memory, pyunw_addr interpreter,
                     pyunw_addr *holder);

/*
 * Who took the GIL last at a moment, and how often it went from one to another until then (3.8-3.10). is_known: these
 * tell who may have run Python since. They do not where thread states are swapped under a GIL that stays taken
 * (PyThreadState_Swap), as for sub-interpreters.
 */
struct gil_moment {
    bool is_known;
    pyunw_addr holder;
    pyunw_addr last_holder;
    uint64_t switches;
};

void pyunw_read_gil_moment(const struct target *target, const struct memory *memory, struct gil_moment *moment);

/*
 * Has this thread state had no GIL from one moment to another, so that its frames were the same all the time? Whoever
 * takes it without having had it last is counted (take_gil, ceval_gil.h).
 */
bool pyunw_was_without_gil(pyunw_addr tstate, const struct gil_moment *from, const struct gil_moment *to);

/* Does an interpreter's garbage collector run? */
int pyunw_read_collecting(const struct target *target, const struct memory *memory, pyunw_addr interpreter,
                          bool *collecting);

/*
 * The calling thread's thread state: 0 or an error. chosen: a memory of this target that was chosen already, since
 * choosing one takes system calls; NULL: it is chosen where it is needed.
 */
int pyunw_find_own_thread(const struct target *target, const struct memory *chosen, pyunw_addr *tstate);

/* The kernel's name for a thread of the own process, without its end: bytes of it, 0 where it cannot be had. */
enum { PYUNW_THREAD_NAME_SIZE = 16 };
size_t pyunw_read_thread_name(uint64_t native_id, char name[PYUNW_THREAD_NAME_SIZE]);

#endif
