"""
Every way in which pyunwind gives a stack - each memory, each guard, with and without the GIL, from the thread itself
and from others - compared with what the interpreter says at the same moment.
"""

import ctypes
import functools
import os
import sys
import threading

import pyunw
from compile import compile_shared
from oracle import differences_of_frame, differences_of_raw, differences_of_status, expected_stack

HELPER = compile_shared("stacks", os.path.join(os.path.dirname(os.path.abspath(__file__)), "stacks.c"), pyunwind=True)
UNTOUCHED = 0xAB
SHOWN = 10  # differences

MEMCMP = ctypes.PyDLL(None)["memcmp"]
MEMCMP.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

GUARDS = {
    "READV": pyunw.PYUNW_GUARD_READV,
    "PROC_MEM": pyunw.PYUNW_GUARD_PROC_MEM,
    "PIPE": pyunw.PYUNW_GUARD_PIPE,
}


class Helper:
    """The functions of stacks.c."""

    def __init__(self, dll):
        self.meet = dll["meet"]
        self.walk_by_cursor = dll["walk_by_cursor"]
        self.walk_by_cursor.argtypes = pyunw.PROTOTYPES["pyunw_walk"][1]
        self.capture_from_native_thread = dll["capture_from_native_thread"]
        self.capture_from_native_thread.argtypes = pyunw.PROTOTYPES["pyunw_capture"][1]
        self.current_thread_from_native_thread = dll["current_thread_from_native_thread"]
        self.current_thread_from_native_thread.argtypes = [ctypes.POINTER(pyunw.pyunw_target)]


helper = Helper(ctypes.CDLL(HELPER))
helper_holding_gil = Helper(ctypes.PyDLL(HELPER))


def open_targets():
    """{label: target} for every memory and guard; the trap handler is installed."""
    pyunw.check(pyunw.lib.pyunw_trap_install())
    targets = {
        "default": pyunw.open_self(),
        "direct": pyunw.open_self(memory=pyunw.PYUNW_MEMORY_DIRECT),
        "trapped": pyunw.open_self(memory=pyunw.PYUNW_MEMORY_TRAPPED),
    }
    for name, guard in GUARDS.items():
        targets["guarded, " + name] = pyunw.open_self(memory=pyunw.PYUNW_MEMORY_GUARDED, guard=guard)
    return targets


class Way:
    """One call that gives a stack: call() stands on no Python frame of its own, since a partial has none."""

    def __init__(self, label, described, function, *arguments):
        self.label = label
        self.described = described
        self.call = functools.partial(function, *arguments)


class Array:
    """Room for frames; what the library did not write there stays UNTOUCHED."""

    def __init__(self, item, count):
        self.items, self.verified, self.untouched = [(item * count)() for _ in range(3)]
        self.item_size = ctypes.sizeof(item)
        self.count = self.used = count
        for array in (self.items, self.untouched):
            ctypes.memset(array, UNTOUCHED, ctypes.sizeof(array))

    def clear(self, count):
        """Before a stack of count frames is asked for."""
        ctypes.memset(self.items, UNTOUCHED, self.item_size * max(count, self.used))
        self.used = count

    def equal(self, other, first, end):
        begin = self.item_size * first
        one, two = (ctypes.addressof(array) + begin for array in (self.items, other))
        return MEMCMP(one, two, self.item_size * (end - first)) == 0

    def is_untouched_from(self, count):
        return self.equal(self.untouched, count, self.count)

    def keep_verified(self, count):
        ctypes.memmove(self.verified, self.items, self.item_size * count)

    def is_as_verified(self, first, end):
        return self.equal(self.verified, first, end)


class Observer:
    """Compares stacks, and counts."""

    def __init__(self, targets, max_frames):
        self.max = max_frames
        self.frames = Array(pyunw.pyunw_frame, max_frames)
        self.raws = Array(pyunw.pyunw_raw_frame, max_frames)
        self.status = pyunw.pyunw_status()
        self.tstate = ctypes.c_uint64()  # of the thread that is looked at
        self.own_ways = [way for label in targets for way in self.ways_of_own(label, targets[label])]
        self.other_ways = [way for label in targets for way in self.ways_of_other(label, targets[label])]
        self.target = next(iter(targets.values()))  # finds threads
        self.verified = 0  # frames of the stack that is looked at whose bytes are known to be right
        self.stacks = self.compared = self.differences = 0
        self.seen = {}  # name: kinds and flags of captured frames

    def ways_of_own(self, label, target):
        frames = self.frames.items, self.max, self.status
        raws = self.raws.items, self.max, self.status
        own = ctypes.c_uint64(0)
        gil = pyunw.lib_holding_gil
        yield Way(label, True, pyunw.lib.pyunw_capture_current, target, *frames)
        yield Way(label + ", GIL held", True, gil.pyunw_capture_current, target, *frames)
        yield Way(label + ", by address", True, pyunw.lib.pyunw_capture, target, self.tstate, *frames)
        yield Way(label + ", walk", False, pyunw.lib.pyunw_walk, target, own, *raws)
        yield Way(label + ", walk, GIL held", False, gil.pyunw_walk, target, own, *raws)
        yield Way(label + ", cursor", False, helper.walk_by_cursor, target, own, *raws)
        for way in self.ways_of_native_thread(label, target):
            yield way

    def ways_of_native_thread(self, label, target):
        arguments = target, self.tstate, self.frames.items, self.max, self.status
        yield Way(label + ", native thread", True, helper.capture_from_native_thread, *arguments)
        held = helper_holding_gil.capture_from_native_thread
        yield Way(label + ", native thread, GIL held", True, held, *arguments)

    def ways_of_other(self, label, target):
        frames = self.tstate, self.frames.items, self.max, self.status
        raws = self.tstate, self.raws.items, self.max, self.status
        yield Way(label, True, pyunw.lib.pyunw_capture, target, *frames)
        yield Way(label + ", GIL held", True, pyunw.lib_holding_gil.pyunw_capture, target, *frames)
        yield Way(label + ", walk", False, pyunw.lib.pyunw_walk, target, *raws)
        yield Way(label + ", cursor", False, helper.walk_by_cursor, target, *raws)
        for way in self.ways_of_native_thread(label, target):
            yield way

    # ---- The two situations ----

    def compare_own(self, *_):
        """Compare the stack of the calling thread, this function's frame innermost."""
        self.tstate.value = pyunw.current_thread(self.target)
        frame = sys._getframe()
        expected = self.begin(frame)
        for way in self.own_ways:
            self.clear(len(expected))
            count, lineno = way.call(), frame.f_lineno
            expected[0] = expected[0]._replace(lineno=lineno)
            self.compare(way, count, expected, innermost_runs=True)
        return 0

    def compare_other(self, thread_id):
        """Compare the stack of a thread that is blocked."""
        self.tstate.value = find_thread(self.target, thread_id).tstate
        expected = self.begin(sys._current_frames()[thread_id])
        for way in self.other_ways:
            self.clear(len(expected))
            self.compare(way, way.call(), expected, innermost_runs=False)

    def begin(self, innermost):
        self.stacks += 1
        self.verified = 0
        return expected_stack(innermost)

    # ---- The comparison ----

    def clear(self, count):
        self.frames.clear(count)
        self.raws.clear(count)

    def compare(self, way, count, expected, innermost_runs):
        """The first way's frames are compared one by one; those that then hold the same bytes are right as well."""
        self.compared += 1
        if count != len(expected):
            self.differ(way, "%d frames, expected %d" % (count, len(expected)))
            self.show_names(count, expected, way)
            return
        for difference in differences_of_status(self.status, count):
            self.differ(way, difference)
        array = self.frames if way.described else self.raws
        if not array.is_untouched_from(count):
            self.differ(way, "wrote behind the %d frames that it counted" % count)
        first_of_verified = 1 if innermost_runs else 0
        if self.verified and array.is_as_verified(first_of_verified, count):
            count = first_of_verified
        differ = differences_of_frame if way.described else differences_of_raw
        before = self.differences
        for n in range(count):
            for difference in differ(array.items[n], expected[n], innermost_runs and n == 0):
                self.differ(way, "frame %d, %s: %s" % (n, expected[n].code.co_name, difference))
        if way.described and not self.verified and self.differences == before:
            self.keep_verified(count)

    def keep_verified(self, count):
        self.verified = count
        self.frames.keep_verified(count)
        for n in range(count):
            frame = self.frames.items[n]
            self.raws.verified[n] = frame.raw
            kinds, flags = self.seen.setdefault(frame.text("name"), (set(), set()))
            kinds.add(frame.raw.kind)
            flags.add(frame.raw.flags)

    def show_names(self, count, expected, way):
        if way.described and count >= 0 and self.differences <= SHOWN:
            print("    got      %s" % [self.frames.items[n].text("name") for n in range(min(count, 60))])
            print("    expected %s" % [frame.code.co_name for frame in expected[:60]])
            print("    status   %s" % {field: getattr(self.status, field) for field, _ in self.status._fields_})

    def differ(self, what, text):
        self.differences += 1
        if self.differences <= SHOWN:
            print("%s: %s" % (getattr(what, "label", what), text))


def find_thread(target, thread_id, interpreter_id=0):
    """The pyunw_thread of a pthread id."""
    for thread in pyunw.threads(target):
        if (thread.thread_id, thread.interpreter_id) == (thread_id, interpreter_id):
            return thread
    raise LookupError("no thread 0x%x of interpreter %d in the list" % (thread_id, interpreter_id))


# ---- A thread that blocks where it is to be looked at ---------------------------------------------------------------


class BlockedThread:
    """
    Runs function(block) in a thread with a large stack. Each call of block() there stays inside a C function until
    the iteration goes on:

        for thread_id in BlockedThread(function):
            ...  # that thread is blocked
    """

    STACK_SIZE = 256 << 20  # 3.8 to 3.11 take C stack for every Python frame

    def __init__(self, function):
        self.function = function
        self.ready = os.pipe()
        self.go = os.pipe()
        self.blocked = 0
        self.error = None

    def block(self, *_):
        self.blocked = threading.get_ident()
        if helper.meet(self.ready[1], self.go[0]) != 0:
            raise OSError("meet")
        return 0

    def run(self):
        try:
            self.function(self.block)
        except BaseException as error:  # told by the iteration
            self.error = error
        finally:
            os.write(self.ready[1], b"f")

    def __iter__(self):
        thread = start_with_large_stack(self.run)
        try:
            while os.read(self.ready[0], 1) == b"b":
                yield self.blocked
                os.write(self.go[1], b"g")
        finally:
            os.close(self.go[1])  # a thread that still waits goes on
            thread.join()
            for end in self.ready + self.go[:1]:
                os.close(end)
        if self.error is not None:
            raise self.error


def start_with_large_stack(function):
    before = threading.stack_size(BlockedThread.STACK_SIZE)
    try:
        thread = threading.Thread(target=function)
        thread.start()
    finally:
        threading.stack_size(before)
    return thread


def run_with_large_stack(function):
    """Run in a thread of its own, and raise here what it raises there."""
    errors = []

    def run():
        try:
            function()
        except BaseException as error:  # raised below
            errors.append(error)

    start_with_large_stack(run).join()
    if errors:
        raise errors[0]
