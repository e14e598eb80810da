/*
 * A stranger's program that reads another process through the public headers: one line a frame, thread by thread.
 */
#include <pyunwind_remote.h>
#include <stdio.h>
#include <stdlib.h>

static void say_thread(const pyunw_target *target, const pyunw_thread *thread)
{
    static pyunw_frame frames[1024];
    pyunw_status status;
    int count = pyunw_capture(target, thread->tstate, frames, 1024, &status);
    for (int n = 0; n < count; n++)
        printf("%llu\t%s\t%s\t%d\n", (unsigned long long)thread->thread_id, frames[n].filename, frames[n].name,
               (int)frames[n].position.lineno);
    printf("%llu\t%s\n", (unsigned long long)thread->thread_id, pyunw_end_name(status.end));
}

int main(int argc, char **argv)
{
    char message[512] = "";
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    pyunw_target target;
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int result = pyunw_open_pid(&target, argc > 1 ? atoi(argv[1]) : 0, &options);
    if (result < 0) {
        printf("%s: %s\n", pyunw_strerror(result), message);
        return 1;
    }
    result = pyunw_threads_begin(&target, &cursor);
    while (result >= 0 && (result = pyunw_threads_next(&cursor, &thread)) == 1)
        say_thread(&target, &thread);
    pyunw_close(&target);
    return result < 0;
}
