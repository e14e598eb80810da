# interpreters: each
"""Faults of all kinds in a Python program's only thread: the cause, the line, the C function that is at fault."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import HERE, Corpus, Crash, compile_shared, crashed_of, python_frames  # noqa: E402

PROGRAM = """\
from program import *
install()

def crash():
    %s  # HERE

crash()
"""


def simple(name, call, cause, signal_number=signal.SIGSEGV, function=None, **more):
    return Crash(name, PROGRAM % call, causes=(cause,), signal=signal_number, function=function, **more)


def has_message(words):
    def check(corpus, outcome, document):
        if document is not None:
            told = [document["diagnosis"]["sentence"], *document["diagnosis"]["evidence"]]
            corpus.check(any(words in text for text in told), "nothing says %r:" % words, told)
    return check


def is_python_fatal(corpus, outcome, document):
    if document is not None:
        corpus.check(document["fatal_error"] is not None, "it is not told to be a fatal error of Python")


RECURSION = """\
from program import *
install()
sys.setrecursionlimit(100000)

def recurse():
    held.call_with_large_variables(back)  # HERE

back = ctypes.PYFUNCTYPE(None)(recurse)
recurse()
"""

DEEP = """\
from program import *
install()
sys.setrecursionlimit(5000)

def descend(n):
    if n == 0:
        held.null_read()  # HERE
    descend(n - 1)

descend(2000)
"""


def is_deep(corpus, outcome, document):
    if document is None:
        return
    count = 0
    for thread in crashed_of(document):
        frames = [frame for frame in thread["frames"] if frame["kind"] != "native"]
        for n, frame in enumerate(frames):
            if frame["kind"] == "python":
                count += 1
            elif frame["kind"] == "repeated":
                rows = thread["frames"][:thread["frames"].index(frame)][-frame["frames"]:]
                count += frame["count"] * sum(row["kind"] == "python" for row in rows)
        corpus.check(python_frames(thread)[-1]["name"] == "<module>", "the outermost frame is not told")
    corpus.check(count == 2002, "2002 frames are told as", count)


def main():
    thrower = compile_shared("thrower", os.path.join(HERE, "thrower.cc"))
    corpus = Corpus()
    for case in [
        simple("null read, GIL held", "held.null_read()", "null_read", function="null_read"),
        simple("null read, GIL released", "released.null_read()", "null_read", function="null_read"),
        simple("null write, GIL held", "held.null_write()", "null_write", function="null_write"),
        simple("null write, GIL released", "released.null_write()", "null_write", function="null_write"),
        simple("null jump, GIL held", "held.null_jump()", "null_jump"),
        simple("null jump, GIL released", "released.null_jump()", "null_jump"),
        simple("wild read", "held.wild_read()", "wild_read", function="wild_read"),
        simple("wild write", "held.wild_write()", "wild_write", function="wild_write"),
        simple("wild jump, GIL held", "held.wild_jump()", "wild_jump"),
        simple("wild jump, GIL released", "released.wild_jump()", "wild_jump"),
        simple("division", "held.divide()", "division_by_zero", signal.SIGFPE, "divide"),
        simple("truncated mapping", "held.read_beyond_file(b'truncated')", "bus_error", signal.SIGBUS,
               "read_beyond_file"),
        simple("rubbish executed", "held.execute_rubbish()", "illegal_instruction", signal.SIGILL),
        simple("breakpoint", "held.reach_breakpoint()", "breakpoint", signal.SIGTRAP, "reach_breakpoint"),
        simple("forbidden system call", "held.call_forbidden(170)", "forbidden_system_call", signal.SIGSYS),
        simple("stack overflow", "held.overflow_stack(0)", "stack_overflow", function="overflow_stack",
               same_instruction=False),
        Crash("recursion of Python and C", RECURSION, causes=("stack_overflow",), same_instruction=False),
        simple("assertion", "held.fail_assertion()", "assertion", signal.SIGABRT,
               check=has_message("Assertion `zero == 1' failed")),
        simple("abort in malloc", "held.abort_in_malloc()", "heap_corruption", signal.SIGABRT,
               check=has_message("malloc")),
        simple("free twice", "released.free_twice()", "heap_corruption", signal.SIGABRT, check=has_message("double free")),
        simple("heap smashed before", "held.smash_heap_and_read_null()", "null_read",
               function="smash_heap_and_read_null"),
        simple("abort", "os.abort()", "abort", signal.SIGABRT),
        simple("signal sent to itself", "os.kill(os.getpid(), 11)", "sent_signal"),
        simple("fatal error of Python", "ctypes.pythonapi.Py_FatalError(b'all is lost')", "python_fatal_error",
               signal.SIGABRT, check=is_python_fatal),
        simple("C++ exception", "ctypes.CDLL(%r).throw_uncaught()" % thrower, "uncaught_exception", signal.SIGABRT),
        Crash("2,000 frames", DEEP, function="null_read", check=is_deep),
    ]:
        corpus.test(case)
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
