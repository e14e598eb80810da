# interpreters: host
"""
The functions of native stacks from C's side: what they refuse, what they tell of a paused process, and stacks made by
hand, whose order is known: a loop without a frame, one whose instructions are functions (CPython 3.14 and later built
with tail calls), loops of another interpreter, and stacks that do not fit.
"""

import ctypes
import os
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "dump"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

import pyunw
from dumping import Program, check, finish, wait_until_reading
from pausing import OPTIONS, REMOTE, open_paused, pause, resume, try_pause

OK, ARGUMENT, NOT_OPEN, NO_THREAD, CORRUPT, TORN = 0, -1, -2, -8, -10, -11
COMPLETE, TRUNCATED, CUT = range(3)  # enum pyunw_native_end
INTERRUPTED, LOOP, PART = 1, 2, 4    # enum pyunw_native_flags
ENTRY = 1                            # PYUNW_FRAME_ENTRY


class native_frame(ctypes.Structure):
    _fields_ = [("address", ctypes.c_uint64), ("module_offset", ctypes.c_uint64), ("function_offset", ctypes.c_uint64),
                ("module", ctypes.c_char_p), ("build_id", ctypes.c_void_p), ("function", ctypes.c_char_p),
                ("filename", ctypes.c_char_p), ("lineno", ctypes.c_int32), ("flags", ctypes.c_uint32),
                ("build_id_size", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("stack", ctypes.c_uint64),
                ("entry", ctypes.c_uint64)]


class merged_frame(ctypes.Structure):
    _fields_ = [("native", ctypes.c_int32), ("python", ctypes.c_int32)]


POINTER, INT = ctypes.c_void_p, ctypes.c_int
REMOTE.pyunw_native_open.argtypes = [ctypes.POINTER(ctypes.c_void_p), POINTER, OPTIONS]
REMOTE.pyunw_native_close.argtypes = [POINTER]
REMOTE.pyunw_native_walk.argtypes = [POINTER, INT, POINTER, INT, ctypes.POINTER(ctypes.c_int)]
REMOTE.pyunw_native_describe.argtypes = [POINTER, POINTER, INT]
REMOTE.pyunw_native_find_entries.argtypes = [POINTER, POINTER, POINTER, INT, POINTER, INT]
REMOTE.pyunw_native_merge.argtypes = [POINTER, INT, INT, POINTER, INT, POINTER, POINTER, INT]


# ---- Stacks made by hand --------------------------------------------------------------------------------------------


def merge(native, python, native_end=COMPLETE, end=0, unconfirmed=0, room=64):
    """
    native: flags of each frame, or (flags, entry); python: flags of each, whose address is 8 times its place from 1.
    The rows: numbers of native frames, those of Python ones as "p0"; or an error.
    """
    frames = (native_frame * (len(native) or 1))()
    for frame, told in zip(frames, native):
        frame.flags, frame.entry = told if isinstance(told, tuple) else (told, 0)
    raws = (pyunw.pyunw_raw_frame * (len(python) or 1))()
    for number, (raw, flags) in enumerate(zip(raws, python)):
        raw.flags, raw.frame = flags, 8 * (number + 1)
    status = pyunw.pyunw_status(end=end, unconfirmed=unconfirmed)
    rows = (merged_frame * 64)()
    count = REMOTE.pyunw_native_merge(frames, len(native), native_end, raws, len(python), ctypes.byref(status), rows,
                                      room)
    if count < 0:
        return count
    return [row.native if row.native >= 0 else "p%d" % row.python for row in rows[:count]]


BY_HAND = [  # (what, arguments, rows)
    ("nothing", ([], []), []),
    ("no Python frame", ([0, 0], []), [0, 1]),
    ("one loop", ([0, LOOP, 0], [0, ENTRY]), [0, "p0", "p1", 2]),
    ("two loops", ([LOOP, 0, LOOP], [ENTRY, 0, ENTRY]), ["p0", 1, "p1", "p2"]),
    ("a loop without a frame", ([0, LOOP, 0, LOOP, 0], [ENTRY]), [0, 1, 2, "p0", 4]),
    ("two loops without a frame", ([LOOP, LOOP, LOOP], [ENTRY]), CORRUPT),
    ("a loop too few", ([0, LOOP, 0], [ENTRY, ENTRY]), CORRUPT),
    ("a bottom that was not entered", ([0, LOOP], [ENTRY, 0]), CORRUPT),
    ("handlers", ([0, PART, LOOP, 0, PART, LOOP], [ENTRY, ENTRY]), [0, "p0", 3, "p1"]),
    ("a handler without its loop", ([PART, 0, LOOP], [ENTRY]), [0, 1, "p0"]),
    ("a handler of a loop without a frame", ([PART, LOOP, 0, PART, LOOP], [ENTRY]), [0, 1, 2, "p0"]),
    ("entries", ([0, (0, 8), 0, (LOOP, 24)], [ENTRY, 0, ENTRY]), [0, "p0", 2, "p1", "p2"]),
    ("entries, another's loop between", ([(LOOP, 8), 0, LOOP, 0, (LOOP, 16), LOOP], [ENTRY, ENTRY]),
     ["p0", 1, 2, 3, "p1", 5]),
    ("entries in another order", ([(0, 16), (0, 8)], [ENTRY, ENTRY]), CORRUPT),
    ("an entry missing, names instead", ([(LOOP, 8), LOOP], [ENTRY, ENTRY]), ["p0", "p1"]),
]


def check_by_hand():
    for what, arguments, expected in BY_HAND:
        got = merge(*arguments)
        check(got == expected, what, "is", got, "expected", expected)
    good = ([0, LOOP, LOOP], [ENTRY])
    check(merge(*good, native_end=CUT) == CORRUPT, "a loop too many on a stack that is cut")
    check(merge([LOOP, 0], [ENTRY], native_end=CUT) == ["p0", 1], "as many loops as entries on a stack that is cut")
    for end in range(1, 4):
        check(merge([LOOP], [ENTRY], end=end) == CORRUPT, "a Python stack that ended with", end)
    check(merge([LOOP], [ENTRY], unconfirmed=1) == CORRUPT, "unconfirmed frames")
    check(merge([0, LOOP, 0], [ENTRY], room=2) == ARGUMENT, "too little room")


# ---- A paused process -----------------------------------------------------------------------------------------------


def walk(native, task, room=256):
    frames, end = (native_frame * room)(), ctypes.c_int(-1)
    return REMOTE.pyunw_native_walk(native, task, frames, room, ctypes.byref(end)), frames, end.value


def check_paused(pid):
    handle, native = pause(pid), ctypes.c_void_p()
    check(REMOTE.pyunw_native_open(ctypes.byref(native), handle, None) == OK, "open")
    count, frames, end = walk(native, pid)
    check(count > 10 and end == COMPLETE, "walk:", count, "frames, end", end)
    check(frames[0].flags & INTERRUPTED and not frames[1].flags & INTERRUPTED, "the innermost frame")
    stacks = [frame.stack for frame in frames[:count]]
    check(stacks == sorted(stacks) and stacks[0] > 0, "the stack pointers are", stacks)
    count, _, end = walk(native, pid, room=2)
    check((count, end) == (2, TRUNCATED), "walk into room for 2:", count, end)
    check(walk(native, 2**31 - 1)[0] == NO_THREAD, "walk of no thread")
    check(walk(None, pid)[0] == ARGUMENT, "walk without a handle")
    check(REMOTE.pyunw_native_walk(native, pid, None, 0, None) == ARGUMENT, "walk without an end")
    code, target, _ = open_paused(handle)
    check(code == OK, "open_paused", code)
    for arguments, expected in (((None, ctypes.byref(target), None, 0, None, 0), ARGUMENT),
                                ((native, None, None, 0, None, 0), ARGUMENT),
                                ((native, ctypes.byref(pyunw.pyunw_target()), None, 0, None, 0), NOT_OPEN),
                                ((native, ctypes.byref(target), None, 1, None, 0), ARGUMENT)):
        code = REMOTE.pyunw_native_find_entries(*arguments)
        check(code == expected, "find_entries", arguments, code)
    check(resume(handle) == OK, "resume")
    # Descriptions may follow.
    count = 256
    check(REMOTE.pyunw_native_describe(native, frames, -1) == ARGUMENT, "describe -1 frames")
    check(REMOTE.pyunw_native_describe(native, frames, 10) == OK, "describe")
    check(any(frame.function in (b"read", b"__libc_read", b"__read") for frame in frames[:2]), "it is in",
          [frame.function for frame in frames[:2]])
    REMOTE.pyunw_native_close(native)
    REMOTE.pyunw_native_close(None)


def check_refusals(pid):
    native = ctypes.c_void_p(1)
    check(REMOTE.pyunw_native_open(None, None, None) == ARGUMENT, "open without room for the handle")
    check(REMOTE.pyunw_native_open(ctypes.byref(native), None, None) == ARGUMENT and not native, "open without a pause")
    code, limit = TORN, 50
    while code == TORN:  # not all threads stood before the limit
        limit *= 2
        code, handle, _ = try_pause(pid, limit)
    check(code == OK, "pause", code)
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as file:
        standing = True
        while standing:  # until the limit has passed
            file.seek(0)
            standing = "TracerPid:\t0\n" not in file.read()
    options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options))
    code = REMOTE.pyunw_native_open(ctypes.byref(native), handle, options)
    check(code == TORN and not native, "open after the limit:", code)
    check(resume(handle) == TORN, "resume after the limit")


def main():
    check_by_hand()
    with Program([sys.executable, "-c", "import os; os.write(1, b'\\n'); os.read(0, 1)"]) as program:
        wait_until_reading(program.pid)
        check_paused(program.pid)
        check_refusals(program.pid)
    return finish("%d stacks made by hand, refusals and a paused process are as told" % len(BY_HAND))


if __name__ == "__main__":
    sys.exit(main())
