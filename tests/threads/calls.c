/*
 * Every part that a thread may play while others play theirs, as the public headers document it ("Threads:"), to be
 * called by threads of Python. Built with ThreadSanitizer, as is the library that it is linked with.
 *
 * Functions that are for one thread at a time are called by one thread, again and again; those for any thread by the
 * others meanwhile, until all of the first kind have come to their end.
 */
#include <pyunwind.h>
#include <pyunwind_crash.h>
#include <pyunwind_faulthandler.h>
#include <pyunwind_python.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { FRAMES = 64, MEMORIES = 3 };

static pyunw_target targets[MEMORIES];
static int nowhere;
static atomic_int changing; /* threads of the first kind that have not ended */

int begin(int changers)
{
    static const int memories[MEMORIES] = {PYUNW_MEMORY_DIRECT, PYUNW_MEMORY_TRAPPED, PYUNW_MEMORY_GUARDED};
    nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    atomic_store(&changing, changers);
    for (int n = 0; n < MEMORIES; n++) {
        pyunw_options options = {.size = sizeof options, .memory = memories[n]};
        int err = pyunw_open_self(&targets[n], &options);
        if (err < 0)
            return err;
    }
    return nowhere < 0 ? PYUNW_ERR_SYSTEM : 0;
}

/* ---- For one thread at a time: rounds, or an error ---- */

int open_and_close(int rounds)
{
    int err = 0;
    for (int n = 0; n < rounds && err == 0; n++) {
        pyunw_target target;
        err = pyunw_open_self(&target, NULL);
        pyunw_close(&target);
    }
    atomic_fetch_sub(&changing, 1);
    return err < 0 ? err : rounds;
}

int install_traps(int rounds)
{
    int err = 0;
    for (int n = 0; n < rounds && err == 0; n++) {
        err = pyunw_trap_install();
        if (err == 0)
            err = pyunw_trap_remove();
    }
    atomic_fetch_sub(&changing, 1);
    return err < 0 ? err : rounds;
}

int open_again(int rounds)
{
    int err = 0;
    for (int n = 0; n < rounds && err == 0; n++)
        err = pyunw_init();
    atomic_fetch_sub(&changing, 1);
    return err < 0 ? err : rounds;
}

int install_crash(int rounds)
{
    int err = 0;
    for (int n = 0; n < rounds && err == 0; n++) {
        pyunw_crash_options options = {.size = sizeof options, .report_signal = n % 2 == 0 ? SIGUSR1 : 0};
        err = pyunw_crash_install(&options);
        if (err == 0 && n % 3 == 0)
            err = pyunw_crash_install(NULL);
        if (err == 0)
            err = pyunw_crash_remove();
    }
    atomic_fetch_sub(&changing, 1);
    return err < 0 ? err : rounds;
}

int change_faulthandler(int rounds)
{
    pyunw_faulthandler_options options = {.size = sizeof options, .fd = nowhere, .all_threads = 1};
    int err = 0;
    for (int n = 0; n < rounds && err == 0; n++) {
        pyunw_addr hidden = 4096;
        err = pyunw_faulthandler_enable(&options);
        if (err == 0)
            err = pyunw_faulthandler_register(SIGUSR2, &options);
        if (err == 0)
            err = pyunw_faulthandler_hide(&hidden, 1);
        if (err == 0)
            err = pyunw_faulthandler_dump_traceback_later(&options, 1000, 1, 0);
        if (err == 0)
            err = pyunw_faulthandler_dump_traceback(&options);
        pyunw_faulthandler_cancel_dump_traceback_later();
        pyunw_faulthandler_unregister(SIGUSR2);
        pyunw_faulthandler_hide(NULL, 0);
        pyunw_faulthandler_disable();
    }
    atomic_fetch_sub(&changing, 1);
    return err < 0 ? err : rounds;
}

/* ---- For any thread, until the others have ended: calls, or an error ---- */

/* Of all threads, as a sampling profiler does it. */
static int read_threads(const pyunw_target *target)
{
    pyunw_frame frames[8];
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    pyunw_status status;
    int calls = 0;
    int err = pyunw_threads_begin(target, &cursor);
    while (err >= 0 && (err = pyunw_threads_next(&cursor, &thread)) == 1) {
        pyunw_capture(target, thread.tstate, frames, 8, &status);
        calls++;
    }
    return err < 0 ? err : calls;
}

static int read_with(const pyunw_target *target)
{
    pyunw_raw_frame raw[FRAMES];
    pyunw_frame frame;
    pyunw_status status;
    int count = pyunw_walk(target, 0, raw, FRAMES, &status);
    for (int n = 0; n < count; n++)
        pyunw_describe(target, &raw[n], &frame);
    int more = count <= 0 ? count : read_threads(target);
    if (more < 0)
        return more;
    pyunw_write_text(target, nowhere, 0);
    pyunw_write_json_threads(target, nowhere);
    return count + more;
}

int capture(int rounds)
{
    int calls = 0;
    for (int n = 0; n < rounds || atomic_load(&changing) > 0; n++) {
        int err = read_with(&targets[n % MEMORIES]);
        if (err <= 0)
            return err;
        calls += err;
    }
    return calls;
}

int collect(int rounds)
{
    PyTracebackFrameInfo frames[FRAMES];
    pyunw_addr tstate = 0;
    int calls = 0;
    int err = pyunw_current_thread(&targets[0], &tstate);
    for (int n = 0; err == 0 && (n < rounds || atomic_load(&changing) > 0); n++) {
        int count = _Py_GetTracebackFrames((PyThreadState *)(uintptr_t)tstate, frames, FRAMES);
        if (count <= 0)
            return PYUNW_ERR_CORRUPT;
        calls += count;
    }
    return err < 0 ? err : calls;
}

int attach(int rounds)
{
    pyunw_faulthandler_options options = {.size = sizeof options, .fd = nowhere};
    int calls = 0;
    for (int n = 0; n < rounds || atomic_load(&changing) > 0; n++) {
        int err = pyunw_crash_attach_thread();
        if (err == 0)
            err = pyunw_crash_detach_thread();
        if (err == 0 && pyunw_faulthandler_is_enabled() < 0)
            err = PYUNW_ERR_CORRUPT;
        if (err == 0)
            err = pyunw_faulthandler_dump_traceback(&options);
        if (err < 0)
            return err;
        calls += 3;
    }
    return calls;
}
