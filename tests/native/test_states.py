# interpreters: each
"""
What native frames tell of a thread's state: one that waits for the GIL, which another keeps while it reads; as 3.15
tells, or where the function that waits has a symbol, as nm says, else nothing is told. And a library that was deleted after it was loaded:
its functions are known all the same, to a reader without the right to /proc/PID/map_files from memory alone.
"""

import ctypes
import os
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "dump"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from compile import compile_shared
from dumping import Program, Subject, check, dump_one, finish, run_dump, wait_until_reading

HERE = os.path.dirname(os.path.abspath(__file__))
CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE = 21, 40
PR_CAPBSET_DROP = 24
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

KEEPING = """
import ctypes, os, sys, threading
keep = ctypes.PyDLL(sys.argv[1]).native_block
def wait():
    while True: os.sched_yield()
threading.Thread(target=wait, daemon=True).start()
os.write(1, b"\\n"); keep(-1, 0)
"""


def interpreter_file():
    with open("/proc/self/maps", encoding="utf-8") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if "/libpython" in line}
    return next(iter(paths)) if paths else os.path.realpath("/proc/self/exe")


def has_symbol(name):
    done = subprocess.run(["nm", interpreter_file()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    words = done.stdout.decode().split()
    return any(word.split(".")[0] == name for word in words)


def waiter_of(process):
    return next(thread for thread in process["threads"] if thread["native_id"] != process["pid"])


def check_gil(library):
    with Program([sys.executable, "-c", KEEPING, library]) as program:
        wait_until_reading(program.pid)
        waiter = waiter_of(dump_one("GIL", program.pid, "--native"))
        published = GIL and sys.version_info >= (3, 15)
        told = published or (GIL and has_symbol("take_gil"))
        while told and waiter["state"] != "waiting_for_gil":  # it may be on its way there
            waiter = waiter_of(dump_one("GIL", program.pid, "--native"))
        check(told or waiter["state"] in ("idle", "running"), "GIL: the state is", waiter["state"])
        check(waiter["holds_gil"] is False and waiter["native_frames"] is None, "GIL:", waiter)
        text = run_dump("--native", program.pid)[1]
        check(("waiting for the GIL" in text) == told, text)
        check(not GIL or text.count("holds the GIL") == 1, text)
        without = waiter_of(dump_one("GIL", program.pid))
        check(without["state"] in (["waiting_for_gil"] if published else ["idle", "running"]),
              "GIL: without native frames", without["state"])
    return told


def without_map_files():
    """For a child before its exec: root as others are, for whom /proc/PID/map_files is closed."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def check_deleted(library):
    copy = os.path.abspath("deleted.so")
    shutil.copy(library, copy)
    command = [sys.executable, os.path.join(HERE, "chain.py")]
    with Subject("chain", command=command, environment={"CHAIN": copy, "PYUNWIND_SOURCE": SOURCE}) as subject:
        os.unlink(copy)
        for preparation in (None, without_map_files):
            what = "deleted, %s" % (preparation and preparation.__name__)
            process = dump_one(what, subject.pid, "--native", preexec_fn=preparation)
            frames = [frame for thread in process["threads"] for frame in thread["frames"]]
            for name in ("native_block", "native_inner", "native_outer"):
                found = [frame for frame in frames if frame.get("function") == name]
                check(len(found) == 1 and found[0]["module"] == copy, what, name, found)
            check(all(thread["native_frames"] is None and thread["native_status"] == "complete"
                      for thread in process["threads"]), what, "is not merged")


def main():
    library = compile_shared("chain", os.path.join(HERE, "chain.c"))
    told = check_gil(library)
    check_deleted(library)
    return finish("%s; the functions of a deleted library are named" % (
        "a thread waits for the GIL" if told else "nothing is told of waiting for the GIL"))


if __name__ == "__main__":
    sys.exit(main())
