"""
What test_loading.py runs under a python with libraries preloaded, or with nothing: the first argument is the library
that has _Py_GetTracebackFrames, "" for whatever the process has. Nothing of pyunwind is called before it.
"""

import ctypes
import sys


class Frame(ctypes.Structure):
    _fields_ = [("filename", ctypes.c_char * 256), ("lineno", ctypes.c_int), ("name", ctypes.c_char * 256)]


def inner(collect, tstate, frames):
    return collect(ctypes.c_void_p(tstate), frames, len(frames))


def main():
    process = ctypes.PyDLL(sys.argv[1] or None)
    ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p
    frames = (Frame * 8)()
    count = inner(process["_Py_GetTracebackFrames"], ctypes.pythonapi.PyThreadState_Get(), frames)
    print(count, *["%s:%d" % (frame.name.decode(), frame.lineno) for frame in frames[:count]])
    if len(sys.argv) > 2:
        print(*[process.early_answer(number) for number in range(3)])


if __name__ == "__main__":
    main()
