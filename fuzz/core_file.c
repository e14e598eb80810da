/*
 * Fuzz target: core files: loading one, plain or compressed, what it says of its process, and the interpreter in it.
 *
 * Input: the file, whose last four bytes tell also where _PyRuntime may be (image_file.h). No other file is read: the
 * root of those that it names is a folder that is not there.
 */
#include "ask.h"
#include "fuzz.h"
#include "image_file.h"
#include "pyunwind_remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void require_core(const pyunw_core *core)
{
    pyunw_core_info info;
    pyunw_core_thread thread;
    pyunw_core_file file;
    REQUIRE(pyunw_core_describe(core, &info) == 0);
    REQUIRE(info.command == NULL || info.command_size == 0 || memchr(info.command, '\0', info.command_size) != NULL);
    for (size_t n = 0; n < info.thread_count; n++) {
        REQUIRE(pyunw_core_thread_at(core, n, &thread) == 0);
        REQUIRE(memchr(thread.name, '\0', sizeof thread.name) != NULL);
    }
    REQUIRE(pyunw_core_thread_at(core, info.thread_count, &thread) == PYUNW_ERR_ARGUMENT);
    for (size_t n = 0; n < info.file_count; n++) {
        REQUIRE(pyunw_core_file_at(core, n, &file) == 0);
        REQUIRE(file.path != NULL && memchr(file.build_id, '\0', sizeof file.build_id) != NULL);
        REQUIRE(file.found == NULL);
    }
    REQUIRE(pyunw_core_file_at(core, info.file_count, &file) == PYUNW_ERR_ARGUMENT);
}

static void open_interpreter(const pyunw_core *core, pyunw_addr runtime, char *message, size_t message_size)
{
    pyunw_target target;
    const pyunw_options options = {
        .size = sizeof options, .runtime = runtime, .message = message, .message_size = message_size};
    memset(message, 0xa5, message_size);
    int result = pyunw_open_core(&target, core, &options);
    REQUIRE(result == 0 || memchr(message, '\0', message_size) != NULL);
    if (result == 0) {
        struct asked asked = {.target = &target, .steady = true};
        ask_threads(&asked, 0);
        pyunw_close(&target);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MESSAGE_SIZE = 200 };
    char path[64];
    char *message = malloc(MESSAGE_SIZE);
    pyunw_core *core = NULL;
    int fd = file_of(data, size);
    struct input end = {data + (size < 4 ? 0 : size - 4), 4};
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const pyunw_core_options options = {.size = sizeof options,
                                        .sysroot = "/nonexistent",
                                        .debug_dir = "/nonexistent",
                                        .message = message,
                                        .message_size = MESSAGE_SIZE};
    memset(message, 0xa5, MESSAGE_SIZE);
    int result = pyunw_load_core(path, &core, &options);
    REQUIRE((result == 0) == (core != NULL));
    REQUIRE(memchr(message, '\0', MESSAGE_SIZE) != NULL);
    if (result == 0) {
        require_core(core);
        open_interpreter(core, 0, message, MESSAGE_SIZE);
        if (size >= 4)
            open_interpreter(core, IMAGE_BASE + take_number(&end, 4), message, MESSAGE_SIZE);
        pyunw_unload_core(core);
    }
    free(message);
    (void)close(fd);
    return 0;
}
