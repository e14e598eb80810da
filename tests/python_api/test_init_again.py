# interpreters: each
"""
pyunw_init() may be called again while other threads ask for their frames (pyunwind_python.h): a thread that holds the GIL
gets the same frames each time, while another one calls it without end.
"""

import ctypes
import os
import sys
import threading

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from compile import compile_shared  # noqa: E402

ROUNDS = 100000
PATH = compile_shared("init_again", os.path.join(SOURCE, "tests", "python_api", "init_again.c"), pyunwind=True)
WITH_GIL, WITHOUT = ctypes.PyDLL(PATH), ctypes.CDLL(PATH)
WITH_GIL.count_differences.argtypes = [ctypes.c_void_p, ctypes.c_int]
ctypes.pythonapi.PyThreadState_Get.restype = ctypes.c_void_p


def main():
    opened = []
    sys.setswitchinterval(1000)
    thread = threading.Thread(target=lambda: opened.append(WITHOUT.open_until_over()))
    thread.start()
    differences = WITH_GIL.count_differences(ctypes.pythonapi.PyThreadState_Get(), ROUNDS)
    thread.join()
    if differences != 0 or opened[0] <= 0:
        print("%d of %d answers differ; pyunw_init() %d" % (differences, ROUNDS, opened[0]))
        return 1
    print("%d answers are the same while the interpreter is opened again, %d times" % (ROUNDS, opened[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
