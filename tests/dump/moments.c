/*
 * A digest of the beginning of a thread state and of the thread's innermost frames.
 */
#include "moments.h"

#include <sys/uio.h>

/* Words at the beginning of every thread state: its frame or _PyCFrame, depth, and 3.11+ the end of its data stack. */
enum { WORDS_TOLD = 32 };

static uint64_t mix(uint64_t digest, uint64_t word)
{
    return (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

uint64_t moment_of(pid_t pid, const pyunw_target *target, pyunw_addr tstate)
{
    enum { INNERMOST = 4 };
    uint64_t words[WORDS_TOLD] = {0};
    struct iovec here = {words, sizeof words};
    struct iovec there = {(void *)(uintptr_t)tstate, sizeof words}; // NOLINT(performance-no-int-to-ptr)
    uint64_t digest = 0;
    pyunw_frame_cursor cursor;
    pyunw_raw_frame raw;
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) < 0)
        return 0;
    for (int n = 0; n < WORDS_TOLD; n++)
        digest = mix(digest, words[n]);
    if (pyunw_frames_begin(target, tstate, &cursor) == 0) {
        for (int depth = 0; depth < INNERMOST && pyunw_frames_next(&cursor, &raw) == 1; depth++)
            digest = mix(digest, raw.code ^ raw.frame << 20 ^ (uint32_t)raw.offset);
    }
    return digest | 1;
}
