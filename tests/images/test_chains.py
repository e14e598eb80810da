# interpreters: host
"""
Random stacks of 3.11 and 3.12, with frames that have not begun, entry frames between and chains that close on
themselves, walked into arrays of many sizes and by the cursor: frames, their order, entry flags and the end are what a
model of a few lines says.
"""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from maker import Memory

SEEDS = 400


def chain_of(randomness):
    """(memory, [(address, entry)] of the frames to be given, whether the chain closes)"""
    memory = Memory(randomness.choice(("3.11", "3.12")))
    depth = randomness.choice((1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 65, 70, 130))
    hidden = [randomness.random() < 0.25 for _ in range(depth)]
    codes = [memory.code("f%d" % number) for number in range(depth)]
    for code, hide in zip(codes, hidden):
        if hide:  # not begun: the instruction is before the first that can be traced
            code.set(4, code__first_traceable=4)
    frames = memory.stack(*codes)
    links = []  # (structure, number of the frame or None)
    for number, frame in enumerate(frames):
        links.append((frame, number))
        between = memory.version == "3.12" and number + 1 < depth and randomness.random() < 0.4
        for _ in range(randomness.choice((1, 1, 2)) if between else 0):
            links.append((memory.entry_frame(), None))
    if memory.version == "3.12":
        links.append((memory.shim, None))
    for (structure, _), (outer, _) in zip(links, links[1:]):
        structure.set(frame__previous=outer.address)
    closes = randomness.random() < 0.6
    if closes:
        links[-1][0].set(frame__previous=randomness.choice(links)[0].address)
    expected = []
    for (structure, number), (_, outer) in zip(links, links[1:] + [(None, 0)]):
        if number is not None and not hidden[number]:
            entry = outer is None if memory.version == "3.12" else number == 0
            expected.append((structure.address, pyunw.PYUNW_FRAME_ENTRY if entry else 0))
    return memory, expected, closes


def wrong_with(expected, closes, room, found, end):
    given = expected[:room]
    if [address for address, _ in found] != [address for address, _ in given]:
        return "%d frames (%d different), not %d" % (len(found), len(set(found)), len(given))
    flags_told = found[:-1] if closes else found  # of the last one in a cycle, the frame behind may be any
    if flags_told != given[: len(flags_told)]:
        return "the entry flags are %s, not %s" % ([flag for _, flag in found], [flag for _, flag in given])
    if closes:  # a full array need not show that there is more of the same
        return None if end == pyunw.PYUNW_CORRUPT or (room <= len(expected) and end == pyunw.PYUNW_TRUNCATED) else (
            "the end is %d" % end)
    whole = pyunw.PYUNW_COMPLETE if expected else pyunw.PYUNW_NO_FRAME
    right = whole if room >= len(expected) else pyunw.PYUNW_TRUNCATED
    return None if end == right else "the end is %d, not %d" % (end, right)


def walk(target, tstate, room):
    frames, status = (pyunw.pyunw_raw_frame * max(room, 1))(), pyunw.pyunw_status()
    count = pyunw.lib.pyunw_walk(target, tstate, frames, room, status)
    return [(frame.frame, frame.flags) for frame in frames[:count]], status.end


def walk_by_cursor(target, tstate):
    cursor, frame, status = pyunw.pyunw_frame_cursor(), pyunw.pyunw_raw_frame(), pyunw.pyunw_status()
    pyunw.check(pyunw.lib.pyunw_frames_begin(target, tstate, cursor))
    found = []
    while pyunw.lib.pyunw_frames_next(cursor, frame) == 1:
        found.append((frame.frame, frame.flags))
    pyunw.check(pyunw.lib.pyunw_frames_end(cursor, status))
    return found, status.end


def main():
    wrong, walks = [], 0
    for seed in range(SEEDS):
        memory, expected, closes = chain_of(random.Random(seed))
        target, error = memory.open()
        pyunw.check(error)
        depth = len(expected)
        rooms = {0, 1, 2, 3, 7, 8, depth - 1, depth, depth + 1, depth + 5, 63, 64, 127, 128, 129, 300}
        for room in sorted(room for room in rooms if room >= 0):
            walks += 1
            why = wrong_with(expected, closes, room, *walk(target, memory.tstate.address, room))
            if why:
                wrong.append("seed %d, %s, %d frames, room %d: %s" % (seed, memory.version, depth, room, why))
        found, end = walk_by_cursor(target, memory.tstate.address)
        # A cursor has no room to look back: frames of a cycle come again until it is noticed.
        why = wrong_with(expected, closes, depth + 1, found[:depth] if closes else found, end)
        if why or len(found) > 4 * depth + 4:
            wrong.append("seed %d, cursor: %s" % (seed, why or "%d frames of %d" % (len(found), depth)))
    print("\n".join(wrong[:20] + ["%d stacks walked %d times: %d wrong" % (SEEDS, walks + SEEDS, len(wrong))]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
