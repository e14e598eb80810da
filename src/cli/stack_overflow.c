/*
 * A stack overflows where it is written to just below what is mapped of it: beneath it lies a guard page, or what the
 * kernel no longer lets grow. From glibc 2.42 on a thread's guard pages are made by MADV_GUARD_INSTALL (Linux 6.13) at
 * the beginning of the mapping itself, which looks as if it could be written to.
 */
#include "stack_overflow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct range {
    unsigned long long begin;
    unsigned long long end;
    bool writable;
};

/* "7ffd4c2e0000-7ffd4c301000 rw-p ..." */
static const char *parse_range(const char *line, struct range *range)
{
    char *end = NULL;
    range->begin = strtoull(line, &end, 16);
    if (*end != '-')
        return NULL;
    range->end = strtoull(end + 1, &end, 16);
    if (end[0] != ' ' || strlen(end) < 5)
        return NULL;
    range->writable = end[2] == 'w';
    const char *next = strchr(end, '\n');
    return next != NULL ? next + 1 : end + strlen(end);
}

/* The lowest writable mapping that ends above address. */
static bool find_above(const char *maps, unsigned long long address, struct range *found)
{
    struct range range;
    for (const char *at = maps; at != NULL && *at != '\0';) {
        at = parse_range(at, &range);
        if (at != NULL && range.end > address && range.writable) {
            *found = range;
            return true;
        }
    }
    return false;
}

static bool register_of(const json_t *document, const char *name, unsigned long long *value)
{
    const char *text = json_string_value(json_object_get(json_object_get(document, "registers"), name));
    if (text == NULL)
        return false;
    *value = strtoull(text, NULL, 16);
    return true;
}

enum { PAGE = 4096 };

/* What is mapped and writable and yet told to be not mapped: the kernel's arch/x86/mm/fault.c, for a guard marker. */
static bool is_in_guard(const json_t *document, unsigned long long address, const struct range *range)
{
    const unsigned long long largest = 1 << 20;
    const json_t *code = json_object_get(json_object_get(document, "signal"), "code");
    return json_is_integer(code) && json_integer_value(code) == SEGV_MAPERR && address >= range->begin &&
           address - range->begin < largest;
}

bool stack_overflow_find(const json_t *document, const char *maps, struct stack_overflow *overflow)
{
    /* A function with large variables may reach over the guard page, but then the pointer is as far below. */
    const unsigned long long near = 1 << 20;
    const char *text = json_string_value(json_object_get(json_object_get(document, "signal"), "address"));
    unsigned long long pointer = 0;
    struct range stack;
    if (maps == NULL || text == NULL ||
        (!register_of(document, "rsp", &pointer) && !register_of(document, "sp", &pointer)))
        return false;
    unsigned long long address = strtoull(text, NULL, 16);
    bool near_pointer = address > pointer ? address - pointer < near : pointer - address < near;
    if (!near_pointer || !find_above(maps, address, &stack))
        return false;
    if (is_in_guard(document, address, &stack))
        stack.begin = (address | (PAGE - 1)) + 1;
    if (address >= stack.begin || stack.begin - address > near)
        return false;
    if (pointer > stack.end)
        return false;
    (void)snprintf(overflow->pointer, sizeof overflow->pointer, "0x%llx", pointer);
    (void)snprintf(overflow->begin, sizeof overflow->begin, "0x%llx", stack.begin);
    overflow->size = stack.end - stack.begin;
    return true;
}
