"""
A program that crashes, for test_crashes.py. Arguments: the way to crash, what of "pyunwind" and "faulthandler" is put
in place before that, in this order and with commas between, and "behind" or "alone" for a thread that waits beside.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw


def wait(started):
    started.set()
    threading.Event().wait()


def python_handler(number, frame):
    os.write(1, b"handled by Python: %d\n" % number)


def keep(number, frame):
    """A handler of Python's: it runs when the interpreter gets there, and the program goes on."""
    signal.signal(number, python_handler)
    os.kill(os.getpid(), number)
    os.write(1, b"still here\n")


def ignore(number):
    signal.signal(number, signal.SIG_IGN)
    os.kill(os.getpid(), number)
    os.write(1, b"still here\n")


WAYS = {
    "read": lambda: ctypes.string_at(0),
    "raise_segv": lambda: faulthandler._sigsegv(),
    "raise_segv_without_gil": lambda: faulthandler._sigsegv(True),
    "raise_bus": lambda: signal.raise_signal(signal.SIGBUS),
    "kill": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "overflow": lambda: faulthandler._stack_overflow(),
    "call_nothing": lambda: ctypes.PYFUNCTYPE(None)(16)(),
    "call_nothing_without_gil": lambda: ctypes.CFUNCTYPE(None)(16)(),
    "abort": os.abort,
    "keep_segv": lambda: keep(signal.SIGSEGV, None),
    "keep_bus": lambda: keep(signal.SIGBUS, None),
    "ignore_segv": lambda: ignore(signal.SIGSEGV),
}


def inner(way):
    WAYS[way]()


def outer(way):
    inner(way)


def main():
    way, order, beside = sys.argv[1:]
    if beside == "behind":
        started = threading.Event()
        threading.Thread(target=wait, args=(started,), daemon=True).start()
        started.wait()
    for what in order.split(","):
        if what == "pyunwind":
            pyunw.check(pyunw.lib.pyunw_trap_install())
        elif what == "faulthandler":
            faulthandler.enable()
    outer(way)


main()
