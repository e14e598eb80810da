/*
 * Read the arguments and locals of a frame.
 */
#include "frame_locals.h"

#include <stdlib.h>
#include <string.h>

enum { LOCALS_MAX = 10000, VALUE_SIZE = 4096 };

static char *copy(const char *bytes, size_t length)
{
    char *copied = malloc(length + 1);
    if (copied != NULL) {
        memcpy(copied, bytes, length);
        copied[length] = '\0';
    }
    return copied;
}

static struct local describe(const pyunw_target *target, const pyunw_local *found)
{
    char value[VALUE_SIZE];
    struct local local = {.argument = (found->flags & PYUNW_LOCAL_ARGUMENT) != 0, .name_length = found->name_length};
    if ((found->flags & PYUNW_LOCAL_NAME_UNREADABLE) == 0)
        local.name = copy(found->name, found->name_length);
    if ((found->flags & PYUNW_LOCAL_UNREADABLE) != 0)
        return local;
    int length = pyunw_describe_value(target, found->object, NULL, value, sizeof value, NULL);
    if (length >= 0)
        local.value = copy(value, (size_t)length);
    return local;
}

static bool add(struct frame_locals *locals, int *room, const struct local *local)
{
    if (locals->count == *room) {
        int more = *room == 0 ? 8 : *room * 2;
        struct local *grown = realloc(locals->list, (size_t)more * sizeof *grown);
        if (grown == NULL)
            return false;
        locals->list = grown;
        *room = more;
    }
    locals->list[locals->count++] = *local;
    return true;
}

static void free_local(const struct local *local)
{
    free(local->name);
    free(local->value);
}

void frame_locals_read(const pyunw_target *target, const pyunw_raw_frame *raw, struct frame_locals *locals)
{
    pyunw_local_cursor cursor;
    pyunw_local found;
    int room = 0;
    *locals = (struct frame_locals){.wanted = true};
    int result = pyunw_locals_begin(target, raw, &cursor);
    locals->known = result == 0;
    while (locals->known && !locals->cut) {
        result = pyunw_locals_next(&cursor, &found);
        if (result <= 0)
            break;
        if (found.object == 0 && (found.flags & PYUNW_LOCAL_UNREADABLE) == 0)
            continue; /* not bound */
        struct local local = describe(target, &found);
        if (locals->count == LOCALS_MAX || !add(locals, &room, &local)) {
            free_local(&local);
            locals->cut = true;
        }
    }
    locals->cut |= result < 0;
    locals->confirmed = locals->known && pyunw_locals_end(&cursor) == 0;
}

void frame_locals_free(struct frame_locals *locals)
{
    for (int n = 0; n < locals->count; n++)
        free_local(&locals->list[n]);
    free(locals->list);
    *locals = (struct frame_locals){0};
}
