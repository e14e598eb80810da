/*
 * Compare two walks of one thread: the frames that the first left in an array, and the second as it goes along.
 * Signal-safe: yes.
 */
#include "capture_agreement.h"

static int find_frame(const struct frame_array *array, int from, int count, pyunw_addr frame)
{
    for (int n = from; n < count; n++) {
        if (raw_at(array, n)->frame == frame)
            return n;
    }
    return -1;
}

bool pyunw_agree(struct walk *second, const struct frame_array *array, int count, const struct frame_digest *tail,
                 struct agreement *agreement)
{
    int at = 0;
    pyunw_raw_frame raw;
    *agreement = (struct agreement){.first = count};
    struct frame_digest again = {0};
    while (pyunw_walk_take(second, &raw, sizeof raw, 1) == 1) {
        /* Beyond the array: only the digest tells. */
        if (count == 0 || (at == count && agreement->first < count)) {
            digest_add(&again, &raw);
            continue;
        }
        int found = at < count && raw_at(array, at)->frame == raw.frame ? at : find_frame(array, at, count, raw.frame);
        if (found < 0) {
            agreement->skipped++;
            agreement->first = count;
            continue;
        }
        pyunw_raw_frame *seen = raw_at(array, found);
        if (found != at || agreement->first == count) {
            agreement->first = found;
            agreement->moved = false;
        }
        if (seen->code != raw.code || seen->kind != raw.kind || seen->reserved != raw.reserved) {
            agreement->first = found + 1;
            agreement->moved = false;
        } else if (seen->offset != raw.offset) {
            agreement->first = found;
            agreement->moved = true;
            agreement->offset = raw.offset;
        }
        at = found + 1;
    }
    return at == count && digest_equal(&again, tail);
}

void pyunw_join_agreements(struct agreement *agreement, const struct agreement *earlier, bool keeps_moved)
{
    int first = earlier->moved && !keeps_moved ? earlier->first + 1 : earlier->first;
    if (earlier->first > agreement->first || (earlier->first == agreement->first && !agreement->moved)) {
        agreement->first = first;
        agreement->moved = false;
    }
    if (agreement->skipped < earlier->skipped)
        agreement->skipped = earlier->skipped;
}
