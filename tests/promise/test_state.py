# interpreters: each
"""
What a capture leaves as it was: errno, the signal mask, the handlers, the alternate stack, the descriptors, the rounding
of floating point, the mappings. Every signal-safe function is called in every memory, and all of these are compared
before and after. That a change is found out is shown with one of each, in a child.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import calls
import pyunw
from compile import compile_shared

DEPTH = 12
MAPS_EVERY = 13  # calls: reading the list of mappings takes long


class Watch:
    def __init__(self, helper):
        self.call_and_look = helper.call_and_look
        self.calls = {}

    def __call__(self, name, *arguments):
        words, result = calls.words_of(arguments), ctypes.c_long()
        function = ctypes.cast(pyunw.lib.dll[name], ctypes.c_void_p)
        count = self.calls[name] = self.calls.get(name, 0) + 1
        changed = self.call_and_look(function, words, ctypes.byref(result), count % MAPS_EVERY == 1)
        assert changed is None, "%s changed: %s" % (name, changed.decode())
        return calls.result_of(name, result.value)


def changes_are_told(helper):
    made = ctypes.c_int()
    pid = os.fork()
    if pid == 0:
        told = helper.changes_told(ctypes.byref(made))
        os._exit(0 if told == made.value > 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def main():
    helper = ctypes.PyDLL(compile_shared("state", "state.c", flags=["-lm"], pyunwind=True))
    helper.call_and_look.restype = ctypes.c_char_p
    assert changes_are_told(helper), "a change that was made is not told"
    pyunw.check(pyunw.lib.pyunw_trap_install())
    watch, room = Watch(helper), calls.Room()
    calls.everything(watch, calls.Targets(ctypes.cast(helper["read_own_memory"], ctypes.c_void_p)), room, DEPTH)
    assert set(watch.calls) == calls.SIGNAL_SAFE, (
        "not called, or not declared: %s" % sorted(set(watch.calls) ^ calls.SIGNAL_SAFE))
    print("%d calls of %d signal-safe functions changed nothing" % (sum(watch.calls.values()), len(watch.calls)))


if __name__ == "__main__":
    main()
