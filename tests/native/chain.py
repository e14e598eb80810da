"""
The program that is looked at: subject.py of tests/dump with more kinds of threads, in whose stacks Python and C call
each other. $CHAIN is the library made of chain.c.
"""

import ctypes
import functools
import importlib.util
import mmap
import os
import sys

path = os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "dump", "subject.py")
spec = importlib.util.spec_from_file_location("kinds", path)  # by its own name it would run
subject = importlib.util.module_from_spec(spec)
spec.loader.exec_module(subject)

library = ctypes.CDLL(os.environ["CHAIN"])
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)
never, never_end = os.pipe()
for outer in (library.native_outer, library.native_inner):
    outer.argtypes = [CALLBACK, ctypes.c_long]


class Begun:
    def __init__(self):
        sorted([1], key=keyed)


def keyed(item):
    return functools.reduce(reduced, [item, 2])


def reduced(left, right):
    return list(generator())


def generator():
    yield from inner_generator()


def inner_generator():
    yield library.native_outer(CALLBACK(called_back), 1)


def called_back(value):
    """On one line: it stands there when it says that it is ready."""
    library.native_block(subject.ready, never); return value  # noqa: E702


def chain():
    Begun()


def foreign():
    """A thread of C, and a thread that waits with it."""
    library.native_thread_start(subject.ready, never)
    os.read(subject.ready_end, 1)
    subject.lock()


CODE = {"x86_64": bytes.fromhex("4883ec08" "ffd7" "4883c408" "c3")}.get(os.uname().machine)
# sub rsp, 8; call rdi; add rsp, 8; ret


def unknown():
    """Code that was made at run time calls back: nothing tells how to go on from it."""
    room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    room.write(CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    ctypes.CFUNCTYPE(ctypes.c_long, CALLBACK)(address)(CALLBACK(called_back))


for function in (chain, foreign, unknown):
    subject.kinds[function.__name__] = function

if __name__ == "__main__":
    subject.main()
    os._exit(0)
