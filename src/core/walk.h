/*
 * The walk over the frames of one thread: one frame at a time, each validated before it is believed.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_WALK_H
#define PYUNW_CORE_WALK_H

#include "thread.h"

/* A bound on foreign chains: far above what a thread's memory holds. */
enum { MAX_FRAMES = 1 << 24 };

struct walk {
    uint64_t magic;
    const struct target *target;
    struct memory memory;
    pyunw_addr tstate;
    pyunw_addr code_type;  /* PyCode_Type; 0: not known yet */
    pyunw_addr next;       /* frame to be looked at; 0: none */
    pyunw_addr base_frame; /* 3.15: where a stack ends */
    bool own;              /* the calling thread's */
    bool torn_start;       /* 3.11, 3.12: the innermost frame was not to be had: the walk began at an outer one */
    bool bottom_is_shim;   /* the frame looked at last is an entry frame */
    bool bottom_runs;      /* ... is a generator's, or a frame object, that is not suspended */
    pyunw_addr bottom;     /* ... itself */
    uint8_t bottom_owner;
    uint8_t end; /* enum pyunw_end, once next is 0 */
    uint32_t depth;
    uint32_t steps;   /* frames looked at, hidden ones too */
    pyunw_addr mark;  /* Brent's cycle detection: the frame at the last power of two */
    uint32_t mark_at; /* steps at the mark */
    uint32_t cycle;   /* length of a cycle in given frames, 0: none */
    uint32_t mark_depth;
    pyunw_addr end_address;
    pyunw_addr in_scratch; /* frame whose bytes frame_scratch holds */
    uint8_t frame_scratch[LAYOUT_FRAME_SIZE_MAX];
    uint8_t code_scratch[LAYOUT_CODE_SIZE_MAX];
};

/*
 * Begin a walk. own: tstate is the calling thread's. 0, also where there is no frame (walk->end says so);
 * PYUNW_ERR_FAULT where the thread state cannot be read.
 */
int pyunw_walk_begin(struct walk *walk, const struct target *target, const struct memory *memory, pyunw_addr tstate,
                     bool own);

/* Take up to max frames; entries lie stride bytes apart. The count; fewer than max means that the walk ended. */
int pyunw_walk_take(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max);

void pyunw_walk_status(const struct walk *walk, pyunw_status *status);

/*
 * Which memory reads a thread state, and whether it is the calling thread's. tstate 0 is replaced by the own one.
 * 0, or errors of pyunw_walk().
 */
int pyunw_walk_choose(const struct target *target, pyunw_addr *tstate, struct memory *memory, bool *own);

#endif
