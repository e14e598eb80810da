# interpreters: each
# weight: heavy
"""
_Py_GetTracebackFrames(): the calling thread against traceback.walk_stack(), others against sys._current_frames();
texts that do not fit; arrays of every size, which end where memory ends; and every kind of thread state that is none.
"""

import ctypes
import os
import random
import sys
import sysconfig
import threading
import _thread

import python_api
from python_api import Array, Checks, PyTracebackFrameInfo, _Py_GetTracebackFrames, api_without_gil, expected_frames
from python_api import walk

import constructs
import pyunw
from standing_threads import StandingThreads, make_interpreter, own_tstate

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ENTRY = ctypes.sizeof(PyTracebackFrameInfo)

checks = Checks()


def collect(tstate, room=300, slack=0, call=_Py_GetTracebackFrames):
    """(what the call returned, the entries) with guard bytes around the array."""
    array = Array(PyTracebackFrameInfo, room, slack)
    count = call(tstate, array.address, room)
    entries = array.entries(count)
    if count <= 0:
        checks.equal("entries that do not count", True, array.is_untouched())
    checks.equal("bytes around the array", True, array.close())
    return count, entries


def check_own(label):
    """This thread's own stack."""
    tstate = own_tstate()
    for call in (_Py_GetTracebackFrames, python_api.api.get_frames, api_without_gil.get_frames):
        count, entries = collect(tstate, call=call)
        # The innermost frame is that of collect(), which is gone.
        expected = walk(sys._getframe())
        checks.equal(label + ", innermost name", b"collect", entries[0][2])
        checks.equal(label + ", innermost line", True, collect.__code__.co_firstlineno < entries[0][1])
        here = expected_frames(expected)
        # This function's own line is another by now.
        checks.equal(label + ", its caller", (here[0][0], here[0][2]), (entries[1][0], entries[1][2]))
        checks.frames(label, here[1:], entries[2:count])


def check_at_once():
    """Both on one line: the innermost frame too."""
    array, t = Array(PyTracebackFrameInfo, 50), own_tstate()
    count, stack = _Py_GetTracebackFrames(t, array.address, 50), walk(sys._getframe())
    checks.frames("at once", expected_frames(stack), array.entries(count))
    array.close()


def check_constructs():
    for construct in constructs.CONSTRUCTS:
        before = checks.count

        def check(*_):
            check_own(construct.__name__)
            return 0

        construct(check)
        assert checks.count > before, "%s never came to its check" % construct.__name__


# ---- Texts that do not fit ------------------------------------------------------------------------------------------


def check_cutting():
    """Each length around what fits, in characters of each width, beginning at each byte."""
    for character in "x", "\xe9", "\u03b1", "\u2028", "\U0001f600", "\udc80":
        width = len(python_api.characters(character)[0])
        for length in range(250 // width - 1, 262 // width + 2):
            for before in ("", "a", "ab", "abc", "abcd", "abcde"):
                for text in (before + character * length, character * length + before):
                    function = constructs.with_names(text, text)
                    count, entries = function(lambda: collect(own_tstate(), 3))
                    expected = python_api.expected_filename(text), 2, python_api.expected_name(text)
                    checks.equal(ascii(text), expected, entries[2])
                    for part in (entries[2][0], entries[2][2]):
                        part.decode("utf-8")
                        assert len(part) <= 255


def check_lineless():
    """An unknown line is -1; 3.8 and 3.9 know them all."""
    if sys.version_info >= (3, 10):
        _, entries = constructs.without_lines(constructs.lineless)(lambda: collect(own_tstate(), 3))
        expected = python_api.expected_filename(constructs.__file__), -1, b"lineless"
        checks.equal("a frame without a line", expected, entries[2])


# ---- Arrays ---------------------------------------------------------------------------------------------------------


def descend(depth, action):
    return descend(depth - 1, action) if depth > 0 else action()


def check_room():
    """Arrays of all sizes and alignments; on one line, so that all stacks are equal."""
    tstate = own_tstate()
    whole, _ = descend(40, lambda: collect(tstate))
    cases = [(room, slack) for slack in (0, 4) for room in (300, 1, 2, 3, whole - 1, whole, whole + 1, 1000)]
    results = [descend(40, lambda: collect(tstate, *case)) for case in cases]
    # One more for the comprehension, before 3.12.
    size, expected = results[0]
    for (room, slack), (count, entries) in zip(cases, results):
        label = "room for %d of %d, %d bytes behind" % (room, size, slack)
        checks.equal(label, min(room, size), count)
        checks.frames(label, expected[:room], entries)
    # Wherever the caller put it.
    for slack in (1, 2, 3, 5, 6, 7):
        checks.equal("%d bytes behind" % slack, whole, descend(40, lambda: collect(tstate, 300, slack))[0])


def check_deep():
    sys.setrecursionlimit(20000)
    tstate = own_tstate()
    for depth in (1000, 5000):
        count, entries = descend(depth, lambda: collect(tstate, 6000))
        checks.equal("%d frames" % depth, depth + 1, [name for _, _, name in entries].count(b"descend"))
        checks.frames("%d frames" % depth, expected_frames(walk(sys._getframe()))[1:], entries[depth + 4 :])


def check_arguments():
    tstate = own_tstate()
    for room in (0, -1, -2, -(2**31)):
        array = Array(PyTracebackFrameInfo, 1)
        checks.equal("max_frames %d" % room, -1, _Py_GetTracebackFrames(tstate, array.address, room))
        checks.equal("max_frames %d" % room, (True, True), (array.is_untouched(), array.close()))
        checks.equal("max_frames %d, no array" % room, -1, _Py_GetTracebackFrames(tstate, None, room))
    for room in (1, 100, 2**31 - 1):
        checks.equal("no array", -1, _Py_GetTracebackFrames(tstate, None, room))
        checks.equal("neither", -1, _Py_GetTracebackFrames(None, None, room))


# ---- Other threads --------------------------------------------------------------------------------------------------


def check_blocked_threads():
    with StandingThreads(10):
        frames = sys._current_frames()
        others = [thread for thread in pyunw.threads(python_target) if thread.tstate != own_tstate()]
        checks.equal("blocked threads", 10, len(others))
        for thread in others:
            expected = expected_frames(walk(frames[thread.thread_id]))
            for slack in (0, 4):
                count, entries = collect(thread.tstate, slack=slack)
                checks.frames("a blocked thread", expected, entries)
            for room in (1, 2, len(expected), len(expected) + 1):
                count, entries = collect(thread.tstate, room)
                checks.frames("a blocked thread, room for %d" % room, expected[:room], entries)


class RunningThread:
    """
    A thread that goes up and down its stack, on a processor of its own where there are two: even() and odd() call each
    other, and below them lies run(), or, as often as depth says, deeper().
    """

    def __init__(self, depth=0):
        self.stop = False
        self.depth = depth
        self.rounds = 0
        self.processors = os.sched_getaffinity(0)
        self.ready = _thread.allocate_lock()
        self.ready.acquire()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        self.ready.acquire()
        os.sched_setaffinity(0, {min(self.processors)})

    def run(self):
        os.sched_setaffinity(0, {max(self.processors)})
        self.tstate = own_tstate()
        self.ready.release()
        if self.depth > 0:
            self.deeper(self.depth - 1)
        while not self.stop:
            self.rounds += 1
            self.even(6)

    def deeper(self, depth):
        if depth > 0:
            self.deeper(depth - 1)
        while not self.stop:
            self.rounds += 1
            self.even(6)

    def even(self, depth):
        if depth > 0:
            self.odd(depth - 1)
            self.odd(depth - 1)

    def odd(self, depth):
        if depth > 0:
            self.even(depth - 1)

    def wait_for_round(self):
        before = self.rounds
        while self.rounds == before:
            os.sched_yield()

    def end(self):
        self.stop = True
        self.thread.join()
        os.sched_setaffinity(0, self.processors)


LEGAL = {(b"odd", b"even"), (b"even", b"odd"), (b"even", b"run"), (b"run", b"run"), (b"run", b"_bootstrap_inner")}
LEGAL |= {(b"_bootstrap_inner", b"_bootstrap"), (b"_context_run", b"run"), (b"run", b"_context_run")}
LEGAL |= {(b"even", b"deeper"), (b"deeper", b"deeper"), (b"deeper", b"run")}


def collect_of_running(name, entry, room, depth=0):
    """
    Of a thread that runs meanwhile: no pair of frames that its program forbids, stacks that reach to their root or fill
    the array, and nothing past it.
    """
    rounds = 2500
    label = "a running thread, %s, room for %d, %d deeper" % (name, room, depth)
    thread = RunningThread(depth)
    call, array = getattr(api_without_gil, name), Array(entry, room)
    empty, stacks = 0, []
    for _ in range(rounds):
        count = call(thread.tstate, array.address, room)
        if count == 0:
            # On a busy machine the kernel may have stopped it in the middle of a call for as long as the tries took.
            thread.wait_for_round()
            count = call(thread.tstate, array.address, room)
            empty += count == 0
        assert count >= 0, count
        stacks.append([frame.name for frame in (entry * count).from_address(array.address)])
    thread.end()
    checks.equal(label + ", bytes around the array", True, array.close())
    illegal = [names for names in stacks if not LEGAL.issuperset(zip(names, names[1:]))]
    cut = [names for names in stacks if 0 < len(names) < room and names[-1] != b"_bootstrap"]
    print("%s: %d empty twice of %d, %d cut, %d illegal" % (label, empty, rounds, len(cut), len(illegal)))
    checks.equal(label + ", empty twice", True, empty <= 1)
    checks.equal(label + ", without their root", [], cut)
    # At most one in 10,000 may be wrong: of these most likely none.
    checks.equal(label + ", illegal", [], illegal[1:])


def check_running_thread():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    collect_of_running("get_frames", PyTracebackFrameInfo, 40)
    collect_of_running("get_frames", PyTracebackFrameInfo, 4)
    # More frames than raw ones fit into the array.
    collect_of_running("get_frames", PyTracebackFrameInfo, 2, 60)
    collect_of_running("collect", python_api.PyUnstable_FrameInfo, 40)
    sys.setswitchinterval(interval)


# ---- What is no thread state ----------------------------------------------------------------------------------------


def refuse(label, tstate):
    for call in (_Py_GetTracebackFrames, api_without_gil.get_frames):
        checks.equal("%s, %s" % (label, hex(tstate or 0)), (-1, []), collect(tstate, 5, call=call))


def check_invalid():
    own = own_tstate()
    refuse("NULL", None)
    for number in (1, 2, 7, 8, 255, 4096, 2**47, 2**47 - 8, 2**48, 2**63, 2**64 - 1, 2**64 - 8, 0xCDCDCDCDCDCDCDCD):
        refuse("a number", number)
    for step in (1, 2, 4, 7, 8, 16, 64, -1, -8, 4096):
        refuse("beside the own thread state", own + step)
    source = random.Random(20)
    for _ in range(200):
        refuse("a random number", source.getrandbits(64))
        refuse("a random address", source.getrandbits(47) & ~7)
    array = Array(PyTracebackFrameInfo, 1)
    refuse("unreadable memory", array.base + array.whole)
    refuse("zeroes and patterns", array.base)
    array.close()
    refuse("unmapped memory", array.base)
    refuse("an object", id(array))
    refuse("a code object", id(check_invalid.__code__))
    refuse("the runtime", pyunw.describe_target(python_target).runtime)
    (thread,) = pyunw.threads(python_target)
    refuse("the interpreter", thread.interpreter)
    copy = ctypes.create_string_buffer(pyunw.bytes_at(own, 256), 4096)
    refuse("a copy of a thread state", ctypes.addressof(copy))


def check_ended_thread():
    """A thread state that was freed when its thread ended; no other was made since."""
    known = {}
    ready, gate = _thread.allocate_lock(), _thread.allocate_lock()
    ready.acquire(), gate.acquire()

    def run():
        known.update(tstate=own_tstate(), native_id=threading.get_native_id())
        ready.release(), gate.acquire()

    _thread.start_new_thread(run, ())
    ready.acquire()
    count, entries = collect(known["tstate"])
    checks.equal("before its end", (1, b"run"), (count, entries[0][2]))
    gate.release()
    # The kernel's thread ends after its thread state.
    while os.path.exists("/proc/self/task/%d" % known["native_id"]):
        os.sched_yield()
    refuse("a thread that ended", known["tstate"])


def check_made_and_deleted():
    """A thread state that never had a thread, and the same address after it was deleted."""
    python = ctypes.pythonapi
    python.PyThreadState_New.restype, python.PyThreadState_New.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    python.PyThreadState_Clear.argtypes = python.PyThreadState_Delete.argtypes = [ctypes.c_void_p]
    (own,) = pyunw.threads(python_target)
    tstate = python.PyThreadState_New(own.interpreter)
    checks.equal("a new thread state", (0, []), collect(tstate))
    python.PyThreadState_Clear(tstate)
    python.PyThreadState_Delete(tstate)
    refuse("a deleted thread state", tstate)


INNER = """
import os, sys
sys.path.insert(0, %r)
import python_api
from standing_threads import own_tstate
array = python_api.Array(python_api.PyTracebackFrameInfo, 5)
count = python_api._Py_GetTracebackFrames(own_tstate(), array.address, 5)
names = [name for _, _, name in array.entries(count)]
outer = python_api._Py_GetTracebackFrames(%d, array.address, 5)
outer_names = [name for _, _, name in array.entries(outer)]
with open(%r, "w") as file:
    file.write(repr((own_tstate(), count, names, outer, outer_names)))
"""


def check_interpreter():
    """In a sub-interpreter, and after its end."""
    module, number = make_interpreter()
    path = os.path.abspath("inside.txt")
    error = module.run_string(number, INNER % (python_api.HERE, own_tstate(), path))
    assert error is None, error
    with open(path) as file:
        tstate, count, names, outer, outer_names = eval(file.read())
    checks.equal("a sub-interpreter", (1, [b"<module>"]), (count, names))
    # This interpreter's thread state, of the same thread, waited beneath it.
    expected = [name for _, _, name in expected_frames(walk(sys._getframe()))]
    checks.equal("around a sub-interpreter", (len(expected), expected), (outer, outer_names))
    module.destroy(number)
    refuse("a sub-interpreter that ended", tstate)


def check_fork():
    child = os.fork()
    if child == 0:
        status = 1
        try:
            before = len(checks.wrong)
            check_own("after fork")
            refuse("after fork", own_tstate() + 8)
            status = len(checks.wrong) > before
        finally:
            os._exit(status)
    checks.equal("after fork", 0, os.waitpid(child, 0)[1])


python_target = pyunw.open_self()


def main():
    check_at_once()
    check_own("the own thread")
    check_constructs()
    check_cutting()
    check_lineless()
    check_room()
    check_deep()
    check_arguments()
    check_invalid()
    check_ended_thread()
    check_made_and_deleted()
    check_fork()
    check_interpreter()
    check_blocked_threads()
    check_running_thread()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
