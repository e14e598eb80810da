"""Dies of a null read while an exception is in flight, at the place that its argument names; prints what it is."""

import ctypes
import json
import os
import sys
import threading

pyunwind = ctypes.PyDLL(os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind.so"))


class Failure(LookupError):
    pass


def crash():
    kind, error, _ = sys.exc_info()
    os.write(1, json.dumps(error and {"type": kind.__qualname__, "message": str(error)}).encode())
    ctypes.string_at(0)


def nowhere():
    crash()


def handled():
    try:
        raise ValueError("outer")
    except ValueError:
        try:
            raise Failure("größe\0", 2)
        except Failure:
            crash()


def elsewhere():
    """Another thread has one, and this has not."""
    stands = threading.Event()

    def stand():
        try:
            raise ValueError("of another")
        except ValueError:
            stands.set()
            threading.Event().wait()

    threading.Thread(target=stand, daemon=True).start()
    stands.wait()
    crash()


def in_thread():
    def run():
        try:
            os.stat("/no such file")
        finally:
            crash()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def raised():
    """Set by C code, which goes on to crash."""
    error = Failure("raised")
    os.write(1, json.dumps({"type": "Failure", "message": "raised"}).encode())
    ctypes.PyDLL(sys.argv[2]).raise_and_crash(ctypes.py_object(Failure), ctypes.py_object(error))


assert pyunwind.pyunw_crash_install(None) == 0
globals()[sys.argv[1]]()
