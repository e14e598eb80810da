# interpreters: each
"""
`pyunwind core` of core files by gcore and by the kernel against what the program said of itself: sys._current_frames()
of every thread, thread ids, command line; what a crash was, which thread had it; and the same cores compressed.
"""

import os
import subprocess
import sys

from cores import HAS_KERNEL_CORES, SMALL, allow_cores, check, compare_core, core_one, gdb_core, kernel_core
from cores import kernel_cores_note, missing, run_core, take_kernel_core
from dumping import SUBJECT, Subject, finish

KINDS = ["lock", "deep", "generator", "method", "names", "lock"]

CRASH = """
import ctypes, threading
def inner():
    ctypes.string_at(0)
def outer():
    inner()
threading.Thread(target=outer, name="crashing").start()
"""

COMPRESSORS = {"zstd": ["zstd", "-q", "-1", "-c"], "zstd, far back": ["zstd", "-q", "-1", "--long=31", "-c"],
               "lz4": ["lz4", "-q", "-1", "-c"], "gzip": ["gzip", "-1", "-c"]}


def compare_gdb():
    with Subject(*KINDS, environment=SMALL) as subject:
        core, whole = gdb_core(subject.pid, "gdb.core")
    process = core_one("gcore", core, status=0 if whole else 1, errors=missing(whole))
    frames = compare_core("gcore", process, subject.truth, whole)
    check(process["signal"] is None, "gcore", "signal", process["signal"])
    check(not any(thread["crashed"] for thread in process["threads"]), "gcore", "a thread crashed")
    check(process["command"] == [sys.executable, SUBJECT], "gcore", "command", process["command"])
    check(process["executable"] == os.path.realpath(sys.executable), "gcore", "executable", process["executable"])
    return frames, process, core, whole


def compare_kernel():
    with Subject(*KINDS, environment=SMALL) as subject:
        core = kernel_core(subject, "kernel.core", 6)
    process = core_one("kernel", core)
    frames = compare_core("kernel", process, subject.truth)
    signal = {"number": 6, "name": "SIGABRT", "code": 0, "code_name": "SI_USER", "address": None}
    check(process["signal"] == signal, "kernel", "signal", process["signal"])
    check(process["command"] == [sys.executable, SUBJECT], "kernel", "command", process["command"])
    check(process["ppid"] == os.getpid(), "kernel", "ppid", process["ppid"])
    main = [thread for thread in process["threads"] if thread["native_id"] == process["pid"]]
    check(len(main) == 1 and main[0]["name"] == subject_name(), "kernel", "name of the main thread", main[0]["name"])
    return frames, process, core


def subject_name():
    return os.path.basename(os.path.realpath(sys.executable))[:15]


def compare_crash():
    """A thread that reads address 0, while the main thread waits for it."""
    process = subprocess.Popen([sys.executable, "-c", CRASH], stdin=subprocess.DEVNULL)
    check(process.wait() == -11, "crash", "ended by", process.returncode)
    core = take_kernel_core(process, "crash.core")
    dumped = core_one("crash", core)
    signal = {"number": 11, "name": "SIGSEGV", "code": 1, "code_name": "SEGV_MAPERR", "address": "0x0"}
    check(dumped["signal"] == signal, "crash", "signal", dumped["signal"])
    check([thread["crashed"] for thread in dumped["threads"]] == [True, False], "crash", "not the first thread")
    first = dumped["threads"][0]
    names = [frame["name"] for frame in first["frames"]][:3]
    check(names == ["string_at", "inner", "outer"], "crash", "stack", names)
    check(first["native_id"] not in (None, dumped["pid"]), "crash", "thread", first["native_id"])
    check(dumped["command"] == [sys.executable, "-c", CRASH], "crash", "command", dumped["command"])
    status, output, errors = run_core(core)
    check(status == 0 and errors == "", "crash", "as a text", status, errors)
    lines = output.splitlines()
    check(lines[2] == "Ended by SIGSEGV (SEGV_MAPERR, nothing is mapped there) at 0x0, in thread %d" %
          first["native_id"], "crash", "says", lines[2])
    check(lines[4].startswith("Thread %d 0x" % first["native_id"]) and ": crashed" in lines[4], "crash", lines[4])
    return len(first["frames"])


def compare_compressed(core, process, status):
    for name, command in COMPRESSORS.items():
        packed = core + "." + name
        with open(core, "rb") as whole, open(packed, "wb") as file:
            subprocess.run(command, stdin=whole, stdout=file, check=True)  # which does not tell how far back it may look
        said = missing(status == 0)
        check(core_one(name, packed, status=status, errors=said) == process, name, "says something else than what it was made from")
        twice = core + ".twice." + name
        with open(packed, "rb") as file, open(twice, "wb") as out:
            data = file.read()
            out.write(data + data)  # one stream behind another is what `cat` makes, and what these tools unpack
        check(core_one(name + " twice", twice, status=status, errors=said) == process, name, "twice says something else")
        os.unlink(packed)
        os.unlink(twice)


def main():
    allow_cores()
    frames, process, core, whole = compare_gdb()
    if HAS_KERNEL_CORES:
        more, process, core = compare_kernel()
        frames, whole = frames + more + compare_crash(), True
    compare_compressed(core, process, 0 if whole else 1)
    return finish("%d frames of core files%s, unpacked from zstd, lz4 and gzip, too%s" %
                  (frames, " by gcore and the kernel" if HAS_KERNEL_CORES else " by gcore", kernel_cores_note()))


sys.exit(main())
