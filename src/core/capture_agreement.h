/*
 * What two walks of one thread, which may have run on meanwhile, agree upon.
 *
 * What both show, from the root on (the same frames with the same code at the same instruction), was its stack at an
 * instant between them; what differs above was pushed or popped meanwhile and is left out. The innermost frame that is
 * kept may have moved on: it takes the instruction of the second walk.
 * Signal-safe: yes. Include from: capture_agreement.c, capture_running.c.
 */
#ifndef PYUNW_CORE_CAPTURE_AGREEMENT_H
#define PYUNW_CORE_CAPTURE_AGREEMENT_H

#include "digest.h"
#include "frame_array.h"

/* What a second walk says of the frames of the first. */
struct agreement {
    int first;   /* the innermost frame that both walks show, with all that is outward of it */
    int skipped; /* frames of the second walk inward of it */
    bool moved;  /* that frame was at another instruction the second time: */
    int32_t offset;
};

/*
 * Walk again, and compare with the count frames of the array and with tail, the digest of those that it had no room
 * for. The array stays what the first walk made it: a walk that does not agree leaves nothing behind. Do they agree?
 */
bool pyunw_agree(struct walk *second, const struct frame_array *array, int count, const struct frame_digest *tail,
                 struct agreement *agreement);

/*
 * What two walks that confirmed the first say of it together: no more than each. keeps_moved: a frame whose instruction
 * only one of them found moved is the innermost all the same.
 */
void pyunw_join_agreements(struct agreement *agreement, const struct agreement *earlier, bool keeps_moved);

#endif
