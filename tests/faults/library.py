"""
    library.py LIBRARY FUNCTION ARGUMENT...

The program of test_library.py: a Python with a thread that waits calls a function of library.c, by which pyunwind is
called, and prints how many descriptors there were before and afterwards, and what it said.
"""

import ctypes
import os
import sys
import threading

library = ctypes.PyDLL(sys.argv[1])
library.library_told.restype = ctypes.c_char_p
ready = threading.Event()
never = threading.Lock()
never.acquire()


def wait():
    ready.set()
    never.acquire()


def standing(name):
    """Until that thread sleeps, and makes no calls of its own."""
    while True:
        with open("/proc/self/task/%d/stat" % name) as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "S":
                return
        os.sched_yield()


def main():
    arguments = [int(word) if word.lstrip("-").isdigit() else os.fsencode(word) for word in sys.argv[3:]]
    before = library.count_descriptors()
    if sys.argv[2] == "library_write":
        written = os.open("written", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        arguments, before = [written], before + 1
    getattr(library, sys.argv[2])(*arguments)
    os.write(1, b"descriptors %d\n" % (library.count_descriptors() - before))
    os.write(1, library.library_told())
    if sys.argv[2] == "library_write":
        with open("written", "rb") as file:
            os.write(1, file.read())


thread = threading.Thread(target=wait, daemon=True)
thread.start()
ready.wait()
standing(thread.native_id)
main()
os._exit(0)
