"""Prints the stack that it is about to crash with, by Python's own traceback module, and crashes in C."""

import ctypes
import sys
import traceback


class Reader:
    def read(self, depth):
        if depth > 0:
            return self.read(depth - 1)
        for frame in reversed(traceback.extract_stack()):
            print(frame.filename, frame.name, sep="\t")
        sys.stdout.flush()
        return ctypes.pythonapi.strlen(None)


def générateur():
    yield Reader().read(3)


for _ in générateur():
    pass
