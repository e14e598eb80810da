# interpreters: each
"""
pyunw_capture() and pyunw_walk() into arrays of every size from 0 up to more than the stack has: the innermost frames,
truncated below the stack's own depth and complete from there on, and nothing written behind them. The calling
thread's stack, a blocked thread's, and the calling thread's as a thread that Python does not know sees it.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from observer import BlockedThread, find_thread, helper, open_targets

FILL = 0xAB
DEPTH = 12  # frames at the least
FRAME_SIZE = ctypes.sizeof(pyunw.pyunw_frame)
RAW_SIZE = ctypes.sizeof(pyunw.pyunw_raw_frame)

CALLS = (
    (pyunw.lib.pyunw_capture, pyunw.pyunw_frame),
    (pyunw.lib_holding_gil.pyunw_capture, pyunw.pyunw_frame),
    (pyunw.lib.pyunw_walk, pyunw.pyunw_raw_frame),
    (helper.capture_from_native_thread, pyunw.pyunw_frame),
)


class Room:
    """An array with space behind it that nobody may write to."""

    def __init__(self, item, count):
        self.items = (item * (count + 2))()
        self.item_size = ctypes.sizeof(item)
        ctypes.memset(self.items, FILL, ctypes.sizeof(self.items))

    def bytes(self):
        return bytes(self.items)

    def is_untouched_from(self, count):
        rest = self.bytes()[self.item_size * count :]
        return rest == bytes([FILL]) * len(rest)


failures = 0


def check(condition, *words):
    global failures
    if not condition:
        failures += 1
        print(*words)


def compare_sizes(target, tstate, whole):
    """One loop and one call on one line, so that each call finds the same stack. whole: its depth."""
    compared = 0
    for function, item in CALLS:
        rooms = [(max, Room(item, max), pyunw.pyunw_status()) for max in (whole + 3, whole + 1, *range(whole + 1))]
        counts = []
        for max, room, status in rooms:
            counts.append(function(target, tstate, room.items, max, status))
        reference = rooms[0][1].bytes()
        for count, (max, room, status) in zip(counts, rooms):
            what = "%s of %d frames into %d:" % (function.__name__, whole, max)
            wanted = min(max, whole)
            size = room.item_size * wanted
            end = pyunw.PYUNW_COMPLETE if max >= whole else pyunw.PYUNW_TRUNCATED
            check(count == wanted, what, count)
            check(status.end == end, what, pyunw.lib.pyunw_end_name(status.end))
            check(status.depth == wanted, what, "depth", status.depth)
            for field in ("address", "unconfirmed", "undescribed"):
                check(getattr(status, field) == 0, what, field, getattr(status, field))
            check(room.bytes()[:size] == reference[:size], what, "other frames")
            check(room.is_untouched_from(wanted), what, "wrote behind the array")
            compared += 1
    return compared


def compare_without_array(target, tstate):
    """max 0 needs no array, and no status either."""
    status = pyunw.pyunw_status()
    for function, _ in CALLS:
        check(function(target, tstate, None, 0, status) == 0, "max 0 without an array")
        check(status.end == pyunw.PYUNW_TRUNCATED, "max 0 without an array: end", status.end)
        check(function(target, tstate, None, 0, None) == 0, "max 0 without anything")
        check(function(target, tstate, None, 1, status) == pyunw.PYUNW_ERR_ARGUMENT, "max 1 without an array")
        check(function(target, tstate, None, -1, status) == pyunw.PYUNW_ERR_ARGUMENT, "max -1")


def compare_without_status(target, tstate, whole):
    frames = (pyunw.pyunw_frame * whole)()
    check(pyunw.lib.pyunw_capture(target, tstate, frames, whole, None) == whole, "without a status")


def compare_thread(targets, tstate, whole):
    compared = 0
    for target in targets.values():
        compare_without_array(target, tstate)
        compare_without_status(target, tstate, whole)
        compared += compare_sizes(target, tstate, whole)
    return compared


def depth_of(frame):
    depth = 0
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def descend(depth, reach):
    return descend(depth - 1, reach) if depth else reach()


def main():
    targets = open_targets()
    compared = 0

    def compare_own():
        nonlocal compared
        tstate = pyunw.current_thread(targets["default"])
        # Two frames more: compare_thread, and inside it compare_sizes or compare_without_status.
        compared += compare_thread(targets, tstate, depth_of(sys._getframe()) + 2)

    descend(DEPTH, compare_own)
    for thread_id in BlockedThread(lambda block: descend(DEPTH, block)):
        tstate = find_thread(targets["default"], thread_id).tstate
        compared += compare_thread(targets, tstate, depth_of(sys._current_frames()[thread_id]))
    print("%d wrong; %d captures and walks into arrays of other sizes" % (failures, compared))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
