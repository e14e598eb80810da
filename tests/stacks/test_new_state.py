# interpreters: each
"""
A thread that has made the state of a new one, which has no frames, and its own pthread_t until it begins: the calling
thread is never told to be that one; not even where the list of threads cannot be followed to its own.
"""

import ctypes
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

MEMORIES = (pyunw.PYUNW_MEMORY_DEFAULT, pyunw.PYUNW_MEMORY_GUARDED)
python = ctypes.pythonapi
python.PyThreadState_New.restype = python.PyThreadState_Get.restype = ctypes.c_void_p
python.PyThreadState_New.argtypes = python.PyThreadState_Clear.argtypes = python.PyThreadState_Delete.argtypes = [
    ctypes.c_void_p]
interpreter = python.PyInterpreterState_Get if sys.version_info >= (3, 9) else python.PyInterpreterState_Main
interpreter.restype = ctypes.c_void_p
failures = []


def check(condition, *words):
    if not condition:
        failures.append(words)
        print("WRONG:", *words)


def current(target):
    """The state that the calling thread, without the GIL, is told to have; or an error."""
    found = ctypes.c_uint64()
    result = pyunw.lib.pyunw_current_thread(target, ctypes.byref(found))
    return found.value if result == 0 else result


def look(targets):
    own = python.PyThreadState_Get()
    new = python.PyThreadState_New(interpreter())
    link = ctypes.c_uint64.from_address(own + previous_of(own, new))
    for target in targets:
        check(current(target) == own, "found 0x%x" % current(target))
    link.value, before = 0x10, link.value
    try:
        told = [current(target) for target in targets]
    finally:
        link.value = before
    for one in told:
        check(one in (own, pyunw.PYUNW_ERR_TORN, pyunw.PYUNW_ERR_FAULT), "with a list that is being changed: %d" % one)
    python.PyThreadState_Clear(new)
    python.PyThreadState_Delete(new)


def previous_of(own, new):
    """The newest state is the head of the list: the word that names it is the link back of the one behind."""
    for offset in (0, 8):
        if ctypes.c_uint64.from_address(own + offset).value == new:
            return offset
    sys.exit("the new state is not in front of the own one")


def main():
    targets = [pyunw.open_self(memory=memory) for memory in MEMORIES]
    pyunw.check(pyunw.lib.pyunw_trap_install())
    thread = threading.Thread(target=look, args=(targets,))  # the newest, which is not in the runtime itself
    thread.start()
    thread.join()
    print("a new state is not the own one, with a list that is whole and one that is not; %d wrong" % len(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
