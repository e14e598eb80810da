/*
 * The table of functions, of the lines that are theirs, and of whom they may call from each.
 * checker_check() is signal-safe: it only reads.
 */
#include "checker.h"

#include <stdlib.h>
#include <string.h>

struct function {
    char *filename;
    char *name;
    char *qualname;
    size_t filename_length;
    size_t name_length;
    size_t qualname_length;
    int flags;
};

struct spot {
    int32_t function;
    int32_t line;
};

static struct {
    struct function *functions;
    int function_count, function_room;
    struct spot *spots;
    uint8_t *callees; /* of each spot: a bitmap of functions */
    uint8_t *ever;    /* of each function: the union of its spots' bitmaps */
    int spot_count, spot_room;
    size_t bitmap_size;
    int32_t *slots; /* open addressing: indices of spots, -1 is empty */
    uint32_t slot_mask;
    bool allows_foreign;
} table;

void checker_allow_foreign(void)
{
    table.allows_foreign = true;
}

int checker_begin(int functions, int spots)
{
    uint32_t slots = 1024;
    while (slots < 4 * (uint32_t)spots)
        slots *= 2;
    table.function_room = functions;
    table.spot_room = spots;
    table.bitmap_size = ((size_t)functions + 7) / 8;
    table.functions = calloc((size_t)functions, sizeof *table.functions);
    table.spots = calloc((size_t)spots, sizeof *table.spots);
    table.callees = calloc((size_t)spots, table.bitmap_size);
    table.ever = calloc((size_t)functions, table.bitmap_size);
    table.slots = malloc(slots * sizeof *table.slots);
    table.slot_mask = slots - 1;
    table.function_count = table.spot_count = 0;
    if (!table.functions || !table.spots || !table.callees || !table.ever || !table.slots)
        return -1;
    memset(table.slots, 0xff, slots * sizeof *table.slots);
    return 0;
}

int checker_add_function(const char *filename, const char *name, const char *qualname, int flags)
{
    if (table.function_count == table.function_room)
        return -1;
    struct function *function = &table.functions[table.function_count];
    function->filename = strdup(filename);
    function->name = strdup(name);
    function->qualname = strdup(qualname);
    if (!function->filename || !function->name || !function->qualname)
        return -1;
    function->filename_length = strlen(filename);
    function->name_length = strlen(name);
    function->qualname_length = strlen(qualname);
    function->flags = flags;
    return table.function_count++;
}

/* The ends of the texts and the line: enough to tell nearly all spots apart; the rest is compared. */
static uint32_t spot_hash(const char *filename, size_t filename_length, const char *name, size_t name_length, int line)
{
    enum { END = 12 };
    uint32_t hash = 2166136261u ^ (uint32_t)line * 2654435761u;
    for (size_t n = filename_length > END ? filename_length - END : 0; n < filename_length; n++)
        hash = (hash ^ (uint8_t)filename[n]) * 16777619u;
    for (size_t n = 0; n < name_length; n++)
        hash = (hash ^ (uint8_t)name[n]) * 16777619u;
    return hash ^ hash >> 15;
}

int checker_add_spot(int function, int line, const uint8_t *callees)
{
    if (table.spot_count == table.spot_room || function < 0 || function >= table.function_count)
        return -1;
    const struct function *of = &table.functions[function];
    int index = table.spot_count++;
    table.spots[index] = (struct spot){function, line};
    memcpy(table.callees + (size_t)index * table.bitmap_size, callees, table.bitmap_size);
    for (size_t n = 0; n < table.bitmap_size; n++)
        table.ever[(size_t)function * table.bitmap_size + n] |= callees[n];
    uint32_t slot = spot_hash(of->filename, of->filename_length, of->name, of->name_length, line) & table.slot_mask;
    while (table.slots[slot] >= 0)
        slot = (slot + 1) & table.slot_mask;
    table.slots[slot] = index;
    return index;
}

static bool is_text(const char *text, size_t length, const char *expected, size_t expected_length)
{
    return length == expected_length && memcmp(text, expected, length) == 0;
}

static bool is_function(const pyunw_frame *frame, const struct function *function)
{
    const char *qualname = function->qualname;
    size_t qualname_length = function->qualname_length;
    if ((frame->flags & PYUNW_QUALNAME_IS_NAME) != 0) {
        qualname = function->name;
        qualname_length = function->name_length;
    }
    return is_text(frame->name, frame->name_length, function->name, function->name_length) &&
           is_text(frame->filename, frame->filename_length, function->filename, function->filename_length) &&
           is_text(frame->qualname, frame->qualname_length, qualname, qualname_length);
}

static int find_spot(const pyunw_frame *frame)
{
    int line = frame->position.lineno;
    uint32_t slot = spot_hash(frame->filename, frame->filename_length, frame->name, frame->name_length, line);
    for (slot &= table.slot_mask; table.slots[slot] >= 0; slot = (slot + 1) & table.slot_mask) {
        const struct spot *spot = &table.spots[table.slots[slot]];
        if (spot->line == line && is_function(frame, &table.functions[spot->function]))
            return table.slots[slot];
    }
    return -1;
}

static bool is_own_file(const pyunw_frame *frame)
{
    for (int n = 0; n < table.function_count; n++) {
        const struct function *function = &table.functions[n];
        if ((function->flags & FUNCTION_OWN) != 0 &&
            is_text(frame->filename, frame->filename_length, function->filename, function->filename_length))
            return true;
    }
    return false;
}

static int why_no_spot(const pyunw_frame *frame)
{
    enum {
        UNREADABLE =
            PYUNW_FILENAME_UNREADABLE | PYUNW_NAME_UNREADABLE | PYUNW_QUALNAME_UNREADABLE | PYUNW_POSITION_UNREADABLE
    };
    if ((frame->flags & UNREADABLE) != 0)
        return VERDICT_DAMAGED;
    for (int n = 0; n < table.function_count; n++) {
        if (is_function(frame, &table.functions[n]))
            return VERDICT_WRONG_LINE;
    }
    return table.allows_foreign && !is_own_file(frame) ? 0 : VERDICT_UNKNOWN;
}

static bool has_bit(const uint8_t *bitmaps, int index, int bit)
{
    return (bitmaps[(size_t)index * table.bitmap_size + (size_t)bit / 8] >> (bit % 8) & 1) != 0;
}

static int check_pair(int caller, int callee)
{
    int function = table.spots[callee].function;
    if (has_bit(table.callees, caller, function) || (table.functions[function].flags & FUNCTION_ANYWHERE) != 0)
        return 0;
    return has_bit(table.ever, table.spots[caller].function, function) ? VERDICT_STALE_LINE : VERDICT_ILLEGAL_PAIR;
}

int checker_check(const pyunw_frame *frames, int count, bool complete, int *where)
{
    int verdict = 0;
    int callee = -1;
    *where = -1;
    for (int n = 0; n < count; n++) {
        int spot = find_spot(&frames[n]);
        int found = 0;
        if (spot < 0)
            found = why_no_spot(&frames[n]);
        else if (callee >= 0)
            found = check_pair(spot, callee);
        if (found != 0 && verdict == 0)
            *where = n;
        verdict |= found;
        callee = spot;
    }
    if (complete && callee >= 0 &&
        (table.functions[table.spots[callee].function].flags & (FUNCTION_BOTTOM | FUNCTION_ANYWHERE)) == 0) {
        if (verdict == 0)
            *where = count - 1;
        verdict |= VERDICT_CUT;
    }
    return verdict;
}
