/*
 * Signal handlers to preload into any Python program, of any CPython from 3.8 to 3.15:
 *
 *     LD_PRELOAD=build/examples/libdemo_handler.so python3 program.py
 *
 * SIGUSR1 writes the Python stacks of all threads to standard error, and the program runs on. SIGSEGV writes the
 * same, the crashing thread first, and then the program dies of it as it would have died without. Each report is
 * written three times: in a format of our own, made from arrays of pyunw_frame; as text; and as lines of JSON.
 *
 * Whatever is called from a handler is signal-safe: nothing here allocates, takes a lock or uses stdio.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pyunwind.h"

enum { MAX_FRAMES = 100, STACK_ROOM = 64 * 1024 };

static pyunw_target target;
static struct sigaction previous_segv;

/* One report at a time: these belong to the thread that has taken `reporting`. */
static atomic_flag reporting = ATOMIC_FLAG_INIT;
static pyunw_frame frames[MAX_FRAMES];
static char output[4096];
static size_t output_length;

/* ---- Output: gathered in a buffer, since each write is a system call ---- */

static void flush(void)
{
    for (size_t written = 0; written < output_length;) {
        ssize_t result = write(STDERR_FILENO, output + written, output_length - written);
        if (result < 0 && errno != EINTR)
            break; /* nobody reads it, and nobody could be told */
        written += result < 0 ? 0 : (size_t)result;
    }
    output_length = 0;
}

static void put_bytes(const char *bytes, size_t size)
{
    for (size_t n = 0; n < size; n++) {
        if (output_length == sizeof output)
            flush();
        output[output_length++] = bytes[n];
    }
}

static void put(const char *text)
{
    put_bytes(text, strlen(text));
}

/* Digits, right-aligned in the caller's room. */
static const char *format_number(uint64_t number, unsigned base, char room[21])
{
    char *digits = room + 20;
    *digits = '\0';
    do
        *--digits = "0123456789abcdef"[number % base];
    while ((number /= base) != 0);
    return digits;
}

static void put_number(uint64_t number, unsigned base)
{
    char room[21];
    put(format_number(number, base, room));
}

/* Results of pyunw_* functions: a failure is said in words. */
static void put_error(int result)
{
    if (result < 0) {
        put("error: ");
        put(pyunw_strerror(result));
        put("\n");
    }
}

/* ---- A format of our own: frames are data ---- */

/* folder/file.py: where the last two parts of a path begin. */
static const char *short_filename(const pyunw_frame *frame)
{
    const char *at = frame->filename + frame->filename_length;
    for (int slashes = 0; at > frame->filename; at--)
        if (at[-1] == '/' && ++slashes == 2)
            break;
    return at;
}

static void put_frame(const pyunw_frame *frame)
{
    static const char *const kinds[] = {"", " [generator]", " [coroutine]", " [async generator]", "", " [class]"};
    put("  ");
    put(short_filename(frame));
    if (frame->position.lineno >= 0) {
        put(":");
        put_number((uint64_t)frame->position.lineno, 10);
    }
    if (frame->position.colno >= 0) {
        put(":");
        put_number((uint64_t)frame->position.colno + 1, 10); /* editors and compilers count from 1 */
    }
    put(" ");
    put_bytes(frame->qualname, frame->qualname_length);
    put(frame->raw.kind < sizeof kinds / sizeof kinds[0] ? kinds[frame->raw.kind] : "");
    put("\n");
}

/* The kernel's name of a thread. */
static void put_thread_name(uint64_t native_id)
{
    char path[64], room[21], name[32];
    stpcpy(stpcpy(stpcpy(path, "/proc/self/task/"), format_number(native_id, 10, room)), "/comm");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t size = read(fd, name, sizeof name);
    close(fd);
    if (size > 1) {
        put(" \"");
        put_bytes(name, (size_t)size - 1); /* without the line's end */
        put("\"");
    }
}

static void put_thread(const pyunw_thread *thread, const char *role)
{
    pyunw_status status;
    put("thread ");
    put_number(thread->native_id, 10);
    put_thread_name(thread->native_id);
    put((thread->flags & PYUNW_THREAD_MAIN) != 0 ? ", main thread" : "");
    put((thread->flags & PYUNW_THREAD_HOLDS_GIL) != 0 ? ", holds the GIL" : "");
    put(role);
    put("\n");
    int count = pyunw_capture(&target, thread->tstate, frames, MAX_FRAMES, &status);
    put_error(count);
    for (int n = 0; n < count; n++)
        put_frame(&frames[n]);
    if (count >= 0 && status.end != PYUNW_COMPLETE) {
        put("  (");
        put(pyunw_end_name(status.end));
        put(")\n");
    }
}

static void put_threads(pyunw_addr current, const char *role)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    if (current != 0 && pyunw_thread_find(&target, current, &thread) == 0)
        put_thread(&thread, role);
    int result = pyunw_threads_begin(&target, &cursor);
    if (result == 0) {
        while ((result = pyunw_threads_next(&cursor, &thread)) == 1)
            if (thread.tstate != current)
                put_thread(&thread, "");
    }
    put_error(result);
}

/* ---- The report ---- */

static void write_report(const char *role)
{
    pyunw_addr current = 0; /* stays 0 in a thread that Python does not know */
    put("[frames]\n");
    put_error(pyunw_current_thread(&target, &current));
    put_threads(current, role);
    put("[text]\n");
    flush(); /* the library writes to the descriptor itself */
    put_error(pyunw_write_text_threads(&target, STDERR_FILENO, 0, current, 0));
    put("[json]\n");
    flush();
    put_error(pyunw_write_json_threads(&target, STDERR_FILENO));
    put("[end]\n");
    flush();
}

static void put_heading(const char *signal_name)
{
    pyunw_target_info info;
    put(signal_name);
    if (pyunw_target_describe(&target, &info) == 0) {
        put(" in CPython ");
        put_number(info.version >> 24, 10);
        put(".");
        put_number(info.version >> 16 & 0xff, 10);
        put(".");
        put_number(info.version >> 8 & 0xff, 10);
        put(info.free_threaded ? ", free-threaded" : "");
    }
    put(", process ");
    put_number((uint64_t)getpid(), 10);
}

static void put_fault(const siginfo_t *info)
{
    if (info->si_code <= 0)
        return;                       /* sent by kill() or its like: no fault, and no address */
    if (info->si_code == SI_KERNEL) { /* not canonical: x86_64 tells no address, and si_addr is 0 */
        put(", at an address that is not known");
        return;
    }
    put(", at address 0x");
    put_number((uintptr_t)info->si_addr, 16);
    put(info->si_code == SEGV_MAPERR ? " (not mapped)" : info->si_code == SEGV_ACCERR ? " (not allowed)" : "");
}

/* ---- The handlers ---- */

static void begin_report(void)
{
    /* Both signals are blocked while either handler runs: the thread that has it is another one, and at work. */
    while (atomic_flag_test_and_set(&reporting))
        poll(NULL, 0, 1);
}

static void end_report(void)
{
    atomic_flag_clear(&reporting);
}

static void on_usr1(int number)
{
    (void)number;
    int interrupted_errno = errno;
    begin_report();
    put_heading("SIGUSR1");
    put("\n");
    write_report(", runs this handler");
    end_report();
    errno = interrupted_errno;
}

static void on_segv(int number, siginfo_t *info, void *context)
{
    (void)context;
    begin_report();
    put_heading("SIGSEGV");
    put_fault(info);
    put("\n");
    write_report(", crashed here");
    /*
     * What was there before, be it the default action or another handler, gets the same fault: when this handler
     * returns, the instruction is executed again. A signal that was sent has no instruction, and is sent again.
     */
    sigaction(SIGSEGV, &previous_segv, NULL);
    if (info->si_code <= 0)
        (void)raise(number);
    end_report();
}

/* Without a stack of its own, a handler could not report a stack overflow. */
static int give_alternate_stack(void)
{
    stack_t stack = {.ss_size = getauxval(AT_MINSIGSTKSZ) + STACK_ROOM};
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    return stack.ss_sp == MAP_FAILED ? -1 : sigaltstack(&stack, NULL);
}

/* Runs before main(), and so before Py_Initialize: a target may be opened that early. */
__attribute__((constructor)) static void install(void)
{
    char message[200] = "";
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    int err = pyunw_open_self(&target, &options);
    if (err == PYUNW_ERR_NO_PYTHON)
        return; /* preloaded into a program that is not Python: it is left alone */
    if (err < 0) {
        (void)fprintf(stderr, "demo handler: %s: %s\n", pyunw_strerror(err), message);
        return;
    }
    /* The main thread's. A thread without one of its own runs the handler on its normal stack. */
    if (give_alternate_stack() < 0)
        perror("demo handler: sigaltstack");

    struct sigaction action = {.sa_flags = SA_ONSTACK | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR1);
    sigaddset(&action.sa_mask, SIGSEGV);
    action.sa_handler = on_usr1;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags |= SA_SIGINFO;
    action.sa_sigaction = on_segv;
    sigaction(SIGSEGV, &action, &previous_segv);
}
