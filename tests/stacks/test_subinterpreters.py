# interpreters: each
"""
Sub-interpreters, sharing the GIL and (3.12+) with one of their own: the thread list shows their thread states beside
those of the main interpreter, and each has the stack that the code in it says it has -
  - when code of a sub-interpreter runs in the own thread and a signal handler captures, with the GIL held (os.kill)
    and without (signal.raise_signal): the own stack is the sub-interpreter's, the main interpreter's is beside it;
  - when it runs in another thread, which is blocked.
"""

import ast
import ctypes
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_shared
from observer import open_targets
from oracle import differences_of_frame, differences_of_status, expected_stack

try:
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters
except ImportError:
    print("skipped: this interpreter has no module of sub-interpreters")
    sys.exit(77)

MAX_THREADS, MAX_FRAMES = 16, 64


class Stack(ctypes.Structure):
    _fields_ = [
        ("thread", pyunw.pyunw_thread),
        ("status", pyunw.pyunw_status),
        ("count", ctypes.c_int),
        ("frames", pyunw.pyunw_frame * MAX_FRAMES),
    ]


class Evidence(ctypes.Structure):
    _fields_ = [
        ("captures", ctypes.c_int),
        ("threads", ctypes.c_int),
        ("current", pyunw.pyunw_addr),
        ("stacks", Stack * MAX_THREADS),
        ("own", Stack),
    ]


# Runs in the sub-interpreter. It tells its stack first, then raises the signal, both on one line.
INNER = '''
import os, signal, sys

def stack(frame):
    told = []
    while frame is not None:
        code = frame.f_code
        position = frame.f_lineno, -1, -1, -1
        if hasattr(code, "co_positions"):
            position = tuple(-1 if n is None else n for n in list(code.co_positions())[frame.f_lasti // 2])
        qualname = getattr(code, "co_qualname", code.co_name)
        told.append((id(code), frame.f_lasti, code.co_filename, code.co_name, qualname, frame.f_lineno, position))
        frame = frame.f_back
    return told

def tell(told):
    os.write(%(told)d, repr(told).encode() + b"\\n")

def reach():
    tell(stack(sys._getframe())); %(raise)s

def generate():
    yield reach()

class Body:
    def method(self):
        sorted([1], key=lambda item: list(generate()))

Body().method()
'''

RAISE = {
    "kill": "os.kill(os.getpid(), %d)",  # keeps the GIL
    "raise_signal": "signal.raise_signal(%d)",  # releases it
}


failures = 0


def check(condition, *words):
    global failures
    if not condition:
        failures += 1
        print(*words)


def kinds_of_interpreters():
    """(label, function that creates one); isolated ones have a GIL of their own from 3.12 on"""
    if sys.version_info >= (3, 13):
        yield "legacy", lambda: interpreters.create("legacy")
        yield "isolated", lambda: interpreters.create("isolated")
    elif sys.version_info >= (3, 9):
        yield "legacy", lambda: interpreters.create(isolated=False)
        yield "isolated", lambda: interpreters.create(isolated=True)
    else:
        yield "legacy", interpreters.create


def run_inner(interpreter, told, how, number):
    source = INNER % {"told": told, "raise": RAISE[how] % number}
    run = "exec(compile(%r, 'inner.py', 'exec'), {'__name__': 'inner'})" % source
    failed = interpreters.run_string(interpreter, run)
    assert failed is None, failed


# ---- Comparison -----------------------------------------------------------------------------------------------------


def compare_told(what, frames, count, status, told):
    """Frames of a sub-interpreter against what its own code said; the innermost has moved on in its line."""
    check(count == len(told), what, count, "frames, expected", len(told))
    for difference in differences_of_status(status, count):
        check(False, what, difference)
    for n, (frame, expected) in enumerate(zip(frames, told)):
        code, lasti, filename, name, qualname, lineno, position = expected
        got = frame.raw.code, frame.text("filename"), frame.text("name"), frame.text("qualname")
        check(got == (code, filename, name, qualname), what, n, got, "expected", expected)
        check(frame.position.lineno == lineno, what, name, "line", frame.position.lineno, "expected", lineno)
        if n > 0:
            check(frame.raw.offset == lasti, what, name, "offset", frame.raw.offset, "expected", lasti)
            got = tuple(getattr(frame.position, field) for field, _ in frame.position._fields_)
            check(got == position, what, name, "position", got, "expected", position)


def compare_expected(what, frames, count, status, expected, innermost_runs=False):
    """Frames of the main interpreter against its frame objects."""
    check(count == len(expected), what, count, "frames, expected", len(expected))
    for difference in differences_of_status(status, count):
        check(False, what, difference)
    for n, (frame, one) in enumerate(zip(frames, expected)):
        for difference in differences_of_frame(frame, one, innermost_runs and n == 0):
            check(False, what, n, one.code.co_name, difference)


# ---- In the own thread ----------------------------------------------------------------------------------------------


def compare_own_thread(label, evidence, interpreter, told_ends, how):
    ctypes.memset(ctypes.byref(evidence), 0, ctypes.sizeof(evidence))
    expected = expected_stack(sys._getframe())
    line = sys._getframe().f_lineno; run_inner(interpreter, told_ends[1], how, signal.SIGUSR1)  # noqa: E702
    told = ast.literal_eval(os.read(told_ends[0], 1 << 16).decode())
    expected[0] = expected[0]._replace(lineno=line)
    what = "%s, %s" % (label, how)
    check(evidence.captures == 1, what, evidence.captures, "captures")
    stacks = evidence.stacks[: max(evidence.threads, 0)]
    inner = [stack for stack in stacks if stack.thread.interpreter_id == int(interpreter)]
    outer = [stack for stack in stacks if stack.thread.interpreter_id == 0]
    check(len(inner) + len(outer) == evidence.threads, what, "interpreters of", evidence.threads, "threads")
    check(len(outer) == 1, what, len(outer), "threads of the main interpreter")
    running = [stack for stack in inner if stack.thread.flags & pyunw.PYUNW_THREAD_HAS_FRAMES]
    check(len(running) == 1, what, len(running), "threads of the sub-interpreter have frames")
    if len(running) != 1 or len(outer) != 1:
        return
    compare_threads_of_own(what, running[0].thread, outer[0].thread, stacks, evidence.current, how)
    compare_told(what, running[0].frames, running[0].count, running[0].status, told)
    compare_told(what + ", own", evidence.own.frames, evidence.own.count, evidence.own.status, told)
    # run_inner() has returned; its frame was the innermost of the main interpreter.
    check(outer[0].frames[0].text("name") == "run_inner", what, outer[0].frames[0].text("name"))
    check(outer[0].status.depth == outer[0].count, what, "main: depth", outer[0].status.depth)
    outer[0].status.depth -= 1
    frames = outer[0].frames[1:]
    compare_expected(what + ", main", frames, outer[0].count - 1, outer[0].status, expected, innermost_runs=True)


def compare_threads_of_own(what, inner, outer, stacks, current, how):
    """One thread, a thread state in each interpreter: the flags tell them apart."""
    main, has_frames = pyunw.PYUNW_THREAD_MAIN, pyunw.PYUNW_THREAD_HAS_FRAMES
    flags = main | has_frames | pyunw.PYUNW_THREAD_CURRENT
    if how == "kill":
        gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
        flags |= pyunw.PYUNW_THREAD_ATTACHED | (pyunw.PYUNW_THREAD_HOLDS_GIL if gil_enabled else 0)
    check(inner.flags == flags, what, "flags", inner.flags, "expected", flags)
    check(outer.flags == main | has_frames, what, "main: flags", outer.flags, "expected", main | has_frames)
    check(current == inner.tstate, what, "the current thread state is 0x%x, not 0x%x" % (current, inner.tstate))
    check(stacks[-1].thread.interpreter_id == 0, what, "the main interpreter is not the last")
    for stack in stacks:
        check(stack.thread.thread_id == threading.get_ident(), what, "another thread's id")
        if stack.thread.tstate not in (inner.tstate, outer.tstate):
            check(stack.thread.flags == main, what, "idle: flags", stack.thread.flags)
            check(stack.count == 0 and stack.status.end == pyunw.PYUNW_NO_FRAME, what, "idle:", stack.count)


# ---- In another thread ----------------------------------------------------------------------------------------------


def compare_other_thread(label, targets, create, told_ends, ready, go):
    """Up to 3.12 the interpreter's thread state belongs to the thread that made it: so that one runs it too."""
    made = []

    def make_and_run():
        made.append(create())
        run_inner(made[0], told_ends[1], "raise_signal", signal.SIGUSR2)
        interpreters.destroy(made[0])

    thread = threading.Thread(target=make_and_run)
    thread.start()
    assert os.read(ready, 1) == b"b"
    try:
        told = ast.literal_eval(os.read(told_ends[0], 1 << 16).decode())
        expected = expected_stack(sys._current_frames()[thread.ident])
        for memory, target in targets.items():
            what = "%s, another thread, %s" % (label, memory)
            compare_blocked(what, target, thread.ident, int(made[0]), told, expected)
    finally:
        os.write(go, b"g")
        thread.join()


def compare_blocked(what, target, thread_id, interpreter_id, told, expected):
    has_frames = pyunw.PYUNW_THREAD_HAS_FRAMES
    listed = [one for one in pyunw.threads(target) if one.thread_id == thread_id]
    inner = [one for one in listed if one.interpreter_id == interpreter_id and one.flags & has_frames]
    outer = [one for one in listed if one.interpreter_id == 0]
    check((len(inner), len(outer)) == (1, 1), what, len(inner), "and", len(outer), "thread states")
    for one in inner + outer:
        check(one.flags == has_frames, what, "flags", one.flags)
        frames, status = pyunw.capture(target, one.tstate)
        if one.interpreter_id == 0:
            compare_expected(what + ", main", frames, len(frames), status, expected)
        else:
            compare_told(what, frames, len(frames), status, told)


def check_gone(what, target):
    listed = pyunw.threads(target)
    check([one.interpreter_id for one in listed] == [0], what, "left:", [one.interpreter_id for one in listed])


# ---------------------------------------------------------------------------------------------------------------------


def main():
    targets = open_targets()
    helper = ctypes.CDLL(compile_shared("subinterpreters", "subinterpreters.c", pyunwind=True))
    told_ends, ready, go = os.pipe(), os.pipe(), os.pipe()
    evidence = Evidence()
    compared = 0
    for label, create in kinds_of_interpreters():
        for memory, target in targets.items():
            assert helper.install(ctypes.byref(target), ctypes.byref(evidence), ready[1], go[0]) == 0
            interpreter = create()
            for how in RAISE:
                what = "%s, %s" % (label, memory)
                compare_own_thread(what, evidence, interpreter, told_ends, how)
                compared += 1
            interpreters.destroy(interpreter)
            check_gone(label, target)
        compare_other_thread(label, targets, create, told_ends, ready[0], go[1])
        check_gone(label, targets["default"])
        compared += len(targets)
    print("%d wrong; %d looks at a thread inside a sub-interpreter" % (failures, compared))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
