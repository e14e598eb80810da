/*
 * A crash tracker of the shape that vendors use: their handler, their pipe, their receiver, and a callback that tells
 * one frame at a time. All that it needs of pyunwind is one capture.
 *
 *     LD_PRELOAD=build/examples/libvendor_tracker.so TRACKER_FD=3 python3 program.py 3>crash.txt
 */
#include <fcntl.h>
#include <pyunwind.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a vendor's collector takes. */
typedef void emit_frame(void *context, const char *function, const char *file, int line, int column);

enum { FRAMES = 256, STACK_SIZE = 64 << 10 };

static pyunw_target target;
static pyunw_frame frames[FRAMES]; /* no heap when it is needed, and too large for an alternate stack */
static struct sigaction previous;
static int pipe_fd = -1;

static int collect_python_stack(emit_frame *emit, void *context)
{
    pyunw_status status;
    int count = pyunw_capture_current(&target, frames, FRAMES, &status);
    for (int n = 0; n < count; n++)
        emit(context, frames[n].qualname, frames[n].filename, frames[n].position.lineno, frames[n].position.colno);
    return count < 0 ? count : status.end == PYUNW_COMPLETE;
}

/* ---- The vendor's own part: a line a frame, written in one call ---- */

static size_t put_text(char *line, size_t at, size_t room, const char *text)
{
    size_t length = strnlen(text, room - at - 1);
    memcpy(line + at, text, length);
    return at + length;
}

static size_t put_number(char *line, size_t at, size_t room, int value)
{
    char digits[12] = "";
    size_t first = sizeof digits - 1;
    unsigned rest = value < 0 ? 0 - (unsigned)value : (unsigned)value;
    do {
        digits[--first] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--first] = '-';
    return put_text(line, at, room, digits + first);
}

static void write_frame(void *context, const char *function, const char *file, int line, int column)
{
    char text[2048];
    size_t at = put_text(text, 0, sizeof text, function);
    at = put_text(text, at, sizeof text, "\t");
    at = put_text(text, at, sizeof text, file);
    at = put_text(text, at, sizeof text, "\t");
    at = put_number(text, at, sizeof text, line);
    at = put_text(text, at, sizeof text, "\t");
    at = put_number(text, at, sizeof text, column);
    text[at++] = '\n';
    (void)!write(*(const int *)context, text, at);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    (void)collect_python_stack(write_frame, &pipe_fd);
    (void)sigaction(signal, &previous, NULL); /* and the fault comes again */
}

__attribute__((constructor)) static void install(void)
{
    static char stack[STACK_SIZE];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    const char *fd = getenv("TRACKER_FD");
    struct sigaction ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (fd == NULL || pyunw_open_self(&target, NULL) < 0)
        return; /* not asked for, or no Python here */
    pipe_fd = (int)strtol(fd, NULL, 10);
    (void)sigaltstack(&alternate, NULL);
    (void)sigaction(SIGSEGV, &ours, &previous);
}
