# interpreters: each
# weight: heavy
"""
`pyunwind dump --native` of threads in whose stacks Python and C call each other. The oracles: the Python frames are
what the program says of itself; the native frames are, address for address, what gdb unwinds of the same process, and
where gdb has a frame more it is an evaluation loop, and Python frames are in its place; the functions of the library
that the test has compiled lie between the Python frames that call them and are called by them.
"""

import copy
import os
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "dump"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from against_gdb import compare_with_gdb, gdb_stacks, is_native
from compile import compile_shared
from dumping import Subject, check, compare_process, dump_one, finish, run_dump
from pausing import states

HERE = os.path.dirname(os.path.abspath(__file__))
CHAIN = os.path.join(HERE, "chain.py")
TELLS_LOOPS = sys.version_info >= (3, 12)  # by entry frames on the C stack


def start(*kinds, library):
    return Subject(*kinds, command=[sys.executable, CHAIN], environment={"CHAIN": library, "PYUNWIND_SOURCE": SOURCE})


# ---- The Python part ------------------------------------------------------------------------------------------------


def python_part(process):
    part = copy.deepcopy(process)
    part["threads"] = [thread for thread in part["threads"] if thread["thread_id"] is not None]
    for thread in part["threads"]:
        thread["frames"] = [frame for frame in thread["frames"] if not is_native(frame)]
    return part


def check_merged(what, process):
    """All threads are, and are whole."""
    for thread in process["threads"]:
        check(thread["native_frames"] is None, what, thread["native_id"], "is not merged")
        check(thread["native_status"] == "complete", what, thread["native_id"], thread["native_status"])
        check(thread["frames"] and is_native(thread["frames"][0]), what, thread["native_id"], "has no native frame")


# ---- gdb ------------------------------------------------------------------------------------------------------------


def check_gdb(what, process):
    if not shutil.which("gdb"):
        return 0
    told = gdb_stacks("-p", process["pid"])
    check(set(told) == {thread["native_id"] for thread in process["threads"]}, what, "gdb's threads are", set(told))
    return sum(compare_with_gdb("%s, thread %d" % (what, thread["native_id"]), thread["frames"],
                                told[thread["native_id"]])
               for thread in process["threads"] if thread["native_id"] in told)


# ---- The functions of the library -----------------------------------------------------------------------------------

ORDER = ["native_block", "called_back", "native_inner", "native_outer", "inner_generator", "generator", "reduced",
         "keyed", "__init__", "chain"]
CALLED_FROM_C = ["called_back", "reduced", "keyed", "__init__"]  # native frames lie outward of each


def check_chain(process, library):
    with open(library, "rb") as file:
        assert b"native_inner" in file.read()
    thread = next(thread for thread in process["threads"] if any(frame.get("name") == "chain"
                                                                 for frame in thread["frames"]))
    frames = thread["frames"]
    names = [frame["function"] if is_native(frame) else frame["name"] for frame in frames]
    found = [name for name in names if name in ORDER]
    check(found == ORDER, "the chain is", found)
    for name in CALLED_FROM_C:
        check(is_native(frames[names.index(name) + 1]), "no native frame outward of", name)
    for name in ("native_block", "native_inner", "native_outer"):
        frame = frames[names.index(name)]
        check(frame["module"] == library, name, "is in", frame["module"])
        check(frame["filename"].endswith("chain.c") and frame["lineno"] > 0, name, frame["filename"], frame["lineno"])
        check(int(frame["module_offset"], 16) < os.path.getsize(library), name, frame["module_offset"])
    text = run_dump("--native", process["pid"])[1]
    check("    native_inner (" in text and "called_back (" in text and "could not" not in text, text)


def check_foreign(process):
    foreign = [thread for thread in process["threads"] if thread["thread_id"] is None]
    check(len(foreign) == 1, len(foreign), "threads are not Python's")
    for thread in foreign:
        names = [frame["function"] for frame in thread["frames"]]
        check("native_thread_main" in names and names.index("native_block") < names.index("native_thread_main"), names)
        check(thread["interpreter_id"] is None and thread["status"] == "complete", thread)
        check(thread["holds_gil"] is False and thread["state"] == "idle", thread)


# ---- What cannot be merged ------------------------------------------------------------------------------------------


def check_unknown_code(library):
    """Behind code of no file nothing is told: the two stacks stay apart."""
    with start("unknown", library=library) as subject:
        process = dump_one("unknown code", subject.pid, "--native")
        compare_process("unknown code", python_part(process), subject.truth)
        cut = [thread for thread in process["threads"] if thread["native_status"] == "cut"]
        check(len(cut) == 1, "unknown code:", len(cut), "stacks are cut")
        for thread in cut:
            native = thread["native_frames"]
            # What it maps is of no ELF file: shared memory, by the kernel's name.
            check(native and native[-1]["module"] == "/dev/zero", "the cut stack ends with", native and native[-1])
            check(all(not is_native(frame) for frame in thread["frames"]), "the cut stack is merged")
            check(any(frame["function"] == "native_block" for frame in native or []), "native_block is missing")
        text = run_dump("--native", subject.pid)[1]
        check("could not be aligned" in text and "is cut" in text, text)


def has_interpreters():
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    return subprocess.run([sys.executable, "-c", "import " + module], stderr=subprocess.DEVNULL).returncode == 0


def check_interpreters(library):
    """A thread that has entered two interpreters has two thread states, and one native stack."""
    with start("interpreter", library=library) as subject:
        process = dump_one("interpreters", subject.pid, "--native")
        compare_process("interpreters", python_part(process), subject.truth)
        states = [thread for thread in process["threads"] if thread["thread_id"] and thread["frames"]]
        both = [thread for thread in states if sum(thread["native_id"] == other["native_id"] for other in states) == 2]
        check(len(both) == 2, "interpreters:", len(both), "thread states in two")
        for thread in both:
            check((thread["native_frames"] is None) == TELLS_LOOPS, "interpreters:", thread["interpreter_id"],
                  "is merged:", thread["native_frames"] is None)


# ---- ----------------------------------------------------------------------------------------------------------------


def main():
    library = compile_shared("chain", os.path.join(HERE, "chain.c"))
    frames = 0
    with start("chain", "lock", "generator", "method", "foreign", library=library) as subject:
        process = dump_one("chain", subject.pid, "--native")
        check("t" not in states(subject.pid), "it was left standing")
        compare_process("chain", python_part(process), subject.truth)
        check_merged("chain", process)
        check_chain(process, library)
        check_foreign(process)
        frames += check_gdb("chain", process)
    if os.uname().machine == "x86_64":
        check_unknown_code(library)
    if has_interpreters():
        check_interpreters(library)
    return finish("%d native frames are gdb's, and the Python frames in their places%s" % (
        frames, "" if frames else "; NO GDB HERE"))


if __name__ == "__main__":
    sys.exit(main())
