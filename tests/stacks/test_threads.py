# interpreters: each
"""
The thread list against threading.enumerate(), get_ident() and get_native_id(), with 1, 6 and 201 threads: ids, order
and flags, with the GIL held and released; pyunw_current_thread() against PyThreadState_Get(); pyunw_thread_find()
with addresses that are thread states and such that are not; a thread that Python does not know; one that waits for
the GIL; the main thread's stack as another thread sees it.
"""

import ctypes
import gc
import mmap
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from observer import Observer, helper, helper_holding_gil, open_targets

COUNTS = (0, 5, 200)  # threads beside the main one
GIL_CAN_BE_HELD = getattr(sys, "_is_gil_enabled", lambda: True)()

# The calling thread's PyThreadState; ctypes.pythonapi holds the GIL.
thread_state_of_interpreter = ctypes.pythonapi.PyThreadState_Get
thread_state_of_interpreter.restype = ctypes.c_void_p


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(map(str, words)))


class BlockedThreads:
    """Threads that stay inside a C function without the GIL, until the end of the with block."""

    def __init__(self, count):
        self.count = count
        self.states = {}  # thread id: PyThreadState

    def run(self):
        self.states[threading.get_ident()] = thread_state_of_interpreter()
        helper.meet(self.ready[1], self.go[0])

    def __enter__(self):
        self.ready, self.go = os.pipe(), os.pipe()
        self.threads = [threading.Thread(target=self.run) for _ in range(self.count)]
        for thread in self.threads:
            thread.start()
            assert os.read(self.ready[0], 1) == b"b"  # so that they are made one after the other
        return self

    def __exit__(self, *_):
        os.write(self.go[1], b"g" * self.count)
        for thread in self.threads:
            thread.join()
        for end in self.ready + self.go:
            os.close(end)


# ---- The list -------------------------------------------------------------------------------------------------------


def expected_flags(thread_id, caller, holds_gil):
    flags = pyunw.PYUNW_THREAD_HAS_FRAMES
    if thread_id == threading.main_thread().ident:
        flags |= pyunw.PYUNW_THREAD_MAIN
    if thread_id == caller:
        flags |= pyunw.PYUNW_THREAD_CURRENT
        if holds_gil:
            flags |= pyunw.PYUNW_THREAD_ATTACHED
            flags |= pyunw.PYUNW_THREAD_HOLDS_GIL if GIL_CAN_BE_HELD else 0
    return flags


def compare_list(target, holds_gil, states):
    """states: {thread id: PyThreadState}. Only the calling thread runs."""
    listed = pyunw.threads(target, pyunw.lib_holding_gil if holds_gil else pyunw.lib)
    known = {thread.ident: thread for thread in threading.enumerate()}
    check(len(listed) == len(known), len(listed), "threads, expected", len(known))
    check({thread.thread_id for thread in listed} == set(known), "other threads than threading.enumerate()")
    ids = [thread.id for thread in listed]
    check(ids == sorted(ids, reverse=True) and len(set(ids)) == len(ids), "not the newest first:", ids)
    created = [thread.ident for thread in threading.enumerate()]
    check([thread.thread_id for thread in reversed(listed)] == created, "not in the order of creation")
    for thread in listed:
        compare_thread(thread, known[thread.thread_id], states, holds_gil)
    return len(listed)


def compare_thread(thread, known, states, holds_gil):
    check(thread.native_id == known.native_id, "native id", thread.native_id, "expected", known.native_id)
    check(thread.tstate == states[known.ident], "thread state 0x%x" % thread.tstate, "of", known.name)
    check(thread.interpreter_id == 0 and thread.interpreter != 0, "interpreter", thread.interpreter_id)
    check(thread.reserved == 0, "reserved is", thread.reserved)
    flags = expected_flags(known.ident, threading.get_ident(), holds_gil)
    check(thread.flags == flags, known.name, "flags", thread.flags, "expected", flags, "GIL held:", holds_gil)


def compare_current(target, states):
    own = thread_state_of_interpreter()
    check(states[threading.get_ident()] == own)
    for library in (pyunw.lib, pyunw.lib_holding_gil):
        got = pyunw.current_thread(target, library)
        check(got == own, "current thread state 0x%x, expected 0x%x" % (got, own))


def compare_find(target, states):
    """Every thread state is found; nothing else is, and it is not followed."""
    for thread_id, state in states.items():
        thread = pyunw.pyunw_thread()
        check(pyunw.lib.pyunw_thread_find(target, state, thread) == pyunw.PYUNW_OK, "a thread state is not found")
        check((thread.tstate, thread.thread_id) == (state, thread_id), "another thread state is found")
        check(pyunw.lib.pyunw_thread_find(target, state, None) == pyunw.PYUNW_OK, "not found without asking for it")
    unmapped = mmap.mmap(-1, mmap.PAGESIZE)
    view = ctypes.c_char.from_buffer(unmapped)
    address = ctypes.addressof(view)
    del view
    unmapped.close()
    state = thread_state_of_interpreter()
    randomness = random.Random(8)
    others = [0, 1, 8, state + 1, state + 8, state - 8, address, id(unmapped), (1 << 64) - 8, 1 << 63]
    others += [randomness.randrange(1 << 64) for _ in range(20)]
    thread = pyunw.pyunw_thread(tstate=4711)
    for other in others:
        result = pyunw.lib.pyunw_thread_find(target, other, thread)
        check(result == pyunw.PYUNW_ERR_NO_THREAD, "0x%x:" % other, pyunw.lib.pyunw_strerror(result))
        check(thread.tstate == 4711, "written although it is none")


def compare_everything(targets, states):
    compared = 0
    for target in targets.values():
        compare_current(target, states)
        compare_find(target, states)
        for holds_gil in (False, True):
            compared += compare_list(target, holds_gil, states)
    return compared


def run_beside_blocked_main(function, *arguments):
    """Its result, computed in a thread of its own while the main thread is inside a C function."""
    ready, go = os.pipe(), os.pipe()
    results = []

    def run():
        try:
            assert os.read(ready[0], 1) == b"b"
            results.append((function(*arguments), None))
        except BaseException as error:  # raised below
            results.append((None, error))
        finally:
            os.write(go[1], b"g")

    thread = threading.Thread(target=run)
    thread.start()
    helper.meet(ready[1], go[0])
    thread.join()
    for end in ready + go:
        os.close(end)
    ((result, error),) = results
    if error is not None:
        raise error
    return result


# ---- A thread that waits for the GIL --------------------------------------------------------------------------------


def flags_of(target, thread_id):
    (flags,) = [thread.flags for thread in pyunw.threads(target, pyunw.lib_holding_gil) if thread.thread_id == thread_id]
    return flags


def compare_waiting(target):
    """A thread that has come back from C, while this one keeps the GIL; only 3.15 tells."""
    interval = sys.getswitchinterval()
    with BlockedThreads(1) as blocked:
        ((other, _),) = blocked.states.items()
        check(flags_of(target, other) & pyunw.PYUNW_THREAD_WAITS_FOR_GIL == 0, "a thread in C waits for the GIL")
        sys.setswitchinterval(1000)
        try:
            write_holding_gil = ctypes.PyDLL(None).write
            assert write_holding_gil(blocked.go[1], b"g", 1) == 1
            while flags_of(target, other) & pyunw.PYUNW_THREAD_WAITS_FOR_GIL == 0:
                pass
            own = flags_of(target, threading.get_ident())
            check(own & pyunw.PYUNW_THREAD_WAITS_FOR_GIL == 0, "who holds the GIL waits for it")
        finally:
            sys.setswitchinterval(interval)
        blocked.threads[0].join()


# ---- A thread that Python does not know -----------------------------------------------------------------------------


def compare_unknown_thread(target):
    frames = (pyunw.pyunw_frame * 4)()
    for functions in (helper, helper_holding_gil):
        result = functions.current_thread_from_native_thread(target)
        check(result == pyunw.PYUNW_ERR_NO_THREAD, "current thread:", pyunw.lib.pyunw_strerror(result))
        result = functions.capture_from_native_thread(target, 0, frames, 4, None)
        check(result == pyunw.PYUNW_ERR_NO_THREAD, "capture:", pyunw.lib.pyunw_strerror(result))


def known_only_while_inside(target):
    """A thread of C that calls Python is known for as long as it does: ctypes makes it a thread state."""
    inside = []

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    def called(_):
        inside.append((pyunw.current_thread(target), thread_state_of_interpreter(), len(pyunw.threads(target))))
        return None

    thread = ctypes.c_ulong()
    libc = ctypes.CDLL(None)
    assert libc.pthread_create(ctypes.byref(thread), None, called, None) == 0
    assert libc.pthread_join(thread, None) == 0
    ((got, own, count),) = inside
    check(got == own, "inside: 0x%x, expected 0x%x" % (got, own))
    check(count == 2 and len(pyunw.threads(target)) == 1, "inside:", count, "threads")


# ---------------------------------------------------------------------------------------------------------------------


def from_a_thread(targets, states):
    """Another thread is the caller."""
    states[threading.get_ident()] = thread_state_of_interpreter()
    return compare_everything(targets, states)


def main():
    targets = open_targets()
    compared = 0
    for count in COUNTS:
        with BlockedThreads(count) as blocked:
            states = blocked.states
            states[threading.get_ident()] = thread_state_of_interpreter()
            compared += compare_everything(targets, states)
            if count <= 5:
                compared += run_beside_blocked_main(from_a_thread, targets, dict(states))
        gc.collect()
    for target in targets.values():
        compare_unknown_thread(target)
        known_only_while_inside(target)
        if sys.version_info >= (3, 15) and GIL_CAN_BE_HELD:
            compare_waiting(target)
    observer = Observer(targets, 64)
    run_beside_blocked_main(observer.compare_other, threading.main_thread().ident)
    print(
        "%d threads listed, with up to %d at a time; %d captures of the main thread from another, %d differences"
        % (compared, 1 + max(COUNTS), observer.compared, observer.differences)
    )
    return 1 if observer.differences else 0


if __name__ == "__main__":
    sys.exit(main())
