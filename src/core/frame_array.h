/*
 * Captured frames: where a walk puts them, and what is done to them there.
 * Signal-safe: yes. Include from: the files of captures.
 */
#ifndef PYUNW_CORE_FRAME_ARRAY_H
#define PYUNW_CORE_FRAME_ARRAY_H

#include "walk.h"

/* Where captured frames go: an array of raw frames, or of frames whose first member is the raw one. */
struct frame_array {
    uint8_t *begin;
    size_t stride;
    int max;
    bool described;
};

static inline pyunw_raw_frame *raw_at(const struct frame_array *array, int index)
{
    return (pyunw_raw_frame *)(void *)(array->begin + (size_t)index * array->stride);
}

static inline pyunw_frame *frame_at(const struct frame_array *array, int index)
{
    return (pyunw_frame *)(void *)raw_at(array, index);
}

/* Of frames [first, first + count) make [0, count). */
void pyunw_array_move_to_front(const struct frame_array *array, int first, int count);

/* A chain that closes on itself is given once: how many of count frames that leaves. */
int pyunw_array_cut_cycle(const struct walk *walk, const struct frame_array *array, int count);

/* A memory that takes hints brings what describing needs at once. */
void pyunw_array_expect_texts(const struct walk *walk, const struct frame_array *array, int count);

/* How many frames of [0, count) have a part that could not be read. */
int pyunw_array_count_undescribed(const struct frame_array *array, int count);

/* Describe frames [0, count), where the array has room for that. How many could be. */
int pyunw_array_describe(const struct walk *walk, const struct frame_array *array, int count, pyunw_status *status);

#endif
