# interpreters: each
"""
`pyunwind core --native`: the merged stacks of a core file are what `pyunwind dump --native` told of the same program,
which stood, just before; those of a crash inside C are gdb's of the same core file, the thread that crashed first,
whether Python knows it or not. Without the file of a library the stacks through it are cut, and that is said; what is
stripped is named by a file of debug information.
"""

import ctypes
import os
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "dump", "native"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from against_gdb import compare_with_gdb, gdb_stacks, is_native
from compile import compile_shared
from cores import HAS_KERNEL_CORES, SMALL, allow_cores, check, core_one, gdb_core, kernel_cores_note, run_core
from cores import take_kernel_core
from dumping import Subject, dump_one, finish

CHAIN = os.path.join(SOURCE, "tests", "native", "chain.py")
TGKILL = {"x86_64": 234, "aarch64": 131}[os.uname().machine]

CRASH = """
import ctypes, sys, threading
library = ctypes.CDLL(sys.argv[1])
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)
for outer in (library.native_outer, library.native_inner):
    outer.argtypes = [CALLBACK, ctypes.c_long]
def called_back(value):
    ctypes.string_at(0)
def outer():
    library.native_outer(CALLBACK(called_back), 1)
threading.Thread(target=outer).start()
"""


def start(library):
    environment = dict(SMALL, CHAIN=library, PYUNWIND_SOURCE=SOURCE)
    return Subject("chain", "lock", "generator", "method", "foreign", command=[sys.executable, CHAIN],
                   environment=environment)


def by_id(process):
    return {thread["native_id"]: thread for thread in process["threads"]}


# ---- Against the process --------------------------------------------------------------------------------------------


def compare(what, process, before):
    """How many frames were compared."""
    got, wanted = by_id(process), by_id(before)
    check(set(got) == set(wanted), what, "threads", sorted(got), "expected", sorted(wanted))
    frames = 0
    for native_id in set(got) & set(wanted):
        for key in ("thread_id", "frames", "native_frames", "native_status", "status"):
            left, right = got[native_id][key], wanted[native_id][key]
            if left != right and key == "frames":
                left, right = next(((one, two) for one, two in zip(left, right) if one != two), (len(left), len(right)))
            check(left == right, what, native_id, key, "is", left, "and was", right)
        frames += len(got[native_id]["frames"])
    return frames


def signal_thread(pid, task, number):
    check(ctypes.CDLL(None).syscall(TGKILL, pid, task, number) == 0, "tgkill")


def compare_cores(library):
    """A core of gcore, and one of the kernel, ended by a signal to the thread that Python does not know."""
    with start(library) as subject:
        before = dump_one("before", subject.pid, "--native")
        foreign = next(thread["native_id"] for thread in before["threads"] if thread["thread_id"] is None)
        check(all(thread["native_status"] == "complete" for thread in before["threads"]), "before: a stack is cut")
        core, whole = gdb_core(subject.pid, "gdb.core")
        process = core_one("gcore", "--native", core, status=0 if whole else 1, errors="" if whole else "stacks are not")
        frames = compare("gcore", process, before) if whole else 0
        if not HAS_KERNEL_CORES:
            return frames, None, before, foreign
        signal_thread(subject.pid, foreign, 11)
        subject.process.wait()
        core = take_kernel_core(subject.process, "kernel.core")
    process = core_one("kernel", "--native", core)
    frames += compare("kernel", process, before)
    first = process["threads"][0]
    check(first["native_id"] == foreign and first["crashed"], "kernel: not the thread that crashed is the first")
    text = run_core("--native", core)[1].splitlines()
    check(text[4] == "Thread %d: crashed, not Python's" % foreign, "as a text:", text[4])
    check("native_thread_main (" in "".join(text[5:12]), "as a text:", text[5:12])
    check(all(not is_native(frame) for thread in core_one("without", core)["threads"] for frame in thread["frames"]),
          "without --native there are native frames")
    return frames, core, before, foreign


# ---- Files ----------------------------------------------------------------------------------------------------------


def build_id(path):
    notes = subprocess.check_output(["readelf", "-n", path], stderr=subprocess.DEVNULL).decode()
    return next((line.split(":")[1].strip() for line in notes.splitlines() if "Build ID:" in line), None)


def make_root(before, library):
    """A folder with all that is mapped but the library."""
    modules = {frame["module"] for thread in before["threads"] for frame in thread["frames"] if is_native(frame)}
    modules.add(os.path.realpath(sys.executable))
    for path in modules - {library, None, "[vdso]"}:
        os.makedirs(os.path.dirname("root" + path), exist_ok=True)
        os.symlink(path, "root" + path)
    os.makedirs(os.path.dirname("root" + library))


def compare_without_library(core, before, foreign, library):
    process = core_one("without the library", "--native", "--sysroot", "root", core, status=1,
                       errors="of the files that were mapped are not here")
    for thread in process["threads"]:
        through = [frame for frame in by_id(before)[thread["native_id"]]["frames"] if frame.get("module") == library]
        check(thread["native_status"] == ("cut" if through else "complete"), "without the library", thread["native_id"],
              thread["native_status"])
        if through:
            frames = thread["native_frames"] or thread["frames"]
            last = frames[-1]
            check(last["module"] == library and last["function"] is None, "without the library: the last is", last)


def compare_stripped(core, before, library):
    name = build_id(library)
    to = "debug/.build-id/%s/%s.debug" % (name[:2], name[2:])
    os.makedirs(os.path.dirname(to))
    subprocess.check_call(["objcopy", "--only-keep-debug", library, to])
    subprocess.check_call(["strip", "-o", "root" + library, library])
    process = core_one("stripped", "--native", "--sysroot", "root", core)
    names = {frame.get("function") for thread in process["threads"] for frame in thread["frames"]}
    check("native_thread_main" not in names, "stripped: a static function has a name")
    process = core_one("--debug-dir", "--native", "--sysroot", "root", "--debug-dir", "debug", core)
    for thread in process["threads"]:
        mine, wanted = ([frame for frame in one["frames"] if frame.get("module") == library]
                        for one in (thread, by_id(before)[thread["native_id"]]))
        check(mine == wanted, "--debug-dir", mine, "expected", wanted)


# ---- A crash --------------------------------------------------------------------------------------------------------


def compare_crash(library):
    process = subprocess.Popen([sys.executable, "-c", CRASH, library], stdin=subprocess.DEVNULL)
    check(process.wait() == -11, "crash", "ended by", process.returncode)
    core = take_kernel_core(process, "crash.core")
    dumped = core_one("crash", "--native", core)
    first = dumped["threads"][0]
    check(first["crashed"] and first["native_status"] == "complete", "crash", first["native_status"])
    names = [frame["function"] if is_native(frame) else frame["name"] for frame in first["frames"]]
    order = [name for name in names if name in ("called_back", "native_inner", "native_outer", "outer")]
    check(order == ["called_back", "native_inner", "native_outer", "outer"], "crash: the stack is", names)
    check(is_native(first["frames"][0]) and "libc" in first["frames"][0]["module"], "crash: in", first["frames"][0])
    if not shutil.which("gdb"):
        return 0
    told = gdb_stacks(os.path.realpath(sys.executable), core)
    check(set(told) == set(by_id(dumped)), "crash: gdb's threads are", set(told))
    return sum(compare_with_gdb("crash, thread %d" % thread["native_id"], thread["frames"], told[thread["native_id"]])
               for thread in dumped["threads"] if thread["native_id"] in told)


def main():
    allow_cores()
    library = compile_shared("chain", os.path.join(SOURCE, "tests", "native", "chain.c"),
                             flags=["-Wl,--build-id"])
    frames, core, before, foreign = compare_cores(library)
    in_gdb = 0
    if core is not None:
        make_root(before, library)
        compare_without_library(core, before, foreign, library)
        compare_stripped(core, before, library)
        in_gdb = compare_crash(library)
    return finish("%d frames are what they were; %d of a crash are gdb's%s" % (frames, in_gdb, kernel_cores_note()))


sys.exit(main())
