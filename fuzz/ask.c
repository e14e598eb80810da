/*
 * Ask for threads, stacks, frames and their descriptions.
 */
#include "ask.h"

#include "ask_bounds.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 6, FRAMES_MAX = 40, DESCRIBED_MAX = 12, CURSOR_MAX = 1 << 12 };

/* Room of just its size, so that a sanitizer sees what is written behind it. */
static void *make_room(size_t size)
{
    return malloc(size > 0 ? size : 1);
}

/* ---- Descriptions ---- */

static void require_position(const pyunw_position *position, uint32_t flags)
{
    static const pyunw_position none = {-1, -1, -1, -1};
    if ((flags & PYUNW_POSITION_UNREADABLE) != 0)
        REQUIRE(memcmp(position, &none, sizeof none) == 0);
}

static void require_frame(const pyunw_frame *frame)
{
    require_text(frame->filename, sizeof frame->filename, frame->filename_length);
    require_text(frame->name, sizeof frame->name, frame->name_length);
    require_text(frame->qualname, sizeof frame->qualname, frame->qualname_length);
    require_position(&frame->position, frame->flags);
    REQUIRE((frame->flags & PYUNW_FILENAME_UNREADABLE) == 0 || frame->filename_length == 0);
    REQUIRE((frame->flags & PYUNW_NAME_UNREADABLE) == 0 || frame->name_length == 0);
    REQUIRE(frame->raw.kind <= PYUNW_FRAME_UNKNOWN && frame->raw.reserved == 0);
}

static bool are_alike(const pyunw_frame *one, const pyunw_frame *other)
{
    return memcmp(one, other, offsetof(pyunw_frame, filename)) == 0 &&
           memcmp(one->filename, other->filename, one->filename_length) == 0 &&
           memcmp(one->name, other->name, one->name_length) == 0 &&
           memcmp(one->qualname, other->qualname, one->qualname_length) == 0;
}

/* Of a text: what fits, with the size of the whole. */
static void require_described(const pyunw_text *text, const char *whole, size_t whole_length, bool keeps_end)
{
    if (text->size > 0)
        require_text(text->data, text->size, text->length);
    REQUIRE(text->length <= text->whole);
    if (whole_length == text->whole)
        REQUIRE(memcmp(text->data, whole + (keeps_end ? whole_length - text->length : 0), text->length) == 0);
}

static void describe_into(struct asked *asked, const pyunw_frame *frame, size_t size)
{
    char *rooms[3] = {make_room(size), make_room(size), make_room(size)};
    pyunw_description description = {.filename.data = rooms[0], .name.data = rooms[1], .qualname.data = rooms[2]};
    description.filename.size = description.name.size = description.qualname.size = size;
    int result = bounded(asked, READS_OF_DESCRIPTION, pyunw_describe_into(asked->target, &frame->raw, &description));
    if (asked->steady && asked->reads == NULL)
        REQUIRE(result == 0);
    if (result == 0 && asked->steady && frame->flags == description.flags) {
        require_described(&description.filename, frame->filename, frame->filename_length, true);
        require_described(&description.name, frame->name, frame->name_length, false);
        require_described(&description.qualname, frame->qualname, frame->qualname_length, false);
    }
    for (size_t n = 0; n < 3; n++)
        free(rooms[n]);
}

static void ask_frame(struct asked *asked, const pyunw_frame *frame)
{
    pyunw_code_identity identity;
    pyunw_position position;
    pyunw_frame *again = malloc(sizeof *again);
    require_frame(frame);
    memset(again, 0xa5, sizeof *again);
    int result = bounded(asked, READS_OF_DESCRIPTION, pyunw_describe(asked->target, &frame->raw, again));
    if (result == 0)
        require_frame(again);
    else
        REQUIRE(result == PYUNW_ERR_FAULT || result == PYUNW_ERR_CORRUPT);
    if (asked->steady)
        REQUIRE(result == 0 && are_alike(again, frame));
    result = bounded(asked, READS_OF_DESCRIPTION, pyunw_find_position(asked->target, &frame->raw, &position));
    if (asked->steady && result == 0)
        REQUIRE(memcmp(&position, &frame->position, sizeof position) == 0);
    result = bounded(asked, READS_OF_DESCRIPTION, pyunw_identify_code(asked->target, frame->raw.code, &identity));
    if (result == 0)
        REQUIRE(identity.code == frame->raw.code);
    describe_into(asked, frame, 0);
    describe_into(asked, frame, 1);
    describe_into(asked, frame, 9);
    describe_into(asked, frame, 4096);
    free(again);
}

/* ---- Stacks ---- */

static void require_status(const pyunw_status *status, int count)
{
    REQUIRE(status->end >= PYUNW_COMPLETE && status->end <= PYUNW_NO_FRAME);
    REQUIRE(status->depth >= 0 && status->unconfirmed >= 0);
    REQUIRE(status->undescribed >= 0 && status->undescribed <= count);
    if (status->end == PYUNW_NO_FRAME)
        REQUIRE(count == 0);
}

/* Frame by frame: the same as the array holds, where nothing changes. */
static void ask_cursor(struct asked *asked, pyunw_addr tstate, const pyunw_raw_frame *raw, int count)
{
    pyunw_frame_cursor cursor;
    pyunw_raw_frame frame;
    pyunw_status status;
    int number = 0;
    if (pyunw_frames_begin(asked->target, tstate, &cursor) < 0)
        return;
    while (number < CURSOR_MAX && pyunw_frames_next(&cursor, &frame) == 1) {
        if (asked->steady && number < count && count < FRAMES_MAX)
            REQUIRE(memcmp(&frame, &raw[number], sizeof frame) == 0);
        number++;
    }
    REQUIRE(bounded(asked, READS_OF_WALK, pyunw_frames_end(&cursor, &status)) == 0);
}

static void ask_walk(struct asked *asked, pyunw_addr tstate, int max)
{
    size_t size = sizeof(pyunw_raw_frame) * (size_t)max;
    pyunw_raw_frame *raw = make_room(size);
    pyunw_status status;
    int count = bounded(asked, READS_OF_WALK, pyunw_walk(asked->target, tstate, raw, max, &status));
    REQUIRE(count <= max);
    if (count >= 0) {
        require_status(&status, count);
        ask_cursor(asked, tstate, raw, count);
    }
    free(raw);
}

static void ask_capture(struct asked *asked, pyunw_addr tstate, int max)
{
    size_t size = sizeof(pyunw_frame) * (size_t)max;
    pyunw_frame *frames = make_room(size);
    pyunw_status status;
    int count = bounded(asked, READS_OF_CAPTURE, pyunw_capture(asked->target, tstate, frames, max, &status));
    REQUIRE(count <= max);
    if (count >= 0) {
        require_status(&status, count);
    }
    for (int n = 0; n < count; n++) {
        if (n < DESCRIBED_MAX)
            ask_frame(asked, &frames[n]);
        else
            require_frame(&frames[n]);
    }
    free(frames);
}

static void ask_stack(struct asked *asked, pyunw_addr tstate)
{
    ask_walk(asked, tstate, 0);
    ask_walk(asked, tstate, 3);
    ask_walk(asked, tstate, FRAMES_MAX);
    ask_capture(asked, tstate, 2);
    ask_capture(asked, tstate, FRAMES_MAX);
}

/* ---- Threads ---- */

int list_threads(struct asked *asked, pyunw_addr *found, int max)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int count = 0;
    int result = bounded(asked, READS_OF_THREADS, pyunw_threads_begin(asked->target, &cursor));
    if (result < 0)
        return 0;
    for (;;) {
        result = bounded(asked, READS_OF_THREADS, pyunw_threads_next(&cursor, &thread));
        if (result != 1)
            break;
        if (count < max)
            found[count++] = thread.tstate;
        REQUIRE(thread.reserved == 0 && thread.tstate != 0 && thread.interpreter != 0);
    }
    REQUIRE(result == 0 || pyunw_threads_next(&cursor, &thread) == 0);
    return count;
}

void ask_threads(struct asked *asked, pyunw_addr other)
{
    pyunw_addr threads[THREADS_MAX];
    pyunw_addr current = 0;
    pyunw_thread thread;
    pyunw_target_info info;
    REQUIRE(pyunw_target_describe(asked->target, &info) == 0);
    (void)pyunw_is_finalizing(asked->target);
    REQUIRE(pyunw_current_thread(asked->target, &current) < 0); /* an image has none */
    int count = list_threads(asked, threads, THREADS_MAX);
    for (int n = 0; n < count; n++) {
        int result = bounded(asked, READS_OF_THREADS, pyunw_thread_find(asked->target, threads[n], &thread));
        if (asked->steady)
            REQUIRE(result == 0 && thread.tstate == threads[n]);
        ask_stack(asked, threads[n]);
    }
    ask_stack(asked, other);
    ask_stack(asked, 0);
}
