# interpreters: each
"""
The kernel's id of each thread, beside a thread state whose thread has ended: the id of that one is not to be had (null),
and those of the others are what the program itself says. Up to 3.10 no thread state holds it.
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import dumping

PROGRAM = """
import ctypes, json, sys, threading

def wait(started):
    started.set()
    release.wait()

release, threads = threading.Event(), []
for _ in range(3):
    started = threading.Event()
    threads.append(threading.Thread(target=wait, args=[started]))
    threads[-1].start()
    started.wait()
# A thread of the C library makes itself a thread state, and ends without giving it back.
api, libc, handle = ctypes.PyDLL(None), ctypes.CDLL(None), ctypes.c_void_p()
libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
libc.pthread_join.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
interpreters = api.PyInterpreterState_Head
interpreters.restype = ctypes.c_void_p
make = ctypes.cast(api.PyThreadState_New, ctypes.c_void_p)
assert libc.pthread_create(ctypes.byref(handle), None, make, interpreters()) == 0
assert libc.pthread_join(handle, None) == 0
print(json.dumps({thread.ident: thread.native_id for thread in threading.enumerate()}), flush=True)
sys.stdin.readline()
release.set()
"""


def main():
    with dumping.Program([sys.executable, "-c", PROGRAM]) as program:
        told = {int(ident): native for ident, native in json.loads(program.line).items()}
        process = dumping.dump_one("a state without its thread", program.pid)
        found = {thread["thread_id"]: thread["native_id"] for thread in process["threads"]} if process else {}
        for ident, native in told.items():
            dumping.check(found.get(ident) == native, "thread", ident, "has the id", native, "not", found.get(ident))
        others = [native for ident, native in found.items() if ident not in told]
        dumping.check(all(native not in told.values() for native in others), "the ended thread has", others)
    return dumping.finish("%d ids of threads are what they are beside one that has ended" % len(told))


if __name__ == "__main__":
    sys.exit(main())
