# interpreters: each
"""
A thread without any damage that calls and returns without pause, captured by another: never is it called corrupt, and
what is given of it ends with the root of its stack. One recurses, so that frames are taken from where others were given
back (3.8 to 3.10: a list of free frame objects, linked by the word that names a frame's caller); another makes and
destroys code objects, generators and coroutines.
"""

import ctypes
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "promise"))

import pyunw
from compile import compile_shared
from programs import BusyThread

ROUNDS = 10000
# Where the processors are busy with something else, the thread rests between most captures: more are taken then.
CHANGES = 2000
MOST_ROUNDS = 50000
DEEPEST = 12
ROOM, ENDS = 256, 5


class Shape(ctypes.Structure):
    """struct stack_shape of running.c"""

    _fields_ = [
        ("recursive", pyunw.pyunw_addr),
        ("deepest", ctypes.c_uint64),
        ("fixed_count", ctypes.c_uint64),
        ("fixed", pyunw.pyunw_addr * ROOM),
    ]


class Captures(ctypes.Structure):
    """struct captures of running.c"""

    _fields_ = [
        ("taken", ctypes.c_uint64),
        ("changes", ctypes.c_uint64),
        ("ended", ctypes.c_uint64 * ENDS),
        ("errors", ctypes.c_uint64),
        ("wrong", ctypes.c_uint64),
        ("corrupt", pyunw.pyunw_status),
        ("wrong_count", ctypes.c_int32),
        ("wrong_status", pyunw.pyunw_status),
    ]


def recurse(depth):
    return depth and recurse(depth - 1)


class Recursing:
    """A thread that recurses to depths from 0 to DEEPEST - 1 and back, until the end of the with block."""

    def __init__(self):
        self.ready, self.stopped = threading.Event(), False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        self.ready.set()
        while not self.stopped:
            for depth in range(DEEPEST):
                recurse(depth)

    def __enter__(self):
        self.thread.start()
        self.ready.wait()
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()

    def shape(self):
        """What its stack can be, from the interpreter itself."""
        shape, fixed = Shape(recursive=id(recurse.__code__), deepest=DEEPEST), []
        while self.run.__code__ not in fixed:  # it may still be inside Event.set()
            frame, fixed = sys._current_frames()[self.thread.ident], []
            while frame is not None:
                if fixed or frame.f_code is self.run.__code__:
                    fixed.append(frame.f_code)
                frame = frame.f_back
        shape.fixed_count = len(fixed)
        shape.fixed[: len(fixed)] = [id(code) for code in fixed]
        return shape


def words_of(status):
    name = pyunw.lib.pyunw_end_name(status.end).decode()
    return "%s at depth %d, address %#x, %d unconfirmed" % (name, status.depth, status.address, status.unconfirmed)


def load_helper():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "running.c")
    helper = ctypes.CDLL(compile_shared("running", source, pyunwind=True))
    helper.capture_often.argtypes = [
        ctypes.POINTER(pyunw.pyunw_target), pyunw.pyunw_addr, ctypes.POINTER(Shape), ctypes.c_uint64, ctypes.c_uint64,
        ctypes.c_uint64, ctypes.POINTER(Captures),
    ]
    return helper


def keep_apart(thread):
    """Let the calling thread and another run at the same time, where there are two processors."""
    processors = sorted(os.sched_getaffinity(os.getpid()))
    os.sched_setaffinity(threading.get_native_id(), processors[:1])
    os.sched_setaffinity(thread.native_id, processors[-1:])
    return processors


def capture_often(helper, label, target, thread, shape):
    """What is wrong is printed: (words for the summary, whether anything is wrong)."""
    (tstate,) = [known.tstate for known in pyunw.threads(target) if known.thread_id == thread.ident]
    captures, processors = Captures(), keep_apart(thread)
    helper.capture_often(target, tstate, shape, ROUNDS, CHANGES, MOST_ROUNDS, captures)
    os.sched_setaffinity(threading.get_native_id(), processors)
    if captures.ended[pyunw.PYUNW_CORRUPT]:
        print("%s: called corrupt, the last %s" % (label, words_of(captures.corrupt)))
    if captures.wrong:
        print("%s: a stack that cannot be, the last of %d frames, %s"
              % (label, captures.wrong_count, words_of(captures.wrong_status)))
    if captures.errors:
        print("%s: an error instead of an answer" % label)
    words = "%s: %d captures, %d torn, %d corrupt, %d impossible" % (
        label, captures.taken, captures.ended[pyunw.PYUNW_TORN], captures.ended[pyunw.PYUNW_CORRUPT], captures.wrong)
    return words, bool(captures.ended[pyunw.PYUNW_CORRUPT] or captures.wrong or captures.errors)


def main():
    helper, results = load_helper(), []
    pyunw.check(pyunw.lib.pyunw_trap_install())
    targets = {
        "guarded": pyunw.open_self(memory=pyunw.PYUNW_MEMORY_GUARDED),
        "trapped": pyunw.open_self(memory=pyunw.PYUNW_MEMORY_TRAPPED),
    }
    with Recursing() as recursing:
        shape = recursing.shape()
        for label, target in targets.items():
            results.append(capture_often(helper, "recursion, " + label, target, recursing.thread, shape))
    with BusyThread() as busy:
        for label, target in targets.items():
            results.append(capture_often(helper, "calls of all kinds, " + label, target, busy.thread, None))
    print("; ".join(words for words, _ in results))
    return 1 if any(wrong for _, wrong in results) else 0


if __name__ == "__main__":
    sys.exit(main())
