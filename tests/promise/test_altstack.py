# interpreters: each
"""
Captures in a signal handler on an alternate stack of the kernel's own minimum (AT_MINSIGSTKSZ) plus 2 KiB, `direct`
and `guarded`, of the own thread and of another; and `trapped`, on that minimum twice plus 2 KiB, with a frame's link
damaged so that a load does fault. Below each stack lies nothing: that one too small is seen, is shown.
"""

import ctypes
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import calls
import pyunw
from compile import compile_shared
from programs import BlockedThread, descend, frames_from

HELPER = compile_shared("altstack", "altstack.c", flags=calls.core_flags(), pyunwind=True)
AT_MINSIGSTKSZ = 51
KERNEL_MINIMUM_OF_OLD = 2048  # where the kernel does not say: MINSIGSTKSZ
SPARE = 2048
ROOM = 96
DEPTH = 12
DAMAGED = 5  # frames from the innermost: so many and one are told before the damage


class Handled(ctypes.Structure):
    """struct handled of altstack.c"""

    _fields_ = [
        ("result", ctypes.c_long),
        ("status", pyunw.pyunw_status),
        ("frames", pyunw.pyunw_frame * ROOM),
        ("raw", pyunw.pyunw_raw_frame * ROOM),
    ]


def kernel_minimum():
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    return libc.getauxval(ctypes.c_ulong(AT_MINSIGSTKSZ)) or KERNEL_MINIMUM_OF_OLD


class Handler:
    def __init__(self):
        self.helper = ctypes.PyDLL(HELPER)
        self.helper.make_room.restype = ctypes.POINTER(Handled)
        self.helper.call_in_handler.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(pyunw.pyunw_target), pyunw.pyunw_addr,
            pyunw.pyunw_addr, ctypes.c_int,
        ]
        self.room = self.helper.make_room().contents
        self.loads_only = False  # guarded reads are made to fail in the handler's process
        self.own = []  # what the interpreter said of the own stack, of the line that the handler interrupted

    def run(self, function, arguments, size, damaged_target=None, damaged=0):
        """None, or the number of the signal that ended the process that the handler ran in."""
        values = function, calls.words_of(arguments), size, damaged_target, damaged, calls.UNMAPPED, self.loads_only
        self.own, status = frames_from(sys._getframe()), self.helper.call_in_handler(*values)
        assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 or os.WIFSIGNALED(status), status
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None

    def call(self, name, arguments, size, damaged_target=None, damaged=0):
        """The count of frames that a function of the library returned in the handler."""
        function = ctypes.cast(pyunw.lib.dll[name], ctypes.c_void_p)
        killed_by = self.run(function, arguments, size, damaged_target, damaged)
        assert killed_by is None, "%s was killed by signal %d on a stack of %d bytes" % (name, killed_by, size)
        return pyunw.check(ctypes.c_int(self.room.result).value, name)


def check_sizes(handler, size):
    """A handler that needs what there is returns; one that needs more dies."""
    use = ctypes.cast(handler.helper["use_of_stack"], ctypes.c_void_p)
    assert handler.run(use, [SPARE // 2], size) is None
    assert handler.run(use, [size + SPARE], size) == signal.SIGSEGV, "a stack that is too small was not seen"


def capture(handler, target, tstate, size, **damage):
    """[(code, line)] that pyunw_capture gave in the handler."""
    room = handler.room
    count = handler.call("pyunw_capture", [target, tstate, room.frames, ROOM, room.status], size, **damage)
    return [(frame.raw.code, frame.position.lineno) for frame in room.frames[:count]]


def walk(handler, target, tstate, size):
    """[code] that pyunw_walk gave in the handler."""
    room = handler.room
    count = handler.call("pyunw_walk", [target, tstate, room.raw, ROOM, room.status], size)
    return [raw.code for raw in room.raw[:count]]


def lines_of(frames):
    return [(code, line) for code, _, _, _, line in frames]


def codes_of(frames):
    return [code for code, _, _, _, _ in frames]


def walk_frames(target):
    frames, status = pyunw.walk(target)
    assert status.end == pyunw.PYUNW_COMPLETE
    return frames


def check_whole(handler, label, target, blocked, size):
    """The own stack and another thread's, whole."""
    for tstate in (0, blocked.tstate):
        for way, part in ((capture, lines_of), (walk, codes_of)):
            found = way(handler, target, tstate, size)
            expected = part(handler.own if tstate == 0 else blocked.frames())
            end = pyunw.lib.pyunw_end_name(handler.room.status.end).decode()
            assert found == expected and end == "complete", "%s, %s thread: %d frames of %d, %s" % (
                label, "other" if tstate else "own", len(found), len(expected), end)


def check_fault(handler, target, size):
    """The own stack up to the link that leads nowhere."""
    caller = walk_frames(target)[DAMAGED]  # well outward of what is called from here
    found = capture(handler, target, 0, size, damaged_target=target, damaged=caller.frame)
    told = codes_of(handler.own).index(caller.code) + 1
    assert 0 < told < len(handler.own)
    assert found == lines_of(handler.own)[:told], "%d frames told, %d stand before the damage" % (len(found), told)
    status = handler.room.status
    assert (status.end, status.depth, status.address) == (pyunw.PYUNW_CORRUPT, told, calls.UNMAPPED), (
        status.end, status.depth, hex(status.address))


def main():
    minimum = kernel_minimum()
    handler = Handler()
    pyunw.check(pyunw.lib.pyunw_trap_install())
    targets = {"direct": pyunw.open_self(pyunw.PYUNW_MEMORY_DIRECT)}
    for name in ("READV", "PROC_MEM", "PIPE"):
        guard = getattr(pyunw, "PYUNW_GUARD_" + name)
        targets["guarded " + name.lower()] = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, guard)
    trapped = pyunw.open_self(pyunw.PYUNW_MEMORY_TRAPPED)
    check_sizes(handler, minimum + SPARE)
    with BlockedThread(DEPTH) as blocked:
        blocked.find(pyunw.threads(trapped))
        for label, target in targets.items():
            descend(DEPTH, lambda: check_whole(handler, label, target, blocked, minimum + SPARE))
        handler.loads_only = True
        descend(DEPTH, lambda: check_whole(handler, "trapped", trapped, blocked, 2 * minimum + SPARE))
        descend(DEPTH, lambda: check_fault(handler, trapped, 2 * minimum + SPARE))
    print("AT_MINSIGSTKSZ is %d; captures were right on %d bytes in %s, and in trapped, with a load that faulted, on %d"
          % (minimum, minimum + SPARE, ", ".join(targets), 2 * minimum + SPARE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
