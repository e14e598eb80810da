/*
 * Take signals and give them back; dump when asked.
 * Signal-safe: no.
 */
#include "faulthandler.h"
#include "process_lock.h"

#include <dlfcn.h>
#include <link.h>
#include <pyunwind_crash.h>
#include <stdlib.h>
#include <string.h>

/* ---- The interpreter ---- */

/* What programs call, and what the macros of Python.h make of it. */
static void find_fatal_error(struct code_range ranges[FATAL_FUNCTIONS])
{
    static const char *const names[FATAL_FUNCTIONS] = {
        "Py_FatalError",
        "_Py_FatalErrorFunc",
        "_Py_FatalErrorFormat",
        "Py_ExitStatusException",
    };
    for (int n = 0; n < FATAL_FUNCTIONS; n++) {
        Dl_info info;
        const ElfW(Sym) *symbol = NULL;
        void *function = dlsym(RTLD_DEFAULT, names[n]);
        if (function == NULL || dladdr1(function, &info, (void **)&symbol, RTLD_DL_SYMENT) == 0 || symbol == NULL)
            continue;
        ranges[n].begin = (uint64_t)(uintptr_t)function;
        ranges[n].end = ranges[n].begin + symbol->st_size;
    }
}

int pyunw_faulthandler_open(void)
{
    struct faulthandler *state = &pyunw_faulthandler;
    const pyunw_options options = {.size = sizeof options, .memory = PYUNW_MEMORY_GUARDED};
    pyunw_target_info info = {0};
    static process_lock opening;
    if (atomic_load_explicit(&state->is_open, memory_order_acquire))
        return PYUNW_OK;
    process_lock_take(&opening);
    int err = PYUNW_OK;
    if (!state->is_open) {
        err = pyunw_open_self(&state->target, &options);
        if (err == PYUNW_OK)
            err = pyunw_target_describe(&state->target, &info);
        if (err == PYUNW_OK) {
            state->version = info.version;
            find_fatal_error(state->fatal_error);
            state->is_open = true;
        }
    }
    process_lock_give_back(&opening);
    return err;
}

int pyunw_faulthandler_take_options(const pyunw_faulthandler_options *options, struct dump *dump)
{
    pyunw_thread thread = {0};
    if (options == NULL || options->size < sizeof *options || options->fd < 0)
        return PYUNW_ERR_ARGUMENT;
    int err = pyunw_faulthandler_open();
    if (err < 0)
        return err;
    (void)pyunw_thread_find(&pyunw_faulthandler.target, pyunw_faulthandler_current(), &thread);
    *dump = (struct dump){
        .fd = options->fd,
        .all_threads = options->all_threads != 0,
        .max_threads = options->max_threads,
        .interpreter = thread.interpreter,
    };
    return PYUNW_OK;
}

int pyunw_faulthandler_hide(const pyunw_addr *codes, int count)
{
    struct faulthandler *state = &pyunw_faulthandler;
    if (count < 0 || count > PYUNW_FAULTHANDLER_HIDDEN_MAX || (codes == NULL && count > 0))
        return PYUNW_ERR_ARGUMENT;
    pyunw_thread thread = {0};
    int err = pyunw_faulthandler_open();
    if (err < 0)
        return err;
    (void)pyunw_thread_find(&state->target, pyunw_faulthandler_current(), &thread);
    if (thread.interpreter_id != 0)
        return PYUNW_OK;
    state->hidden_count = 0;
    for (int n = 0; n < count; n++)
        state->hidden[n] = codes[n];
    state->hidden_count = count;
    return PYUNW_OK;
}

static size_t size_of_names(const char *names)
{
    size_t size = 0;
    while (names[size] != '\0')
        size += strlen(names + size) + 1;
    return size + 1;
}

static const char *copy_names(const char *names)
{
    size_t size = size_of_names(names);
    char *copy = malloc(size);
    return copy != NULL ? memcpy(copy, names, size) : NULL;
}

int pyunw_faulthandler_name_modules(const pyunw_faulthandler_modules *asked)
{
    static char *before; /* a handler may be reading those that are replaced */
    struct faulthandler *state = &pyunw_faulthandler;
    char *old = (char *)(uintptr_t)state->modules.left_out;
    pyunw_faulthandler_modules next = {0};
    if (asked != NULL && (asked->size < sizeof *asked || asked->modules == 0 || asked->left_out == NULL))
        return PYUNW_ERR_ARGUMENT;
    if (asked != NULL) {
        next = *asked;
        next.left_out = copy_names(asked->left_out);
        if (next.left_out == NULL)
            return PYUNW_ERR_SYSTEM;
    }
    state->modules.modules = 0;
    free(before);
    before = old;
    state->modules = next;
    return PYUNW_OK;
}

/* ---- Signals ---- */

static int query(int signal, struct kernel_sigaction *action)
{
    return raw_syscall4(SYS_rt_sigaction, signal, 0, (long)action, sizeof action->mask) < 0 ? PYUNW_ERR_SYSTEM
                                                                                            : PYUNW_OK;
}

static int take(int signal, void (*handler)(int, siginfo_t *, void *), int flags, struct kernel_sigaction *previous)
{
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | flags};
    ours.sa_sigaction = handler;
    sigemptyset(&ours.sa_mask);
    (void)query(signal, previous);
    return sigaction(signal, &ours, NULL) == 0 ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}

/* CPython does so whoever's handler is there now. */
static void give_back(int signal, const struct kernel_sigaction *previous)
{
    (void)raw_syscall4(SYS_rt_sigaction, signal, (long)previous, 0, sizeof previous->mask);
}

int pyunw_faulthandler_enable(const pyunw_faulthandler_options *options)
{
    const uint32_t with_c_stack = 0x030e0000; /* 3.14 */
    struct faulthandler *state = &pyunw_faulthandler;
    struct dump dump;
    int err = pyunw_faulthandler_take_options(options, &dump);
    if (err == PYUNW_OK)
        err = pyunw_crash_attach_thread();
    if (err < 0)
        return err;
    bool c_stack = options->c_stack != 0 && state->version >= with_c_stack;
    if (c_stack)
        pyunw_faulthandler_prepare_c_stack();
    state->fatal = dump;
    state->write_c_stack = c_stack ? pyunw_faulthandler_write_c_stack : NULL;
    if (state->enabled)
        return PYUNW_OK;
    state->enabled = true;
    for (int n = 0; n < FATAL_COUNT; n++) {
        struct fatal_signal *fatal = &pyunw_faulthandler_fatal[n];
        if (take(fatal->number, pyunw_faulthandler_on_fatal, SA_NODEFER, &fatal->previous) < 0)
            return PYUNW_ERR_SYSTEM;
        fatal->taken = true;
    }
    return PYUNW_OK;
}

int pyunw_faulthandler_disable(void)
{
    if (!pyunw_faulthandler.enabled)
        return 0;
    pyunw_faulthandler.enabled = false;
    for (int n = 0; n < FATAL_COUNT; n++) {
        struct fatal_signal *fatal = &pyunw_faulthandler_fatal[n];
        if (fatal->taken)
            give_back(fatal->number, &fatal->previous);
        fatal->taken = false;
    }
    return 1;
}

int pyunw_faulthandler_is_enabled(void)
{
    return pyunw_faulthandler.enabled ? 1 : 0;
}

static bool can_be_registered(int signum)
{
    for (int n = 0; n < FATAL_COUNT; n++) {
        if (pyunw_faulthandler_fatal[n].number == signum)
            return false;
    }
    return signum >= 1 && signum <= SIGNAL_COUNT;
}

int pyunw_faulthandler_register(int signum, const pyunw_faulthandler_options *options)
{
    struct dump dump;
    if (!can_be_registered(signum))
        return PYUNW_ERR_ARGUMENT;
    int err = pyunw_faulthandler_take_options(options, &dump);
    if (err == PYUNW_OK)
        err = pyunw_crash_attach_thread();
    if (err < 0)
        return err;
    struct user_signal *user = &pyunw_faulthandler_user[signum];
    struct kernel_sigaction previous = {0};
    /* As CPython has it: with chain a system call is interrupted, so that a handler in Python runs soon. */
    if (!user->taken &&
        take(signum, pyunw_faulthandler_on_user, options->chain ? SA_NODEFER : SA_RESTART, &previous) < 0)
        return PYUNW_ERR_SYSTEM;
    if (!user->taken) {
        user->previous = previous;
        (void)query(signum, &user->ours);
    }
    user->dump = dump;
    user->chain = options->chain != 0;
    user->taken = true;
    return PYUNW_OK;
}

int pyunw_faulthandler_unregister(int signum)
{
    if (!can_be_registered(signum))
        return PYUNW_ERR_ARGUMENT;
    struct user_signal *user = &pyunw_faulthandler_user[signum];
    if (!user->taken)
        return 0;
    user->taken = false;
    give_back(signum, &user->previous);
    return 1;
}

/* ---- At once ---- */

int pyunw_faulthandler_dump_traceback(const pyunw_faulthandler_options *options)
{
    struct dump dump;
    int err = pyunw_faulthandler_take_options(options, &dump);
    return err < 0 ? err : pyunw_faulthandler_write(&dump, pyunw_faulthandler_current());
}
