"""
A thread asks a foreign library to weigh a bag that is not there; the call has released the GIL.

Usage: crash_without_gil.py NATIVE. NATIVE is the library made of native.c.

The comments `# THREAD N` mark what is on the threads' stacks, 0 being the innermost frame of this file.
"""

import ctypes
import os
import sys
import threading

NATIVE = ctypes.CDLL(sys.argv[1])


def weigh(bag):
    return NATIVE.weigh(bag)  # scale 0


def weigh_all(bags, begin):
    NATIVE.name_thread(b"scale")
    os.read(begin, 1)
    total = 0
    for bag in bags:
        total += weigh(bag)  # scale 1
    return total


def main():
    begin, ready = os.pipe()
    release, never_closed = os.pipe()
    threading.Thread(target=weigh_all, args=([None], begin), name="scale").start()
    NATIVE.stand_still(ready, release)  # main 0
    os.close(never_closed)


main()  # main 1
