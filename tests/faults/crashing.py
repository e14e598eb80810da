"""
The program of test_crash.py: it installs the crash tracker, starts a thread that waits, and dies of a null pointer. From
just before that its system calls may fail. Without CRASHING_REPORTS it does the same without the tracker.
"""

import ctypes
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

BEGIN = ctypes.CDLL(os.environ["CRASHING_BEGIN"])
FOLDER = os.environ.get("CRASHING_REPORTS")
ready = threading.Event()
never = threading.Lock()
never.acquire()


def wait():
    ready.set()
    never.acquire()


def crash():
    ctypes.string_at(0)


threading.Thread(target=wait, daemon=True).start()
ready.wait()
if FOLDER is not None:
    import crash as tracker

    tracker.install(report_dir=FOLDER, helper=os.path.join(os.environ["PYUNWIND_BUILD"], "pyunwind"), time_limit=10000)
BEGIN.fail_begin()
crash()
