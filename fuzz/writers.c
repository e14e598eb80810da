/*
 * Fuzz target: what is written of an interpreter's memory: JSON lines, which jansson reads back and which say what a
 * capture says; and text in faulthandler's format.
 *
 * Input: an image file (image_file.h).
 */
#include "ask.h"
#include "ask_bounds.h"
#include "fuzz.h"
#include "image_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_SIZE = 1 << 18, FRAMES_MAX = 64, THREADS_MAX = 4 };

/* ---- JSON ---- */

static void compare_text(const json_t *frame, const char *key, const char *text, size_t length, bool unreadable)
{
    const json_t *value = json_object_get(frame, key);
    REQUIRE(value != NULL);
    if (unreadable) {
        REQUIRE(json_is_null(value));
        return;
    }
    REQUIRE(json_is_string(value));
    REQUIRE(json_string_length(value) == length && memcmp(json_string_value(value), text, length) == 0);
}

static void compare_number(const json_t *frame, const char *key, int32_t number)
{
    const json_t *value = json_object_get(frame, key);
    REQUIRE(number < 0 ? json_is_null(value) : json_is_integer(value) && json_integer_value(value) == number);
}

static void compare_frame(const json_t *told, const pyunw_frame *frame)
{
    if ((frame->flags & (PYUNW_NAME_TRUNCATED | PYUNW_FILENAME_TRUNCATED | PYUNW_QUALNAME_TRUNCATED)) == 0) {
        compare_text(told, "name", frame->name, frame->name_length, (frame->flags & PYUNW_NAME_UNREADABLE) != 0);
        compare_text(told, "filename", frame->filename, frame->filename_length,
                     (frame->flags & PYUNW_FILENAME_UNREADABLE) != 0);
        compare_text(told, "qualname", frame->qualname, frame->qualname_length,
                     (frame->flags & (PYUNW_QUALNAME_UNREADABLE | PYUNW_QUALNAME_IS_NAME)) != 0);
    }
    compare_number(told, "lineno", frame->position.lineno);
    compare_number(told, "end_lineno", frame->position.end_lineno);
    compare_number(told, "colno", frame->position.colno);
    compare_number(told, "end_colno", frame->position.end_colno);
}

/* A line is an object with all that docs/json-lines.md names. */
static json_t *parse_line(const char *line, size_t size)
{
    static const char *const keys[] = {"schema", "pid",   "thread_id", "native_id", "interpreter_id",
                                       "name",   "state", "holds_gil", "frames",    "status"};
    json_error_t error;
    REQUIRE(is_utf8(line, size));
    json_t *thread = json_loadb(line, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    REQUIRE(json_is_object(thread));
    for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++)
        REQUIRE(json_object_get(thread, keys[n]) != NULL);
    REQUIRE(json_is_array(json_object_get(thread, "frames")));
    return thread;
}

static void write_json(struct asked *asked, pyunw_addr tstate)
{
    size_t size = 0;
    int result = bounded(asked, READS_OF_WRITER, pyunw_write_json(asked->target, output_begin(OUTPUT_SIZE), tstate));
    const char *line = output_bytes(&size);
    if (result != 0)
        return;
    REQUIRE(size > 0 && memchr(line, '\n', size) == line + size - 1);
    json_t *thread = parse_line(line, size);
    const json_t *told = json_object_get(thread, "frames");
    pyunw_frame *frames = malloc(sizeof *frames * FRAMES_MAX);
    pyunw_status status;
    int count = pyunw_capture(asked->target, tstate, frames, FRAMES_MAX, &status);
    asked->seen = asked->reads != NULL ? *asked->reads : 0;
    /* Of a damaged stack a capture may leave out what the writer, which reads once, has written. */
    if (asked->steady && count >= 0 && status.end == PYUNW_COMPLETE) {
        REQUIRE(json_array_size(told) == (size_t)count);
        for (int n = 0; n < count; n++)
            compare_frame(json_array_get(told, (size_t)n), &frames[n]);
    }
    free(frames);
    json_decref(thread);
}

static void write_json_threads(struct asked *asked)
{
    size_t size = 0;
    int result = bounded(asked, READS_OF_WRITER, pyunw_write_json_threads(asked->target, output_begin(OUTPUT_SIZE)));
    const char *line = output_bytes(&size);
    const char *end = line + size;
    while (result != PYUNW_ERR_WRITE && line < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        REQUIRE(next != NULL);
        json_decref(parse_line(line, (size_t)(next + 1 - line)));
        line = next + 1;
    }
}

/* ---- Text ---- */

static void require_plain(void)
{
    size_t size = 0;
    const char *text = output_bytes(&size);
    for (size_t n = 0; n < size; n++)
        REQUIRE(text[n] == '\n' || (text[n] >= ' ' && text[n] <= '~'));
}

static void write_text(struct asked *asked, pyunw_addr tstate)
{
    (void)bounded(asked, READS_OF_WRITER, pyunw_write_text(asked->target, output_begin(OUTPUT_SIZE), tstate));
    require_plain();
}

static void write_text_threads(struct asked *asked, pyunw_addr current)
{
    pyunw_text_options options = {.size = sizeof options, .max_threads = 2, .current = current};
    (void)bounded(asked, READS_OF_WRITER,
                  pyunw_write_text_threads(asked->target, output_begin(OUTPUT_SIZE), 0, current, 0));
    require_plain();
    (void)bounded(asked, READS_OF_WRITER,
                  pyunw_write_text_threads_with(asked->target, output_begin(OUTPUT_SIZE), &options));
    require_plain();
    pyunw_raw_frame innermost = {0};
    (void)pyunw_walk(asked->target, current, &innermost, 1, NULL);
    asked->seen = asked->reads != NULL ? *asked->reads : 0;
    options = (pyunw_text_options){.size = sizeof options, .hidden = &innermost.code, .hidden_count = 1};
    (void)bounded(asked, READS_OF_WRITER,
                  pyunw_write_text_with(asked->target, output_begin(OUTPUT_SIZE), current, &options));
    require_plain();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_file file;
    pyunw_target target;
    pyunw_addr threads[THREADS_MAX];
    if (!image_file_decode(&file, data, size))
        return 0;
    if (pyunw_open_image(&target, &file.image, NULL) == 0) {
        struct asked asked = {.target = &target};
        asked.reads = file.image.read != NULL ? &file.reads : NULL;
        asked.steady = image_file_is_steady(&file);
        int count = list_threads(&asked, threads, THREADS_MAX);
        for (int n = 0; n < count; n++) {
            write_json(&asked, threads[n]);
            write_text(&asked, threads[n]);
        }
        write_json(&asked, file.object);
        write_json_threads(&asked);
        write_text_threads(&asked, file.object);
        pyunw_close(&target);
    }
    image_file_free(&file);
    return 0;
}
