"""
For the tests of --pause: the functions of pyunwind_remote.h that stop a process, and what the kernel and the process
itself say of whether it stands. Run as a program it pauses the process whose number it is given, says so in a line, and
lets it go at the next line that it reads.
"""

import ctypes
import mmap
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

REMOTE = ctypes.CDLL(os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind-remote.so"))
OPTIONS = ctypes.POINTER(pyunw.pyunw_options)
REMOTE.pyunw_pause_process.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), OPTIONS]
REMOTE.pyunw_resume_process.argtypes = [ctypes.c_void_p]
REMOTE.pyunw_open_paused.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.c_void_p, OPTIONS]

LONG = 600000  # milliseconds: a limit that no test reaches


def with_message():
    """(options, their message)"""
    message = ctypes.create_string_buffer(1024)
    options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options), message=ctypes.addressof(message),
                                  message_size=ctypes.sizeof(message))
    return options, message


def try_pause(pid, limit=LONG):
    """(code, handle, message) of pyunw_pause_process()"""
    options, message = with_message()
    handle = ctypes.c_void_p()
    code = REMOTE.pyunw_pause_process(pid, limit, handle, options)
    return code, handle, message.value.decode()


def pause(pid, limit=LONG):
    code, handle, message = try_pause(pid, limit)
    if code < 0:
        raise pyunw.Error(code, message)
    return handle


def resume(handle):
    return REMOTE.pyunw_resume_process(handle)


def open_paused(handle):
    """(code, target, message) of pyunw_open_paused()"""
    options, message = with_message()
    target = pyunw.pyunw_target()
    return REMOTE.pyunw_open_paused(target, handle, options), target, message.value.decode()


# ---- What the kernel says -------------------------------------------------------------------------------------------


def states(pid):
    """The state of each task: "t" is held, "T" stopped by a signal."""
    found = set()
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/stat" % (pid, task), encoding="utf-8", errors="replace") as file:
                found.add(file.read().rpartition(") ")[2][0])
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            pass
    return found


def wait_for(condition):
    """However long it takes: the test has a limit of its own."""
    while not condition():
        os.sched_yield()


# ---- What the process says ------------------------------------------------------------------------------------------


class Counter:
    """A file of 8 bytes in which a process counts its rounds."""

    SOURCE = '''
import mmap, os, sys
room = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8)
'''

    def __init__(self):
        self.path = os.path.abspath("counter")
        with open(self.path, "wb") as file:
            file.write(bytes(8))
        with open(self.path, "r+b") as file:
            self.room = mmap.mmap(file.fileno(), 8)

    def value(self):
        return int.from_bytes(self.room[0:8], "little")

    def wait_until_it_goes_on(self):
        # Twice: the first may have been on its way already.
        for _ in range(2):
            before = self.value()
            wait_for(lambda: self.value() != before)


def main():
    handle = pause(int(sys.argv[1]))
    print("paused", flush=True)
    sys.stdin.readline()
    print("resumed: %d" % resume(handle), flush=True)


if __name__ == "__main__":
    main()
