/*
 * Install and remove the crash tracker.
 * Signal-safe: no.
 */
#include "install.h"
#include "other_copy.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

enum { DEFAULT_MILLISECONDS = 10000, STACK_SIZE = 256 << 10 };

int pyunw_crash_refuse(const pyunw_crash_options *options, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (options->message != NULL && options->message_size > 0)
        (void)vsnprintf(options->message, options->message_size, format, arguments);
    va_end(arguments);
    return error;
}

/* ---- Options ---- */

static int signal_by_name(const char *name, size_t length)
{
    static const struct {
        const char *name;
        int signal;
    } names[] = {
        {"SEGV", SIGSEGV}, {"BUS", SIGBUS}, {"ILL", SIGILL},   {"FPE", SIGFPE},
        {"ABRT", SIGABRT}, {"SYS", SIGSYS}, {"TRAP", SIGTRAP},
    };
    if (length > 3 && strncmp(name, "SIG", 3) == 0) {
        name += 3;
        length -= 3;
    }
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        if (strlen(names[n].name) == length && strncmp(names[n].name, name, length) == 0)
            return names[n].signal;
    }
    return 0;
}

/* "SEGV,ABRT"; 0 where a name is none of these. */
static uint64_t parse_signals(const char *text)
{
    uint64_t signals = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        int signal = signal_by_name(text, length);
        if (signal == 0)
            return 0;
        signals |= signal_bit(signal);
        text += length + (text[length] == ',');
    }
    return signals;
}

static int choose_signals(const pyunw_crash_options *options, struct crash_settings *settings)
{
    const uint64_t impossible = signal_bit(SIGKILL) | signal_bit(SIGSTOP);
    const char *named = secure_getenv("PYUNWIND_SIGNALS");
    settings->signals = options->signals;
    if (settings->signals == 0 && named != NULL && *named != '\0') {
        settings->signals = parse_signals(named);
        if (settings->signals == 0)
            return pyunw_crash_refuse(
                options, PYUNW_ERR_ARGUMENT,
                "PYUNWIND_SIGNALS is %s: only SEGV, BUS, ILL, FPE, ABRT, SYS and TRAP can be named", named);
    }
    if (settings->signals == 0) {
        for (size_t n = 0; n < sizeof fatal_signals / sizeof fatal_signals[0]; n++)
            settings->signals |= signal_bit(fatal_signals[n]);
    }
    if ((settings->signals & impossible) != 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT, "no process can handle SIGKILL and SIGSTOP");
    return PYUNW_OK;
}

/* One whose handler is ours anyway, or can be nobody's, cannot be chosen. */
static int choose_report_signal(const pyunw_crash_options *options, struct crash_settings *settings)
{
    const char *named = secure_getenv("PYUNWIND_REPORT_SIGNAL");
    int signal = options->report_signal;
    if (signal == 0 && named != NULL && *named != '\0') {
        char *end = NULL;
        signal = (int)strtol(named, &end, 10);
        if (*end != '\0')
            return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT,
                                      "PYUNWIND_REPORT_SIGNAL is %s: it has to be the number of a signal", named);
    }
    bool possible = signal == 0 || (signal > 0 && signal <= SIGNAL_COUNT && signal != SIGKILL && signal != SIGSTOP &&
                                    (settings->signals & signal_bit(signal)) == 0);
    if (!possible)
        return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT, "signal %d cannot be used to ask for a report", signal);
    settings->report_signal = signal;
    return PYUNW_OK;
}

static int choose_limit(const pyunw_crash_options *options, struct crash_settings *settings)
{
    const char *named = secure_getenv("PYUNWIND_TIME_LIMIT");
    double milliseconds = options->time_limit;
    if (options->time_limit == 0 && named != NULL && *named != '\0') {
        char *end = NULL;
        milliseconds = strtod(named, &end) * 1000;
        if (end == named || *end != '\0' || !(milliseconds > 0 && milliseconds < 1e9))
            return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT,
                                      "PYUNWIND_TIME_LIMIT is %s: it has to be a number of seconds", named);
    }
    if (milliseconds < 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT, "a time limit of %d milliseconds", options->time_limit);
    settings->time_limit = (int64_t)((milliseconds > 0 ? milliseconds : DEFAULT_MILLISECONDS) * 1e6);
    return PYUNW_OK;
}

static bool is_text_wanted(const pyunw_crash_options *options)
{
    const char *named = secure_getenv("PYUNWIND_TEXT");
    return (options->flags & PYUNW_CRASH_TEXT) != 0 || (named != NULL && *named != '\0' && strcmp(named, "0") != 0);
}

static int choose_output(const pyunw_crash_options *options, struct crash_settings *settings)
{
    const char *named = secure_getenv("PYUNWIND_REPORT_FD");
    int fd = options->report_fd;
    if (fd == 0 && named != NULL && *named != '\0')
        fd = (int)strtol(named, NULL, 10);
    settings->output = pyunw_crash_hold(fd > 2 ? fd : -1);
    settings->standard_error = pyunw_crash_hold(is_text_wanted(options) ? STDERR_FILENO : -1);
    if (fd > 2 && settings->output.fd < 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT, "descriptor %d, for reports, is not open", fd);
    return PYUNW_OK;
}

/* ---- What is opened ---- */

static void open_targets(struct crash_settings *settings)
{
    static const int guards[TARGET_COUNT] = {PYUNW_GUARD_READV, PYUNW_GUARD_PROC_MEM, PYUNW_GUARD_PIPE};
    settings->target_count = 0;
    for (int n = 0; n < TARGET_COUNT; n++) {
        const pyunw_options options = {.size = sizeof options, .memory = PYUNW_MEMORY_GUARDED, .guard = guards[n]};
        int err = pyunw_open_self(&settings->targets[settings->target_count], &options);
        if (err == PYUNW_OK || err == PYUNW_ERR_FINALIZED || err == PYUNW_ERR_NOT_INITIALIZED)
            settings->target_count++;
    }
}

/* The kernel's admin-guide/LSM/Yama.rst: 1 is the only rule that a process can make an exception of for itself. */
static bool is_restricted_by_yama(void)
{
    char rule = '0';
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    bool restricted = fd >= 0 && read(fd, &rule, 1) == 1 && rule == '1';
    if (fd >= 0)
        (void)close(fd);
    return restricted;
}

static int make_stacks(const pyunw_crash_options *options, struct crash_settings *settings)
{
    char *stack = pyunw_crash_map_stack(STACK_SIZE);
    char *clone_stack = pyunw_crash_map_stack(CLONE_STACK_SIZE);
    if (stack == NULL || clone_stack == NULL || pyunw_crash_attach_thread() < 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM, "there is no memory for the handler's stacks");
    settings->stack_top = stack + STACK_SIZE;
    settings->clone_stack_top = clone_stack + CLONE_STACK_SIZE;
    return PYUNW_OK;
}

static void close_held(const struct held_file *file)
{
    if (pyunw_crash_holds(file))
        (void)close(file->fd);
}

static void close_files(const struct crash_settings *settings)
{
    close_held(&settings->folder);
    close_held(&settings->journal);
    close_held(&settings->helper);
}

static int open_all(const pyunw_crash_options *options, struct crash_settings *settings)
{
    int err = choose_signals(options, settings);
    if (err == PYUNW_OK)
        err = choose_report_signal(options, settings);
    if (err == PYUNW_OK)
        err = choose_limit(options, settings);
    if (err == PYUNW_OK)
        err = choose_output(options, settings);
    if (err == PYUNW_OK)
        err = pyunw_crash_open_folder(options, settings);
    if (err == PYUNW_OK)
        err = pyunw_crash_open_helper(options, settings);
    if (err == PYUNW_OK)
        err = pyunw_crash_make_environment(options, settings);
    return err;
}

/* ---- Handlers ---- */

static bool is_taken(const struct crash_settings *settings, int signal)
{
    return signal == settings->report_signal || (settings->signals & signal_bit(signal)) != 0;
}

static int query(int signal, struct kernel_sigaction *action)
{
    return raw_syscall4(SYS_rt_sigaction, signal, 0, (long)action, sizeof action->mask) < 0 ? PYUNW_ERR_SYSTEM
                                                                                            : PYUNW_OK;
}

static bool is_ours(const struct kernel_sigaction *action)
{
    return action->handler == (void *)(uintptr_t)&pyunw_crash_handler ||
           action->handler == (void *)(uintptr_t)&pyunw_crash_report_handler;
}

/*
 * faulthandler's: a handler in the interpreter's own file that has SA_NODEFER, which the other of CPython's has not
 * (Modules/faulthandler.c, Modules/signalmodule.c). It prints, sets the handler that was there before, and raises the
 * signal again.
 */
static bool is_of_faulthandler(const struct crash_settings *settings, const struct kernel_sigaction *action)
{
    Dl_info runtime;
    Dl_info handler;
    pyunw_target_info info;
    if (settings->target_count == 0 || pyunw_target_describe(&settings->targets[0], &info) < 0)
        return false;
    return (action->flags & (unsigned long)SA_NODEFER) != 0 && dladdr((void *)(uintptr_t)info.runtime, &runtime) != 0 &&
           dladdr(action->handler, &handler) != 0 && runtime.dli_fbase == handler.dli_fbase;
}

static int take_signal(struct crash_settings *settings, int signal)
{
    struct kernel_sigaction found = {0};
    if (query(signal, &found) < 0)
        return PYUNW_ERR_SYSTEM;
    if (is_ours(&found))
        return PYUNW_OK;
    pyunw_crash_previous[signal] = found;
    if (is_of_faulthandler(settings, &found)) {
        settings->report_first |= signal_bit(signal);
        settings->dies_afterwards |= signal_bit(signal);
    }
    /*
     * SA_NODEFER: a fault of the handler itself is to come to it. Of the others only those wait that a program sends
     * itself, so that none of its own handlers runs on our stack.
     */
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    ours.sa_sigaction = pyunw_crash_handler;
    sigfillset(&ours.sa_mask);
    for (size_t n = 0; n < sizeof fatal_signals / sizeof fatal_signals[0]; n++)
        sigdelset(&ours.sa_mask, fatal_signals[n]);
    return sigaction(signal, &ours, NULL) == 0 ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}

/* It may come at any time: system calls that were interrupted go on. */
static int take_report_signal(int signal)
{
    struct kernel_sigaction found = {0};
    if (query(signal, &found) < 0)
        return PYUNW_ERR_SYSTEM;
    if (found.handler == (void *)(uintptr_t)&pyunw_crash_report_handler)
        return PYUNW_OK;
    pyunw_crash_previous[signal] = found;
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    ours.sa_sigaction = pyunw_crash_report_handler;
    sigfillset(&ours.sa_mask);
    for (size_t n = 0; n < sizeof fatal_signals / sizeof fatal_signals[0]; n++)
        sigdelset(&ours.sa_mask, fatal_signals[n]);
    return sigaction(signal, &ours, NULL) == 0 ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}

static int give_back(int signal)
{
    struct kernel_sigaction current = {0};
    if (query(signal, &current) < 0)
        return PYUNW_ERR_SYSTEM;
    if (!is_ours(&current))
        return PYUNW_OK;
    long result = raw_syscall4(SYS_rt_sigaction, signal, (long)&pyunw_crash_previous[signal], 0, sizeof current.mask);
    return result < 0 ? PYUNW_ERR_SYSTEM : PYUNW_OK;
}

/* ---- The interface ---- */

static void choose_test_stage(void)
{
    const char *stage = secure_getenv("PYUNWIND_TEST_FAULT_IN_STAGE");
    pyunw_crash_fault_in_stage = stage != NULL && *stage != '\0' ? (int)strtol(stage, NULL, 10) : -1;
}

int pyunw_crash_install_here(const pyunw_crash_options *asked)
{
    static const pyunw_crash_options defaults = {.size = sizeof defaults};
    static struct crash_settings next; /* large, and one thread installs at a time */
    const pyunw_crash_options *options = asked != NULL ? asked : &defaults;
    struct crash_settings *settings = &pyunw_crash_settings;
    if (options->size < sizeof *options)
        return PYUNW_ERR_ARGUMENT;
    if (options->message != NULL && options->message_size > 0)
        options->message[0] = '\0';
    next = (struct crash_settings){
        .pid = getpid(),
        .flags = options->flags,
        .is_restricted = is_restricted_by_yama(),
        .folder = {.fd = -1},
        .journal = {.fd = -1},
        .helper = {.fd = -1},
        .stack_top = settings->stack_top,
        .clone_stack_top = settings->clone_stack_top,
    };
    int err = open_all(options, &next);
    if (err == PYUNW_OK && next.stack_top == NULL)
        err = make_stacks(options, &next);
    if (err < 0) {
        close_files(&next);
        return err;
    }
    if (settings->installed)
        (void)pyunw_crash_remove_here();
    open_targets(&next);
    choose_test_stage();
    *settings = next;
    /* Its texts lie in it. */
    for (int n = 0; settings->environment[n] != NULL; n++)
        settings->environment[n] = settings->environment_text + (next.environment[n] - next.environment_text);
    settings->installed = true;
    for (int signal = 1; signal <= SIGNAL_COUNT; signal++) {
        if (signal == settings->report_signal && take_report_signal(signal) == PYUNW_OK)
            continue;
        if (!is_taken(settings, signal) || take_signal(settings, signal) == PYUNW_OK)
            continue;
        (void)pyunw_crash_remove_here();
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM, "signal %d cannot be handled: %s", signal,
                                  strerror(errno));
    }
    return PYUNW_OK;
}

int pyunw_crash_remove_here(void)
{
    struct crash_settings *settings = &pyunw_crash_settings;
    int result = PYUNW_OK;
    if (!settings->installed)
        return PYUNW_OK;
    for (int signal = 1; signal <= SIGNAL_COUNT; signal++) {
        if (is_taken(settings, signal) && give_back(signal) < 0)
            result = PYUNW_ERR_SYSTEM;
    }
    settings->installed = false;
    close_files(settings);
    return result;
}

/* Of a preloaded library that is not this one; NULL: there is none. */
static const struct preloaded_tracker *find_preloaded(void)
{
    const struct preloaded_tracker *found = dlsym(RTLD_DEFAULT, PRELOADED_TRACKER);
    if (found == NULL)
        (void)dlerror(); /* the program is not to be told of what it has not asked for */
    return found != NULL && found->version == PRELOADED_TRACKER_VERSION ? found : NULL;
}

int pyunw_crash_install(const pyunw_crash_options *options)
{
    const struct preloaded_tracker *preloaded = find_preloaded();
    if (preloaded == NULL)
        return pyunw_crash_install_here(options);
    int err = preloaded->install(options);
    if (err == PYUNW_OK)
        pyunw_crash_preloaded = preloaded;
    return err;
}

int pyunw_crash_remove(void)
{
    const struct preloaded_tracker *preloaded = pyunw_crash_preloaded;
    pyunw_crash_preloaded = NULL;
    return preloaded != NULL ? preloaded->restore() : pyunw_crash_remove_here();
}
