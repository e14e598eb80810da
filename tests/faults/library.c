/*
 * A host of both libraries, called by library.py with the GIL held: it makes no call of its own between fail_begin()
 * and fail_end() but those of pyunwind, and says what each of them gave.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pyunwind.h>
#include <pyunwind_crash.h>
#include <pyunwind_remote.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fail_begin(void);
void fail_end(void);

enum { FRAMES = 64, NATIVE_FRAMES = 256 };

static char told[1 << 16];
static size_t used;
static pyunw_frame frames[FRAMES];
static pyunw_native_frame native_frames[NATIVE_FRAMES];
static char message[1024];

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(told + used, sizeof told - used, format, arguments);
    va_end(arguments);
    used += length > 0 && (size_t)length < sizeof told - used ? (size_t)length : 0;
}

int count_descriptors(void);
const char *library_told(void);
void library_core(int memory, int guard);
void library_write(int fd);
void library_remote(int pid, int pause, int native);
void library_core_file(const char *path);
void library_crash(const char *folder, const char *helper);

const char *library_told(void)
{
    return told;
}

/* But that of the folder itself, and what lies in the place of closed ones (closed.h). */
int count_descriptors(void)
{
    int count = -1;
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char target[PATH_MAX];
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        count += length > 0 && strstr(target, "fail.log.closed") == NULL;
    }
    closedir(folder);
    return count;
}

static void say_stacks(const pyunw_target *target)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int more = pyunw_threads_begin(target, &cursor);
    while (more >= 0 && (more = pyunw_threads_next(&cursor, &thread)) == 1) {
        pyunw_status status = {0};
        int count = pyunw_capture(target, thread.tstate, frames, FRAMES, &status);
        say("capture %d %s", count < 0 ? count : 0, count < 0 ? "error" : pyunw_end_name(status.end));
        for (int n = 0; n < count; n++)
            say(" %s:%d", (frames[n].flags & PYUNW_NAME_UNREADABLE) != 0 ? "?" : frames[n].name,
                (int)frames[n].position.lineno);
        say("\n");
    }
    say("threads %d\n", more);
}

void library_core(int memory, int guard)
{
    pyunw_target target;
    const pyunw_options options = {
        .size = sizeof options, .memory = memory, .guard = guard, .message = message, .message_size = sizeof message};
    fail_begin();
    int trap = memory == PYUNW_MEMORY_TRAPPED ? pyunw_trap_install() : 0;
    say("trap %d\n", trap);
    int err = trap < 0 ? trap : pyunw_open_self(&target, &options);
    say("open %d\n", err);
    if (err == 0) {
        pyunw_status status = {0};
        int count = pyunw_capture_current(&target, frames, FRAMES, &status);
        say("current %d %s\n", count, pyunw_end_name(status.end));
        say_stacks(&target);
        pyunw_close(&target);
    }
    if (memory == PYUNW_MEMORY_TRAPPED && trap == 0)
        say("untrap %d\n", pyunw_trap_remove());
    fail_end();
}

void library_write(int fd)
{
    pyunw_target target;
    int err = pyunw_open_self(&target, NULL);
    pyunw_addr current = 0;
    err = err < 0 ? err : pyunw_current_thread(&target, &current);
    fail_begin();
    if (err == 0) {
        say("text %d\n", pyunw_write_text_threads(&target, fd, 0, current, 100));
        say("json %d\n", pyunw_write_json_threads(&target, fd));
    }
    fail_end();
    pyunw_close(&target);
}

void library_remote(int pid, int with_pause, int with_native)
{
    pyunw_target target;
    pyunw_pause *pause = NULL;
    pyunw_native *native = NULL;
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    fail_begin();
    int err = with_pause ? pyunw_pause_process(pid, 5000, &pause, &options) : 0;
    say("pause %d\n", err);
    if (err == 0)
        err = with_pause ? pyunw_open_paused(&target, pause, &options) : pyunw_open_pid(&target, pid, &options);
    say("open %d\n", err);
    bool is_open = err == 0;
    if (is_open)
        say_stacks(&target);
    if (is_open && with_native) {
        int end = 0;
        err = pyunw_native_open(&native, pause, &options);
        int count = err < 0 ? err : pyunw_native_walk(native, pid, native_frames, NATIVE_FRAMES, &end);
        int described = count > 0 ? pyunw_native_describe(native, native_frames, count) : 0;
        say("native %d %d %d %d %s\n", err, count, described, end,
            count > 0 && native_frames[0].function != NULL ? native_frames[0].function : "?");
        pyunw_native_close(native);
    }
    if (is_open)
        pyunw_close(&target);
    if (pause != NULL)
        say("resume %d\n", pyunw_resume_process(pause));
    fail_end();
    say("message %s\n", message);
}

void library_core_file(const char *path)
{
    pyunw_target target;
    pyunw_core *core = NULL;
    const pyunw_core_options core_options = {
        .size = sizeof core_options, .message = message, .message_size = sizeof message};
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    fail_begin();
    int err = pyunw_load_core(path, &core, &core_options);
    say("load %d\n", err);
    if (err >= 0) {
        err = pyunw_open_core(&target, core, &options);
        say("open %d\n", err);
        if (err == 0) {
            say_stacks(&target);
            pyunw_close(&target);
        }
        pyunw_unload_core(core);
    }
    fail_end();
    say("message %s\n", message);
}

void library_crash(const char *folder, const char *helper)
{
    const pyunw_crash_options options = {.size = sizeof options,
                                         .report_dir = folder,
                                         .helper = helper,
                                         .report_fd = -1,
                                         .message = message,
                                         .message_size = sizeof message};
    fail_begin();
    int err = pyunw_crash_install(&options);
    say("install %d\n", err);
    if (err == 0) {
        say("attach %d\n", pyunw_crash_attach_thread());
        say("now %d\n", pyunw_crash_report_now());
        say("detach %d\n", pyunw_crash_detach_thread());
        say("remove %d\n", pyunw_crash_remove());
    }
    fail_end();
    say("message %s\n", message);
}
