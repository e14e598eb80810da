/*
 * Which memory a thread is read by: that depends on whose thread state it is, which has to be asked before.
 * Signal-safe: yes.
 */
#include "walk.h"

/*
 * The memory to ask a thread state with whose it is. It may have ended since the caller heard of it, and if it is not
 * the calling thread's also where it held the GIL a moment ago; but not the main thread's state inside the runtime.
 */
static struct memory memory_to_ask(const struct target *target, pyunw_addr main_interpreter, pyunw_addr tstate)
{
    struct memory plain = {.kind = MEMORY_DIRECT};
    pyunw_addr holder = 0;
    if (target->memory != PYUNW_MEMORY_DIRECT)
        return pyunw_safe_memory(target);
    if (in_runtime(target, tstate, target->layout.thread_span))
        return plain;
    bool asked = in_runtime(target, main_interpreter + target->layout.at.interpreter.gil, sizeof(uint64_t)) ||
                 target->layout.at.runtime.tstate_current != 0;
    if (asked && pyunw_gil_holder(target, &plain, main_interpreter, &holder) == 0 && holder == tstate)
        return pyunw_brief_memory(target);
    return pyunw_safe_memory(target);
}

int pyunw_walk_choose(const struct target *target, pyunw_addr *tstate, struct memory *memory, bool *still)
{
    pyunw_addr main_interpreter = 0;
    uint64_t id = 0;
    *still = true;
    *memory = pyunw_own_memory(target);
    if (*tstate == 0)
        return pyunw_find_own_thread(target, memory, tstate);
    int err = pyunw_check_runtime(target, memory, &main_interpreter);
    if (err < 0)
        return err;
    struct memory asked = memory_to_ask(target, main_interpreter, *tstate);
    if (!plausible_address(*tstate) || pyunw_read_u64(&asked, *tstate + target->layout.at.thread.thread_id, &id) < 0)
        return PYUNW_ERR_FAULT;
    /* In whatever interpreter: none of the calling thread's own states runs on meanwhile. */
    *still = is_image(target) ? !target->image.may_change : id == own_thread_id(target);
    if (!*still)
        *memory = target->memory == PYUNW_MEMORY_DIRECT ? pyunw_safe_memory(target) : asked;
    return PYUNW_OK;
}
