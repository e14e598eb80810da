/*
 * What every function says of arguments that it does not allow: nothing of that depends on a memory.
 */
#include "ask.h"
#include "fuzz.h"

#include <string.h>

static void ask_closed(const pyunw_target *target, int expected)
{
    pyunw_thread_cursor threads;
    pyunw_frame_cursor frames;
    pyunw_local_cursor locals;
    pyunw_thread thread;
    pyunw_raw_frame raw = {0};
    pyunw_frame frame;
    pyunw_description description = {.flags = 0};
    pyunw_position position;
    pyunw_code_identity identity;
    pyunw_exception exception = {0};
    pyunw_exception_text text;
    pyunw_target_info info;
    pyunw_addr address = 0;
    char buffer[8];
    REQUIRE(pyunw_target_describe(target, &info) == expected);
    REQUIRE(pyunw_is_finalizing(target) == expected);
    REQUIRE(pyunw_threads_begin(target, &threads) == expected);
    REQUIRE(pyunw_current_thread(target, &address) == expected);
    REQUIRE(pyunw_thread_find(target, 0, &thread) == expected);
    REQUIRE(pyunw_walk(target, 0, &raw, 1, NULL) == expected);
    REQUIRE(pyunw_frames_begin(target, 0, &frames) == expected);
    REQUIRE(pyunw_describe(target, &raw, &frame) == expected);
    REQUIRE(pyunw_describe_into(target, &raw, &description) == expected);
    REQUIRE(pyunw_find_position(target, &raw, &position) == expected);
    REQUIRE(pyunw_identify_code(target, 0, &identity) == expected);
    REQUIRE(pyunw_locals_begin(target, &raw, &locals) == expected);
    REQUIRE(pyunw_namespace_begin(target, 0, &locals) == expected);
    REQUIRE(pyunw_describe_value(target, 0, NULL, buffer, sizeof buffer, NULL) == expected);
    REQUIRE(pyunw_exception_find(target, 0, &exception) == expected);
    REQUIRE(pyunw_describe_exception(target, &exception, &text) == expected);
    REQUIRE(pyunw_capture(target, 0, &frame, 1, NULL) == expected);
    REQUIRE(pyunw_capture_current(target, &frame, 1, NULL) == expected);
    REQUIRE(pyunw_write_text(target, 1, 0) == expected);
    REQUIRE(pyunw_write_text_threads(target, 1, 0, 0, 0) == expected);
    REQUIRE(pyunw_write_json(target, 1, 0) == expected);
    REQUIRE(pyunw_write_json_threads(target, 1) == expected);
}

static void ask_cursors(void)
{
    pyunw_thread_cursor threads;
    pyunw_frame_cursor frames;
    pyunw_local_cursor locals;
    pyunw_thread thread;
    pyunw_raw_frame raw;
    pyunw_local local;
    pyunw_status status;
    memset(&threads, 0, sizeof threads);
    memset(&frames, 0, sizeof frames);
    memset(&locals, 0, sizeof locals);
    REQUIRE(pyunw_threads_next(&threads, &thread) == PYUNW_ERR_NOT_OPEN);
    REQUIRE(pyunw_threads_next(NULL, &thread) == PYUNW_ERR_ARGUMENT);
    REQUIRE(pyunw_frames_next(&frames, &raw) == PYUNW_ERR_NOT_OPEN);
    REQUIRE(pyunw_frames_next(NULL, &raw) == PYUNW_ERR_ARGUMENT);
    REQUIRE(pyunw_frames_end(&frames, &status) == PYUNW_ERR_NOT_OPEN);
    REQUIRE(pyunw_frames_end(NULL, &status) == PYUNW_ERR_ARGUMENT);
    REQUIRE(pyunw_locals_next(&locals, &local) == PYUNW_ERR_NOT_OPEN);
    REQUIRE(pyunw_locals_next(NULL, &local) == PYUNW_ERR_ARGUMENT);
    REQUIRE(pyunw_locals_end(&locals) == PYUNW_ERR_NOT_OPEN);
    REQUIRE(pyunw_locals_end(NULL) == PYUNW_ERR_ARGUMENT);
}

void ask_arguments(void)
{
    static bool asked;
    pyunw_target closed;
    const pyunw_image image = {.size = sizeof image};
    if (asked)
        return;
    asked = true;
    for (int error = 1; error >= -20; error--)
        REQUIRE(pyunw_strerror(error)[0] != '\0');
    for (int end = -1; end <= 6; end++)
        REQUIRE(pyunw_end_name(end)[0] != '\0');
    memset(&closed, 0, sizeof closed);
    ask_closed(&closed, PYUNW_ERR_NOT_OPEN);
    ask_closed(NULL, PYUNW_ERR_ARGUMENT);
    ask_cursors();
    REQUIRE(pyunw_open_image(NULL, &image, NULL) == PYUNW_ERR_ARGUMENT);
    REQUIRE(pyunw_open_image(&closed, NULL, NULL) == PYUNW_ERR_ARGUMENT);
    REQUIRE(pyunw_open_image(&closed, &image, NULL) == PYUNW_ERR_ARGUMENT);
    pyunw_close(NULL);
}
