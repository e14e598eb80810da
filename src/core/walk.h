/*
 * The walk over the frames of one thread: one frame at a time, each validated before it is believed.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_WALK_H
#define PYUNW_CORE_WALK_H

#include "thread.h"

static const uint64_t WALK_MAGIC = UINT64_C(0x7079756e77667731); /* "pyunwfw1" */

/* A bound on foreign chains: far above what a thread's memory holds. */
enum { MAX_FRAMES = 1 << 24 };

/* Where a walk has come to: what changes with each frame. */
struct chain {
    pyunw_addr next;     /* frame to be looked at; 0: none */
    pyunw_addr last;     /* frame looked at last, hidden or not; 0: none yet */
    pyunw_addr given;    /* frame given last; 0: none yet */
    pyunw_addr mark;     /* Brent's cycle detection: a frame that was looked at some steps ago */
    uint32_t until_mark; /* steps until the mark moves on */
    uint32_t mark_span;  /* steps from one mark to the next: doubles each time, from 1 on */
    uint32_t depth;      /* frames given */
    uint32_t mark_depth; /* frames given before the mark */
};

/* What is known of a thread while it is read. */
enum thread_motion {
    THREAD_MAY_RUN,
    THREAD_STANDS, /* the calling one, or one of an image that does not change */
    /* It did run: where its stack begins need not fit the end of its data stack, which has moved on (3.11, 3.12). */
    THREAD_RUNS,
};

/* No object has this type: its address is odd. */
enum { NO_TYPE = 1 };

struct walk {
    uint64_t magic; /* WALK_MAGIC from its beginning on */
    const struct target *target;
    struct memory memory;
    pyunw_addr tstate;
    pyunw_addr code_type;  /* PyCode_Type; NO_TYPE: not known yet */
    pyunw_addr base_frame; /* 3.15: where a stack ends */
    bool still;            /* THREAD_STANDS */
    bool runs;             /* THREAD_RUNS */
    bool torn_start;       /* 3.11, 3.12: the innermost frame was not to be had: the walk began at an outer one */
    /*
     * 3.8-3.10: a frame object was seen that is not being executed: one whose trace function runs, or one that a thread
     * which runs on has let go.
     */
    bool saw_idle;
    bool ended;     /* end tells how */
    uint8_t end;    /* enum pyunw_end */
    uint32_t cycle; /* length of a cycle in given frames, 0: none */
    pyunw_addr end_address;
    pyunw_addr refused;       /* frame that could not be read when it was asked whether its callee was entered from C */
    pyunw_addr refused_start; /* what of the innermost frame no other moment would show, 0: nothing */
    struct chain chain;
    pyunw_addr frame_in_scratch; /* frame whose bytes frame_scratch holds, 0: none */
    pyunw_addr code_in_scratch;  /* code object whose bytes code_scratch holds, 0: none */
    uint8_t frame_scratch[LAYOUT_FRAME_SIZE_MAX];
    uint8_t code_scratch[LAYOUT_CODE_SIZE_MAX];
};

/* Begin a walk: 0, also where there is no frame (walk->end says so); PYUNW_ERR_FAULT where tstate cannot be read. */
int pyunw_walk_begin(struct walk *walk, const struct target *target, const struct memory *memory, pyunw_addr tstate,
                     enum thread_motion motion);

/*
 * Take up to max frames; entries lie stride bytes apart, a multiple of 8. The count; fewer than max means that the
 * walk ended.
 */
int pyunw_walk_take(struct walk *walk, pyunw_raw_frame *frames, size_t stride, int max);

/*
 * Tell a memory that takes hints what a walk is about to read: the code objects of its frames. The walk stays where it
 * is, at its beginning.
 */
void pyunw_walk_expect(struct walk *walk);

void pyunw_walk_status(const struct walk *walk, pyunw_status *status);

/*
 * Which memory reads a thread state, and whether its thread stands still meanwhile: the calling one does, and any of
 * an image that does not change. tstate 0 is replaced by the calling thread's.
 * 0, or errors of pyunw_walk().
 */
int pyunw_walk_choose(const struct target *target, pyunw_addr *tstate, struct memory *memory, bool *still);

/*
 * 3.11+: does a frame of the data stack begin where its caller's ends, or in a chunk of its own? Both are on the
 * data stack; frames of generators between them are not.
 */
bool pyunw_frames_adjoin(struct walk *walk, const pyunw_raw_frame *callee, const pyunw_raw_frame *caller);

/* ---- Between the files of the walk ---- */

/* Read a word that a plausible address points to. */
static inline bool read_word(const struct walk *walk, pyunw_addr address, uint64_t *value)
{
    return plausible_address(address) && pyunw_read_u64(&walk->memory, address, value) == 0;
}

/* Where PyCode_Type is not known: is this a type of the name "code"? Then it is known. */
bool pyunw_type_is_code(struct walk *walk, pyunw_addr type);

/* May a stack end at the frame that was looked at last? */
bool pyunw_stack_may_end(struct walk *walk);

/* 3.11, 3.12: begin at the frame that a _PyCFrame names, if it can be believed. 0 or PYUNW_ERR_FAULT. */
int pyunw_walk_begin_at_cframe(struct walk *walk, pyunw_addr cframe);

#endif
