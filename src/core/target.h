/*
 * An open target, as the core sees it: which interpreter, its layout, and which memories may read it.
 * Signal-safe: yes. Include from: core, target.
 */
#ifndef PYUNW_CORE_TARGET_H
#define PYUNW_CORE_TARGET_H

#include "layout.h"
#include "memory.h"
#include "syscalls.h"

static const uint64_t TARGET_MAGIC = UINT64_C(0x7079756e77746731); /* "pyunwtg1" */

/* What the first release's pyunw_options held: what was added later may be missing. */
enum { OPTIONS_SIZE_MIN = offsetof(pyunw_options, room) };

struct target {
    uint64_t magic; /* TARGET_MAGIC while open */
    struct layout layout;
    pyunw_addr runtime;    /* _PyRuntime */
    pyunw_addr code_type;  /* PyCode_Type; 0: recognised by name */
    pyunw_addr text_type;  /* PyUnicode_Type; 0: recognised by its flags, as its subclasses are */
    uint32_t version;      /* PY_VERSION_HEX */
    uint8_t memory;        /* enum pyunw_memory */
    uint8_t guard;         /* enum pyunw_guard, as chosen */
    uint16_t tid_offset;   /* 3.8-3.10: bytes from a pthread_t to its kernel thread id; 0: not known */
    int64_t thread_offset; /* pthread_self() minus the thread pointer, a constant of the C library */
    pyunw_image image;     /* PYUNW_MEMORY_IMAGE */
};

_Static_assert(sizeof(struct target) <= sizeof(pyunw_target), "target outgrew its public size");

/* The open target behind a public handle, or NULL. */
static inline const struct target *open_target(const pyunw_target *handle)
{
    const struct target *target = (const struct target *)(const void *)handle;
    return target != NULL && target->magic == TARGET_MAGIC ? target : NULL;
}

/* Why open_target() gave NULL. */
static inline int not_open(const pyunw_target *handle)
{
    return handle == NULL ? PYUNW_ERR_ARGUMENT : PYUNW_ERR_NOT_OPEN;
}

static inline bool is_image(const struct target *target)
{
    return target->memory == PYUNW_MEMORY_IMAGE;
}

/* What is read from here on is to be read anew: of an image that may change, nothing that its reader kept will do. */
static inline void target_renew(const struct target *target, enum pyunw_purpose purpose)
{
    if (is_image(target) && target->image.may_change && target->image.renew != NULL)
        target->image.renew(target->image.context, (int)purpose);
}

/* The calling thread's pthread_t. */
static inline uint64_t own_thread_id(const struct target *target)
{
    return thread_pointer() + (uint64_t)target->thread_offset;
}

/* The memory for whatever may change or vanish: never faults. */
struct memory pyunw_safe_memory(const struct target *target);

/*
 * The memory for a word that may have vanished a moment ago, of a target that reads by plain loads: by label where the
 * trap handler was installed, without asking whether it still is, and by a system call elsewhere.
 */
struct memory pyunw_brief_memory(const struct target *target);

/* The memory for the calling thread's own live stack. */
struct memory pyunw_own_memory(const struct target *target);

/* The memory for descriptions of frames that the caller vouches for. */
static inline struct memory pyunw_described_memory(const struct target *target)
{
    return pyunw_own_memory(target);
}

/*
 * Is there an interpreter to be read at this moment? 0, PYUNW_ERR_NOT_INITIALIZED, PYUNW_ERR_FINALIZED,
 * PYUNW_ERR_LAYOUT, or the memory's error. *main_interpreter: its address.
 */
int pyunw_runtime_state(const struct target *target, const struct memory *memory, pyunw_addr *main_interpreter);

/* Is this address PyCode_Type? Where that is not known, as in a stripped executable: is it a type named "code"? */
bool pyunw_is_code_type(const struct target *target, const struct memory *memory, pyunw_addr type);

/*
 * Choose the target's layout: from the table that the interpreter publishes (3.13+), else by target->version and
 * free_threaded. Sets target->layout and target->version. 0; PYUNW_ERR_UNSUPPORTED; PYUNW_ERR_LAYOUT (*what names
 * what does not fit); PYUNW_ERR_FAULT.
 */
int pyunw_target_choose_layout(struct target *target, const struct memory *memory, bool free_threaded,
                               const char **what);

/*
 * Check the layout against the live interpreter. 0; errors of pyunw_runtime_state(); PYUNW_ERR_LAYOUT (*what names
 * what does not fit).
 */
int pyunw_target_check(const struct target *target, const struct memory *memory, const char **what);

#endif
