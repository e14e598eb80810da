/*
 * Open the interpreter of the own process: find it, choose its layout and check that against the live one, choose
 * what guarded reads are made with.
 * Signal-safe: no.
 */
#include "find_self.h"
#include "target.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 4))) static int refuse(const pyunw_options *options, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (options->message != NULL && options->message_size > 0)
        (void)vsnprintf(options->message, options->message_size, format, arguments);
    va_end(arguments);
    return err;
}

/* ---- Guarded reads: the first kind that this process is allowed ---- */

static bool guard_works(struct target *target, enum pyunw_guard guard)
{
    static const uint64_t sample = UINT64_C(0x1122334455667788);
    uint64_t seen = 0;
    struct target tried = *target;
    tried.guard = (uint8_t)guard;
    tried.memory = PYUNW_MEMORY_GUARDED;
    struct memory memory = pyunw_safe_memory(&tried);
    return pyunw_read_u64(&memory, (pyunw_addr)(uintptr_t)&sample, &seen) == 0 && seen == sample;
}

static bool choose_guard(struct target *target, int asked)
{
    static const enum pyunw_guard order[] = {PYUNW_GUARD_READV, PYUNW_GUARD_PROC_MEM, PYUNW_GUARD_PIPE};
    for (size_t n = 0; n < sizeof order / sizeof order[0]; n++) {
        if ((asked == PYUNW_GUARD_DEFAULT || asked == (int)order[n]) && guard_works(target, order[n])) {
            target->guard = (uint8_t)order[n];
            return true;
        }
    }
    return false;
}

/* ---- The C library's threads ---- */

/*
 * Where the C library keeps the kernel's thread id behind a pthread_t: found by looking for the own one there.
 * Needed only up to 3.10. 0: not found, or not for certain.
 */
static uint16_t find_tid_offset(const struct target *target)
{
    enum { FROM = 32, TO = 1024 };
    uint32_t tid = (uint32_t)raw_syscall0(SYS_gettid);
    uint16_t found = 0;
    struct memory memory = pyunw_safe_memory(target);
    for (unsigned offset = FROM; offset < TO; offset += 4) {
        uint32_t word = 0;
        if (pyunw_read_u32(&memory, (pyunw_addr)pthread_self() + offset, &word) < 0 || word != tid)
            continue;
        if (found != 0)
            return 0;
        found = (uint16_t)offset;
    }
    return found;
}

/* ---- Opening ---- */

static int check_options(const pyunw_options *options)
{
    /* What the caller's structure does not have is not looked at, the message's place among it. */
    if (options->size < OPTIONS_SIZE_MIN)
        return PYUNW_ERR_ARGUMENT;
    bool memory_known = options->memory >= PYUNW_MEMORY_DEFAULT && options->memory <= PYUNW_MEMORY_GUARDED;
    bool guard_known = options->guard >= PYUNW_GUARD_DEFAULT && options->guard <= PYUNW_GUARD_PIPE;
    if (!memory_known || !guard_known || (options->runtime & 7) != 0)
        return refuse(options, PYUNW_ERR_ARGUMENT, "pyunw_options asks for memory %d, guard %d, runtime %#llx",
                      options->memory, options->guard, (unsigned long long)options->runtime);
    return PYUNW_OK;
}

static int refuse_version(const pyunw_options *options, uint32_t version)
{
    return refuse(options, PYUNW_ERR_UNSUPPORTED, "CPython %u.%u.%u is not supported: 3.%d to 3.%d are", version >> 24,
                  version >> 16 & 255u, version >> 8 & 255u, LAYOUT_MINOR_FIRST, LAYOUT_MINOR_LAST);
}

/* Of an interpreter only the version is known: it is too old to have a _PyRuntime, or keeps it hidden. */
static int refuse_nameless(const pyunw_options *options, uint32_t version)
{
    if (version >> 24 != 3 || (version >> 16 & 255u) < LAYOUT_MINOR_FIRST)
        return refuse_version(options, version);
    return refuse(options, PYUNW_ERR_UNSUPPORTED, "CPython %u.%u.%u has no symbol of its runtime (_PyRuntime) here",
                  version >> 24, version >> 16 & 255u, version >> 8 & 255u);
}

static int open_found(struct target *target, const struct found_interpreter *found, const pyunw_options *options)
{
    const char *what = NULL;
    target->memory = (uint8_t)options->memory;
    target->runtime = found->runtime;
    target->code_type = found->code_type;
    target->text_type = found->text_type;
    target->version = found->version;
    target->thread_offset = (int64_t)((uint64_t)pthread_self() - thread_pointer());
    if (!choose_guard(target, options->guard))
        return refuse(options, PYUNW_ERR_PERMISSION,
                      "the system refuses guarded reads of the own memory (process_vm_readv, /proc/self/mem, a pipe)");
    struct memory memory = pyunw_safe_memory(target);
    int err = pyunw_target_choose_layout(target, &memory, false, &what);
    if (err == PYUNW_ERR_UNSUPPORTED)
        return refuse_version(options, target->version);
    if (err < 0)
        return refuse(options, err, "%s: %s of CPython %u.%u", pyunw_strerror(err), what, target->version >> 24,
                      target->version >> 16 & 255u);
    if (found->runtime_size != 0)
        target->layout.at.runtime.size = (uint32_t)found->runtime_size;
    if (target->layout.at.thread.native_thread_id == 0)
        target->tid_offset = find_tid_offset(target);
    err = pyunw_target_check(target, &memory, &what);
    if (err < 0 && err != PYUNW_ERR_NOT_INITIALIZED && err != PYUNW_ERR_FINALIZED)
        return refuse(options, PYUNW_ERR_LAYOUT, "CPython %u.%u.%u does not keep %s where that version should",
                      target->version >> 24, target->version >> 16 & 255u, target->version >> 8 & 255u, what);
    target->magic = TARGET_MAGIC;
    if (err == PYUNW_ERR_FINALIZED)
        return refuse(options, err, "the interpreter is finalized; the target answers once it is initialized again");
    return PYUNW_OK;
}

int pyunw_open_self(pyunw_target *handle, const pyunw_options *asked)
{
    static const pyunw_options defaults = {.size = sizeof defaults};
    const pyunw_options *options = asked != NULL ? asked : &defaults;
    struct found_interpreter found;
    if (handle == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(handle, 0, sizeof *handle);
    int err = check_options(options);
    if (err < 0)
        return err;
    if (pyunw_find_self(options->runtime, &found) < 0) {
        if (options->runtime != 0)
            return refuse(options, PYUNW_ERR_NO_PYTHON, "no CPython interpreter has its _PyRuntime at %#llx",
                          (unsigned long long)options->runtime);
        return refuse(options, PYUNW_ERR_NO_PYTHON, "no CPython interpreter is loaded in this process");
    }
    if (found.has_version_only)
        return refuse_nameless(options, found.version);
    err = open_found((struct target *)(void *)handle, &found, options);
    if (err < 0 && err != PYUNW_ERR_FINALIZED)
        memset(handle, 0, sizeof *handle);
    return err;
}
