# interpreters: each
"""
What tells where Python is was overwritten before the crash: the heap, the thread state, the chain of frames, code
objects, their strings. The process dies as it would have died, with a valid report of the fault; what is undamaged is
told as it is.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import Corpus, Crash, crashed_of, python_frames  # noqa: E402

# %s: what is overwritten, how many bytes of it, with which
PROGRAM = """\
from program import *
import threading
install()
WORD = ctypes.sizeof(ctypes.c_void_p)
HEAD = object.__basicsize__

def thread_state():
    function = ctypes.pythonapi.PyThreadState_Get
    function.restype = ctypes.c_void_p
    return function()

def interpreter_frame(frame):
    # The frame object: its head, f_back, the interpreter's frame; before 3.11 it is the frame itself.
    if sys.version_info < (3, 11):
        return id(frame) + HEAD + WORD
    return ctypes.c_void_p.from_address(id(frame) + HEAD + WORD).value

damage = held.damage_and_read_null
damage.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def outer():
    crash()

def crash():
    own, caller = sys._getframe(), sys._getframe(1)
    damage(%s, %s, %s)  # HERE

outer()
"""

# Name, address, bytes, is the innermost frame unharmed?
DAMAGES = [
    ("code of the caller", "id(caller.f_code) + HEAD", "120", True),
    ("file name of the caller", "id(caller.f_code.co_filename) + HEAD", "24", False),  # it is everyone's
    ("name of the caller", "id(caller.f_code.co_name) + HEAD", "24", True),
    ("frame of the caller", "interpreter_frame(caller)", "72", True),
    ("own code", "id(own.f_code) + HEAD", "120", False),
    ("own file name", "id(own.f_code.co_filename) + HEAD", "24", False),
    ("own name", "id(own.f_code.co_name) + HEAD", "24", None),
    ("type of the own name", "id(own.f_code.co_name)", "HEAD", None),
    ("own frame", "interpreter_frame(own)", "72", False),
    ("thread state", "thread_state()", "256", False),
    ("thread state's first words", "thread_state()", "24", True),
    ("thread state's frames", "thread_state() + 48", "48", False),
]
BYTES = ("0x00", "0xff", "0x41")


def is_at_least_told(corpus, outcome, document):
    """Whatever cannot be told of Python, the fault and the C function are."""
    if document is not None:
        corpus.check(document["signal"]["address"] == "0x0", "the fault is told as", document["signal"])


def keeps_own_line(corpus, outcome, document):
    is_at_least_told(corpus, outcome, document)
    if document is None:
        return
    frames = python_frames(crashed_of(document)[0])
    corpus.check(frames and frames[0]["lineno"] == corpus.case.line(), "the line is not told:", frames[:2])


def cases():
    # Where there is no GIL a thread is found by the list of thread states alone.
    without_gil = not getattr(sys, "_is_gil_enabled", lambda: True)()
    for name, address, size, unharmed in DAMAGES:
        if without_gil and name.startswith("thread state"):
            unharmed = False
        for byte in BYTES:
            yield Crash("%s, %s" % (name, byte), PROGRAM % (address, size, byte), function="damage_and_read_null",
                        status=None, python=True if unharmed else None,
                        check=keeps_own_line if unharmed is None else is_at_least_told)


def main():
    corpus = Corpus()
    for case in cases():
        corpus.test(case)
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
