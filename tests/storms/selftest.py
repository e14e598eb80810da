"""The test of the checker: stacks that are wrong on purpose, each in one way, must be found out, and true ones not.

Run by tests/storms/test_storm.py under an interpreter; the last line of output says how many of each there were.
"""

import ctypes
import sys
import tempfile
import threading

import legality
import program
import workload

UNKNOWN, WRONG_LINE, STALE_LINE, ILLEGAL, CUT, DAMAGED = 1, 2, 4, 8, 16, 32
POSITION_UNREADABLE = 64
ROOM = 100


class RawFrame(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint64),
        ("frame", ctypes.c_uint64),
        ("offset", ctypes.c_int32),
        ("kind", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("reserved", ctypes.c_uint16),
    ]


class Frame(ctypes.Structure):
    _fields_ = [
        ("raw", RawFrame),
        ("lineno", ctypes.c_int32),
        ("end_lineno", ctypes.c_int32),
        ("colno", ctypes.c_int32),
        ("end_colno", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("filename_length", ctypes.c_uint16),
        ("name_length", ctypes.c_uint16),
        ("qualname_length", ctypes.c_uint16),
        ("reserved", ctypes.c_uint16),
        ("filename", ctypes.c_char * 512),
        ("name", ctypes.c_char * 256),
        ("qualname", ctypes.c_char * 512),
    ]


class Status(ctypes.Structure):
    _fields_ = [
        ("end", ctypes.c_int32),
        ("depth", ctypes.c_int32),
        ("address", ctypes.c_uint64),
        ("unconfirmed", ctypes.c_int32),
        ("undescribed", ctypes.c_int32),
    ]


class Stack:
    """Frames as the checker takes them, innermost first."""

    def __init__(self, library, frames):
        self.library = library
        self.frames = frames

    def verdict(self, complete=True):
        array = (Frame * len(self.frames))(*self.frames)
        return self.library.storm_check(array, len(self.frames), complete)

    def changed(self, index, **fields):
        frames = list(self.frames)
        frames[index] = Frame.from_buffer_copy(frames[index])
        for name, value in fields.items():
            setattr(frames[index], name, value)
            if name in ("filename", "name", "qualname"):
                setattr(frames[index], name + "_length", len(value))
        return Stack(self.library, frames)

    def without(self, index):
        return Stack(self.library, self.frames[:index] + self.frames[index + 1 :])

    def swapped(self, first, second):
        frames = list(self.frames)
        frames[first], frames[second] = frames[second], frames[first]
        return Stack(self.library, frames)

    def index(self, name):
        return [frame.name.decode() for frame in self.frames].index(name)


def capture_in_workload(library):
    """A true stack: nest_0 calls nest_1 ... nest_3 calls leaf_none, which is replaced by one that captures."""
    frames = (Frame * ROOM)()
    status = Status()
    counts = []

    def replacement():
        counts.append(library.storm_capture(frames, ROOM, ctypes.byref(status)))

    original = workload.leaf_none
    workload.leaf_none = replacement
    try:
        workload.thread_short(workload._thread.allocate_lock())
    except RuntimeError:
        pass  # the lock is not held
    finally:
        workload.leaf_none = original
    if counts[-1] <= 0 or status.end != 0:
        sys.exit("the capture did not reach the bottom: %d frames, end %d" % (counts[-1], status.end))
    taken = [Frame.from_buffer_copy(frame) for frame in frames[: counts[-1]]]
    names = [frame.name for frame in taken]
    # Without the replacement, and without what called thread_short here and does not in the storm.
    return Stack(library, taken[1 : names.index(b"thread_short") + 1])


def end_of_interpreter(good):
    """A true stack: C code calls this function of threading's where an interpreter ends."""
    code = threading._shutdown.__code__
    name = code.co_name.encode()
    only = Stack(good.library, good.frames[:1])
    return only.changed(0, filename=code.co_filename.encode(), name=name, qualname=name, lineno=code.co_firstlineno)


def wrong_stacks(good):
    """(what is wrong, the stack, complete, the verdict that must be among the bits)"""
    caller = good.index("nest_1")
    line = good.frames[caller].lineno
    last = len(good.frames) - 1
    yield "a caller on another line of its own", good.changed(caller, lineno=line - 1), True, STALE_LINE
    yield "a line of no one", good.changed(0, lineno=1000000), True, WRONG_LINE
    yield "another function's line", good.changed(0, lineno=good.frames[last].lineno), True, WRONG_LINE
    yield "an unknown line", good.changed(caller, lineno=-1), True, WRONG_LINE
    yield "a frame left out", good.without(caller), True, ILLEGAL
    yield "two frames swapped", good.swapped(caller, caller + 1), True, ILLEGAL
    yield "a frame told twice", Stack(good.library, good.frames[: caller + 1] + good.frames[caller:]), True, ILLEGAL
    yield "a name cut", good.changed(caller, name=b"nest_"), True, UNKNOWN
    yield "another's name", good.changed(caller, name=b"leaf_add", qualname=b"leaf_add"), True, WRONG_LINE
    yield "another's qualified name", good.changed(caller, qualname=b"Point.nest_1", flags=0), True, UNKNOWN
    yield "another's file", good.changed(caller, filename=b"<made 3>"), True, UNKNOWN
    yield "no text", good.changed(0, name=b"", filename=b"", lineno=-1, flags=POSITION_UNREADABLE), True, DAMAGED
    yield "the bottom lost", good.without(last), True, CUT
    yield "an illegal pair in a truncated stack", good.without(caller), False, ILLEGAL


def main():
    library = program.open_library(sys.argv[1])
    table = program.make_table()
    legality.load(table, library)
    with tempfile.NamedTemporaryFile() as counters:
        error = library.storm_open(0, 0, 5000, counters.name.encode(), None, ctypes.c_size_t(0))
    if error != 0 or library.storm_frame_size() != ctypes.sizeof(Frame):
        sys.exit("cannot open the interpreter: error %d" % error)
    workload.prepare_made()
    good = capture_in_workload(library)
    failures = []
    innermost = Stack(library, good.frames[:1])
    for complete, stack in ((True, good), (False, good), (False, innermost), (True, end_of_interpreter(good))):
        if stack.verdict(complete) != 0:
            failures.append("a true stack is called wrong: %d" % stack.verdict(complete))
    wrong = list(wrong_stacks(good))
    for words, stack, complete, expected in wrong:
        if stack.verdict(complete) & expected == 0:
            failures.append("%s: not found out (%d)" % (words, stack.verdict(complete)))
    print("\n".join(failures + ["%d wrong stacks, %d not found out" % (len(wrong), len(failures))]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
