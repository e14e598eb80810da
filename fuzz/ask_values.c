/*
 * Ask for variables, values and exceptions.
 */
#include "ask.h"

#include "ask_bounds.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 4, FRAMES_MAX = 12, LOCALS_MAX = 14, NAMES_MAX = 30 };

static void describe_value(struct asked *asked, pyunw_addr object, size_t size, const pyunw_value_limits *limits)
{
    char *buffer = malloc(size);
    uint32_t flags = 0xa5a5;
    int length =
        bounded(asked, READS_OF_VALUE, pyunw_describe_value(asked->target, object, limits, buffer, size, &flags));
    REQUIRE(length >= 0);
    require_text(buffer, size, (size_t)length);
    REQUIRE((flags & ~3u) == 0);
    REQUIRE((flags & PYUNW_VALUE_UNREADABLE) == 0 || (flags & PYUNW_VALUE_TRUNCATED) != 0 ||
            strstr(buffer, "<unreadable>") != NULL);
    free(buffer);
}

static void ask_value(struct asked *asked, pyunw_addr object)
{
    static const pyunw_value_limits deep = {sizeof deep, PYUNW_VALUE_DEPTH_MAX, 6, 2000};
    static const pyunw_value_limits flat = {sizeof flat, 0, 1, 1};
    describe_value(asked, object, 8, NULL);
    describe_value(asked, object, 100, &flat);
    describe_value(asked, object, 500, NULL);
    describe_value(asked, object, 4000, &deep);
}

static void ask_locals(struct asked *asked, pyunw_local_cursor *cursor, int max)
{
    pyunw_local local;
    int number = 0;
    for (; number < max; number++) {
        int result = bounded(asked, READS_OF_LOCAL, pyunw_locals_next(cursor, &local));
        if (result != 1)
            break;
        require_text(local.name, sizeof local.name, local.name_length);
        REQUIRE((local.flags & ~63u) == 0 && local.reserved == 0);
        REQUIRE((local.flags & PYUNW_LOCAL_UNREADABLE) == 0 || local.object == 0);
        REQUIRE((local.flags & PYUNW_LOCAL_NAME_UNREADABLE) == 0 || local.name_length == 0);
        ask_value(asked, local.object);
    }
}

static void ask_frames(struct asked *asked, pyunw_addr tstate)
{
    pyunw_raw_frame frames[FRAMES_MAX];
    pyunw_local_cursor cursor;
    int count = bounded(asked, READS_OF_CAPTURE, pyunw_walk(asked->target, tstate, frames, FRAMES_MAX, NULL));
    for (int n = 0; n < count; n++) {
        if (bounded(asked, READS_OF_LOCAL, pyunw_locals_begin(asked->target, &frames[n], &cursor)) < 0)
            continue;
        ask_locals(asked, &cursor, LOCALS_MAX);
        int end = bounded(asked, READS_OF_LOCAL, pyunw_locals_end(&cursor));
        REQUIRE(end == 0 || end == PYUNW_ERR_TORN);
        if (asked->steady)
            REQUIRE(end == 0);
    }
}

static void ask_exception_text(struct asked *asked, const pyunw_exception *exception)
{
    pyunw_exception_text *text = malloc(sizeof *text);
    int result = bounded(asked, READS_OF_EXCEPTION, pyunw_describe_exception(asked->target, exception, text));
    REQUIRE(result == 0 || result == PYUNW_ERR_FAULT || result == PYUNW_ERR_CORRUPT);
    require_text(text->type, sizeof text->type, text->type_length);
    require_text(text->message, sizeof text->message, text->message_length);
    REQUIRE((text->flags & ~31u) == 0);
    REQUIRE(result == 0 || (text->type_length == 0 && text->message_length == 0));
    free(text);
}

static void ask_exception(struct asked *asked, pyunw_addr tstate)
{
    pyunw_exception exception;
    memset(&exception, 0xa5, sizeof exception);
    int result = bounded(asked, READS_OF_EXCEPTION, pyunw_exception_find(asked->target, tstate, &exception));
    if (result != 1) {
        for (size_t n = 0; n < sizeof exception; n++)
            REQUIRE(((const uint8_t *)&exception)[n] == 0xa5);
        return;
    }
    uint32_t told = exception.flags & 3u;
    REQUIRE((told == 1 || told == 2) && (exception.flags & ~7u) == 0 && exception.reserved == 0);
    ask_exception_text(asked, &exception);
}

void ask_values(struct asked *asked, pyunw_addr object, pyunw_addr type)
{
    pyunw_addr threads[THREADS_MAX];
    pyunw_local_cursor cursor;
    int count = list_threads(asked, threads, THREADS_MAX);
    for (int n = 0; n < count; n++) {
        ask_exception(asked, threads[n]);
        ask_frames(asked, threads[n]);
    }
    ask_value(asked, object);
    if (bounded(asked, READS_OF_LOCAL, pyunw_namespace_begin(asked->target, object, &cursor)) == 0)
        ask_locals(asked, &cursor, NAMES_MAX);
    /* What is taken for an exception may be none. */
    pyunw_exception made = {.object = object, .type = type, .flags = PYUNW_EXCEPTION_RAISED};
    ask_exception_text(asked, &made);
    made.flags |= PYUNW_EXCEPTION_NOT_MADE;
    ask_exception_text(asked, &made);
}
