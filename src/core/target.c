/*
 * Which memory reads what, and whether there is an interpreter to be read.
 * Signal-safe: yes.
 */
#include "target.h"

#include "debug_offsets.h"
#include "trap.h"

static struct memory guarded_memory(const struct target *target)
{
    struct memory memory = {.kind = MEMORY_READV};
    if (target->guard == PYUNW_GUARD_PROC_MEM)
        memory.kind = MEMORY_PROC_MEM;
    else if (target->guard == PYUNW_GUARD_PIPE)
        memory.kind = MEMORY_PIPE;
    else
        memory.pid = (int32_t)raw_syscall0(SYS_getpid);
    return memory;
}

struct memory pyunw_safe_memory(const struct target *target)
{
    if (is_image(target))
        return (struct memory){.kind = MEMORY_IMAGE, .image = &target->image};
    if (target->memory != PYUNW_MEMORY_GUARDED && pyunw_trap_usable())
        return (struct memory){.kind = MEMORY_TRAPPED};
    return guarded_memory(target);
}

struct memory pyunw_brief_memory(const struct target *target)
{
    if (atomic_load_explicit(&pyunw_trap_installed, memory_order_acquire))
        return (struct memory){.kind = MEMORY_TRAPPED};
    return guarded_memory(target);
}

struct memory pyunw_own_memory(const struct target *target)
{
    if (target->memory == PYUNW_MEMORY_DIRECT)
        return (struct memory){.kind = MEMORY_DIRECT};
    return pyunw_safe_memory(target);
}

int pyunw_runtime_state(const struct target *target, const struct memory *memory, pyunw_addr *main_interpreter)
{
    const struct layout_runtime *at = &target->layout.at.runtime;
    pyunw_addr head = 0;
    int err = pyunw_read_u64(memory, target->runtime + at->interpreters_head, &head);
    if (err < 0)
        return err;
    err = pyunw_read_u64(memory, target->runtime + at->interpreters_main, main_interpreter);
    if (err < 0)
        return err;
    if (head != 0 && *main_interpreter != 0)
        return plausible_address(head) && plausible_address(*main_interpreter) ? PYUNW_OK : PYUNW_ERR_LAYOUT;
    /* Interpreters are numbered from 0 in each life of the runtime, and the count outlives them (pystate.c). */
    uint64_t next_id = 0;
    err = pyunw_read_u64(memory, target->runtime + at->interpreters_next_id, &next_id);
    if (err < 0)
        return err;
    return (int64_t)next_id > 0 ? PYUNW_ERR_FINALIZED : PYUNW_ERR_NOT_INITIALIZED;
}

bool pyunw_is_code_type(const struct target *target, const struct memory *memory, pyunw_addr type)
{
    static const char expected[] = "code";
    char name[sizeof expected];
    pyunw_addr name_at = 0;
    if (target->code_type != 0)
        return type == target->code_type;
    return plausible_address(type) && pyunw_read_u64(memory, type + target->layout.at.object.tp_name, &name_at) == 0 &&
           name_at >= 4096 && pyunw_read(memory, name_at, name, sizeof name) == 0 &&
           memcmp(name, expected, sizeof name) == 0;
}

int pyunw_target_choose_layout(struct target *target, const struct memory *memory, bool free_threaded,
                               const char **what)
{
    uint8_t bytes[DEBUG_OFFSETS_SIZE_MAX];
    uint32_t version = 0;
    bool published_flag = false;
    *what = "_Py_DebugOffsets";
    int err = pyunw_read(memory, target->runtime, bytes, sizeof(uint64_t));
    if (err < 0)
        return err;
    /* Before 3.13 the runtime is not that long everywhere, and begins with something else. */
    err = pyunw_read(memory, target->runtime, bytes, DEBUG_OFFSETS_HEAD_SIZE);
    if (err == 0)
        err = pyunw_debug_offsets_probe(bytes, DEBUG_OFFSETS_HEAD_SIZE, &version, &published_flag);
    if (err == PYUNW_ERR_LAYOUT && target->version != 0 && target->version < 0x030d0000) {
        *what = "the version";
        return pyunw_layout_select(&target->layout, target->version, free_threaded);
    }
    if (version != 0)
        target->version = version;
    if (err < 0)
        return err;
    err = pyunw_read(memory, target->runtime, bytes, sizeof bytes);
    if (err == 0)
        err = pyunw_debug_offsets_decode(bytes, sizeof bytes, &target->layout, what);
    return err < 0 ? err : pyunw_layout_derive(&target->layout);
}

int pyunw_target_check(const struct target *target, const struct memory *memory, const char **what)
{
    const struct layout_offsets *at = &target->layout.at;
    pyunw_addr main_interpreter = 0;
    pyunw_addr head = 0;
    pyunw_addr tstate = 0;
    pyunw_addr back = 0;
    uint64_t id = 0;
    uint64_t word = 0;

    *what = "the runtime's main interpreter";
    int err = pyunw_runtime_state(target, memory, &main_interpreter);
    if (err < 0)
        return err;
    *what = "the main interpreter's id";
    if (pyunw_read_u64(memory, main_interpreter + at->interpreter.id, &id) < 0 || id != 0)
        return PYUNW_ERR_LAYOUT;
    *what = "the interpreter list";
    if (pyunw_read_u64(memory, target->runtime + at->runtime.interpreters_head, &head) < 0)
        return PYUNW_ERR_LAYOUT;
    pyunw_addr mark = 0; /* one that was passed, by which a list that closes on itself is noticed (Brent) */
    for (uint32_t n = 0; head != main_interpreter; n++) {
        enum { MANY_INTERPRETERS = 65536 };
        if ((n & (n + 1)) == 0)
            mark = head;
        if (n == MANY_INTERPRETERS || !plausible_address(head) ||
            pyunw_read_u64(memory, head + at->interpreter.next, &head) < 0 || head == mark)
            return PYUNW_ERR_LAYOUT;
    }
    *what = "the main interpreter's thread list";
    if (pyunw_read_u64(memory, main_interpreter + at->interpreter.threads_head, &tstate) < 0)
        return PYUNW_ERR_LAYOUT;
    if (tstate == 0) /* between the interpreter's making and its first thread's, or finalizing */
        return PYUNW_OK;
    *what = "a thread state's interpreter";
    if (!plausible_address(tstate) || pyunw_read_u64(memory, tstate + at->thread.interp, &back) < 0 ||
        back != main_interpreter)
        return PYUNW_ERR_LAYOUT;
    *what = "a thread state's thread id";
    if (pyunw_read_u64(memory, tstate + at->thread.thread_id, &word) < 0)
        return PYUNW_ERR_LAYOUT;
    *what = NULL;
    return PYUNW_OK;
}
