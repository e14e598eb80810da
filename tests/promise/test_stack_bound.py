# interpreters: each
"""
The stack bound, measured: each function that the headers call signal-safe is run on a stack of its own that was
filled with a pattern, and must leave all but its last 2 KiB (writers, and pyunw_describe_exception(): 4 KiB) as it was.
In every memory, with and without the GIL, on deep stacks with names of every kind: of the own thread, of one that rests,
of one that runs.
"""

import ctypes
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import calls
import pyunw
from compile import compile_shared
from programs import BlockedThread, BusyThread, depth_of_own_stack, descend

BOUND = 2048
WRITER_BOUND = 4096
WRITERS = re.compile("write|print|dump|describe_exception")
DEPTH = 24
BUSY_ROUNDS = 15

HELPER = compile_shared("stack_use", "stack_use.c", flags=calls.core_flags(), pyunwind=True)


class Measure:
    """Makes calls on a painted stack and keeps the most that each function used: {(function, memory): bytes}."""

    def __init__(self, dll, most):
        self.measure = dll["measure_stack_use"]
        self.measure.restype = ctypes.c_long
        self.most = most

    def of(self, memory):
        """call(name, *arguments) for calls.py, which notes what is used under the memory's name."""

        def call(name, *arguments):
            words, result = calls.words_of(arguments), ctypes.c_long()
            used = self.measure(ctypes.cast(pyunw.lib.dll[name], ctypes.c_void_p), words, ctypes.byref(result))
            assert used > 0, used
            self.most[name, memory] = max(used, self.most.get((name, memory), 0))
            return calls.result_of(name, result.value)

        return call


def check_measure(dll):
    """Calls of known need are measured as such, to a few words."""
    measure = Measure(dll, {}).measure
    for need in (16, 1000, 2048, 5000):
        words, result = calls.words_of([need]), ctypes.c_long()
        used = measure(ctypes.cast(dll["use_of_stack"], ctypes.c_void_p), words, ctypes.byref(result))
        assert need <= used <= need + 128, "a call that needs %d bytes was measured as %d" % (need, used)


def measure_at_rest(measure, targets, room):
    with BlockedThread(DEPTH) as blocked:
        blocked.find(pyunw.threads(targets.opened["direct"]))
        depth = len(blocked.frames())
        for label, target in targets:
            call = measure.of(label)
            calls.about_target(call, room, target, label != "image")
            calls.about_thread(call, room, target, blocked.tstate, depth)
            if label != "direct":
                calls.at_unmapped_address(call, room, target)
        for label, target in targets.own_process():
            # Above the lambda: about_own_thread, about_thread, good, and call.
            descend(DEPTH, lambda: calls.about_own_thread(measure.of(label), room, target, depth_of_own_stack() + 4))
        own = pyunw.current_thread(targets.opened["direct"])
        for tstate in (own, blocked.tstate):
            calls.with_cpython_names(measure.of("own"), room, tstate)
        calls.without_target(measure.of("image"), targets.image)


def measure_running(measure, targets, room):
    with BusyThread() as busy:
        busy.find(pyunw.threads(targets.opened["direct"]))
        for label, target in targets:
            for _ in range(BUSY_ROUNDS):
                calls.about_thread(measure.of(label), room, target, busy.tstate, 0)
                calls.about_target(measure.of(label), room, target, label != "image")
        for _ in range(BUSY_ROUNDS):
            calls.with_cpython_names(measure.of("own"), room, busy.tstate)


def main():
    most = {}
    holding, releasing = Measure(ctypes.PyDLL(HELPER), most), Measure(ctypes.CDLL(HELPER), most)
    pyunw.check(pyunw.lib.pyunw_trap_install())
    assert ctypes.CDLL(HELPER)["use_alternate_stack"]() == 0
    targets = calls.Targets(ctypes.cast(ctypes.CDLL(HELPER)["read_own_memory"], ctypes.c_void_p))
    room = calls.Room()
    check_measure(ctypes.CDLL(HELPER))
    measure_at_rest(holding, targets, room)
    measure_at_rest(releasing, targets, room)
    measure_running(releasing, targets, room)

    measured = {name for name, _ in most}
    assert measured == calls.SIGNAL_SAFE, "not measured, or not declared: %s" % sorted(measured ^ calls.SIGNAL_SAFE)
    worst = {"call": 0, "writer": 0}
    over = []
    for name in sorted(measured):
        by_memory = sorted((used, memory) for (other, memory), used in most.items() if other == name)
        used, _ = by_memory[-1]
        kind, bound = ("writer", WRITER_BOUND) if WRITERS.search(name) else ("call", BOUND)
        print("%-28s %s" % (name, ", ".join("%d %s" % pair for pair in reversed(by_memory))))
        worst[kind] = max(used, worst[kind])
        if used > bound:
            over.append("%s %d" % (name, used))
    print("%d signal-safe functions in %d memories: at most %d bytes of stack, writers %d%s"
          % (len(measured), len(targets.opened), worst["call"], worst["writer"],
             "; over the bound: " + ", ".join(over) if over else ""))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
