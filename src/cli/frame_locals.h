/*
 * The arguments and locals of a frame, as text.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_FRAME_LOCALS_H
#define PYUNW_CLI_FRAME_LOCALS_H

#include <pyunwind.h>
#include <stdbool.h>

struct local {
    char *name;  /* valid UTF-8 that may hold NULs; NULL: could not be read */
    char *value; /* valid UTF-8 without NULs; NULL: could not be read */
    size_t name_length;
    bool argument;
};

struct frame_locals {
    bool wanted;
    bool known;     /* they were read, all or as many as are kept */
    bool confirmed; /* the frame was still at the same instruction afterwards */
    bool cut;       /* there are more */
    struct local *list;
    int count;
};

/* Read those that are bound. What was read is to be freed, whatever came of it. */
void frame_locals_read(const pyunw_target *target, const pyunw_raw_frame *raw, struct frame_locals *locals);

void frame_locals_free(struct frame_locals *locals);

#endif
