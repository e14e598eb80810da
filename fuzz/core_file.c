/*
 * Fuzz target: core files: loading one, plain or compressed, what it says of its process, and the interpreter in it.
 *
 * Input: the file. No other file is read: the root of those that it names is a folder that is not there.
 */
#include "ask.h"
#include "fuzz.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    char *message = malloc(200);
    pyunw_core *core = NULL;
    pyunw_target target;
    int fd = file_of(data, size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const pyunw_core_options load = {.size = sizeof load,
                                     .sysroot = "/nonexistent",
                                     .debug_dir = "/nonexistent",
                                     .message = message,
                                     .message_size = 200};
    const pyunw_options open = {.size = sizeof open, .message = message, .message_size = 200};
    memset(message, 0xa5, 200);
    int result = pyunw_load_core(path, &core, &load);
    REQUIRE((result == 0) == (core != NULL));
    REQUIRE(memchr(message, '\0', 200) != NULL);
    if (result == 0) {
        require_core(core);
        memset(message, 0xa5, 200);
        result = pyunw_open_core(&target, core, &open);
        REQUIRE(memchr(message, '\0', 200) != NULL);
        if (result == 0) {
            struct asked asked = {.target = &target, .steady = true};
            ask_threads(&asked, 0);
            pyunw_close(&target);
        }
        pyunw_unload_core(core);
    }
    free(message);
    (void)close(fd);
    return 0;
}
