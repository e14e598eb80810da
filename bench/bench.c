/*
 * The measurements that must be made in C, called from bench.py at a known depth of Python frames.
 * Each function gives nanoseconds for one call: the median of several rounds.
 */
#include "pyunwind.h"

#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 25, MAX_DEPTH = 1100 };

static pyunw_target targets[4]; /* by enum pyunw_memory */
static pyunw_raw_frame raw_frames[MAX_DEPTH];
static pyunw_frame frames[MAX_DEPTH];

/* Open one target for each memory: 0 or the first error. */
int bench_open(void)
{
    int err = pyunw_trap_install();
    for (int memory = PYUNW_MEMORY_DIRECT; memory <= PYUNW_MEMORY_GUARDED && err == 0; memory++) {
        pyunw_options options = {.size = sizeof options, .memory = memory};
        err = pyunw_open_self(&targets[memory], &options);
    }
    return err;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

enum operation { WALK, CAPTURE, DESCRIBE, CURRENT, CURSOR, IDENTIFY };

static int frame_count; /* frames that the last operation saw */

static void perform(enum operation operation, const pyunw_target *target)
{
    pyunw_status status;
    pyunw_addr tstate = 0;
    pyunw_frame_cursor cursor;
    pyunw_code_identity identity;
    switch (operation) {
    case WALK:
        frame_count = pyunw_walk(target, 0, raw_frames, MAX_DEPTH, &status);
        break;
    case CAPTURE:
        frame_count = pyunw_capture(target, 0, frames, MAX_DEPTH, &status);
        break;
    case DESCRIBE:
        for (int n = 0; n < frame_count; n++)
            pyunw_describe(target, &raw_frames[n], &frames[n]);
        break;
    case CURRENT:
        pyunw_current_thread(target, &tstate);
        break;
    case CURSOR:
        frame_count = 0;
        if (pyunw_frames_begin(target, 0, &cursor) == 0) {
            while (pyunw_frames_next(&cursor, &raw_frames[0]) == 1)
                frame_count++;
        }
        break;
    case IDENTIFY:
        for (int n = 0; n < frame_count; n++)
            pyunw_identify_code(target, raw_frames[n].code, &identity);
        break;
    }
}

/* Frames that the stack has, as the library sees it. */
int bench_depth(void)
{
    perform(WALK, &targets[PYUNW_MEMORY_DIRECT]);
    return frame_count;
}

/*
 * What a walker written by hand for one version costs that believes all it reads: the least there is to reach.
 * 3.12 to 3.15; the offsets are those of Include/internal/pycore_frame.h and cpython/pystate.h.
 */
static int walk_by_hand(uint64_t tstate, int minor)
{
    const ptrdiff_t owner_at = minor >= 14 ? 74 : 70;
    const uint64_t tags = minor >= 14 ? 3 : 0;
    uint64_t frame = *(const uint64_t *)(tstate + (minor >= 13 ? 72 : 56));
    int count = 0;
    if (minor == 12)
        frame = *(const uint64_t *)frame;
    for (; frame != 0 && count < MAX_DEPTH; frame = *(const uint64_t *)(frame + 8)) {
        if (*(const uint8_t *)(frame + (uint64_t)owner_at) >= 3)
            continue;
        raw_frames[count].code = *(const uint64_t *)frame & ~tags;
        raw_frames[count].frame = *(const uint64_t *)(frame + 56);
        count++;
    }
    return count;
}

double bench_by_hand(uint64_t tstate, int minor, int calls)
{
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double begin = now();
        for (int n = 0; n < calls; n++)
            frame_count = walk_by_hand(tstate, minor);
        rounds[round] = (now() - begin) / calls;
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], compare);
    return rounds[ROUNDS / 2];
}

double bench_run(int operation, int memory, int calls)
{
    double rounds[ROUNDS];
    perform(WALK, &targets[PYUNW_MEMORY_DIRECT]); /* for operations on the frames of a walk */
    for (int round = 0; round < ROUNDS; round++) {
        double begin = now();
        for (int n = 0; n < calls; n++)
            perform((enum operation)operation, &targets[memory]);
        rounds[round] = (now() - begin) / calls;
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], compare);
    return rounds[ROUNDS / 2];
}
