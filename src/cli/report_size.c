/*
 * Fold recursions, and leave out the middle of long stacks, never their ends.
 */
#include "report_size.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PERIOD_MAX = 32, COPIES_MIN = 4 };

/* ---- Recursions ---- */

/* Rows of a recursion are the same but for where each has its frame. */
static bool is_same(const json_t *frames, size_t one, size_t other)
{
    return json_equal(json_array_get(frames, one), json_array_get(frames, other));
}

static size_t count_copies(const json_t *frames, size_t from, size_t period)
{
    size_t size = json_array_size(frames);
    size_t at = from;
    while (at + period < size && is_same(frames, at, at + period))
        at++;
    return (at - from) / period + 1;
}

/* The shortest period that repeats from here, or 0. */
static size_t find_period(const json_t *frames, size_t from, size_t *copies)
{
    for (size_t period = 1; period <= PERIOD_MAX; period++) {
        *copies = count_copies(frames, from, period);
        if (*copies >= COPIES_MIN)
            return period;
    }
    return 0;
}

static json_t *fold(const json_t *frames)
{
    json_t *folded = json_array();
    for (size_t at = 0; at < json_array_size(frames);) {
        size_t copies = 0;
        size_t period = find_period(frames, at, &copies);
        size_t shown = period > 0 ? period : 1;
        for (size_t n = 0; n < shown; n++)
            (void)json_array_append(folded, json_array_get(frames, at + n));
        if (period > 0)
            (void)json_array_append_new(folded, json_pack("{s:s, s:I, s:I}", "kind", "repeated", "frames",
                                                          (json_int_t)period, "count", (json_int_t)copies - 1));
        at += period > 0 ? period * copies : 1;
    }
    return folded;
}

void report_fold(json_t *document)
{
    static const char *const keys[] = {"frames", "native_frames"};
    size_t index;
    json_t *thread;
    json_array_foreach(json_object_get(document, "threads"), index, thread)
    {
        for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++) {
            const json_t *frames = json_object_get(thread, keys[n]);
            if (json_is_array(frames))
                (void)json_object_set_new(thread, keys[n], fold(frames));
        }
    }
}

/* ---- The size ---- */

static size_t size_of(const json_t *document)
{
    return json_dumpb(document, NULL, 0, JSON_COMPACT);
}

/* Rows that an earlier elision has left out are counted with those that are left out now. */
static json_int_t rows_in(const json_t *row)
{
    const char *kind = json_string_value(json_object_get(row, "kind"));
    bool elided = kind != NULL && strcmp(kind, "elided") == 0;
    return elided ? json_integer_value(json_object_get(row, "count")) : 1;
}

/* Keep so many at each end. */
static void elide(json_t *thread, const char *key, size_t kept)
{
    const json_t *frames = json_object_get(thread, key);
    size_t size = json_array_size(frames);
    json_int_t left_out = 0;
    if (size <= 2 * kept + 1)
        return;
    json_t *shorter = json_array();
    for (size_t n = 0; n < size; n++) {
        if (n < kept || n >= size - kept)
            (void)json_array_append(shorter, json_array_get(frames, n));
        else
            left_out += rows_in(json_array_get(frames, n));
        if (n == size - kept - 1)
            (void)json_array_append_new(shorter, json_pack("{s:s, s:I}", "kind", "elided", "count", left_out));
    }
    (void)json_object_set_new(thread, key, shorter);
}

static void elide_threads(json_t *document, bool crashed, size_t kept)
{
    size_t index;
    json_t *thread;
    json_array_foreach(json_object_get(document, "threads"), index, thread)
    {
        if (json_is_true(json_object_get(thread, "crashed")) != crashed)
            continue;
        elide(thread, "frames", kept);
        elide(thread, "native_frames", kept);
    }
}

/* The last resort: threads that did not crash, from the end. */
static void drop_threads(json_t *document, size_t size)
{
    json_t *threads = json_object_get(document, "threads");
    size_t before = json_array_size(threads);
    size_t now = size_of(document);
    while (now > size && json_array_size(threads) > 1) {
        /* So many at once that it does not take for ever. */
        size_t count = json_array_size(threads);
        size_t some = count / 8 + 1;
        for (size_t n = 0; n < some && json_array_size(threads) > 1; n++)
            (void)json_array_remove(threads, json_array_size(threads) - 1);
        now = size_of(document);
    }
    size_t dropped = before - json_array_size(threads);
    if (dropped == 0)
        return;
    (void)json_array_append_new(json_object_get(document, "notes"),
                                json_sprintf("%zu threads were left out for the size of the report.", dropped));
    (void)json_object_set_new(document, "status", json_string("partial"));
}

void report_limit(json_t *document, size_t size)
{
    static const size_t kept[] = {512, 128, 32, 8};
    for (size_t n = 0; n < sizeof kept / sizeof kept[0]; n++) {
        if (size_of(document) <= size)
            return;
        elide_threads(document, false, kept[n]);
    }
    for (size_t n = 0; n < sizeof kept / sizeof kept[0] && size_of(document) > size; n++)
        elide_threads(document, true, kept[n]);
    if (size_of(document) > size)
        (void)json_object_set_new(document, "libraries", json_null());
    drop_threads(document, size);
}
