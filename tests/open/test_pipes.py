# interpreters: each
"""
Files whose names a program, a process or a core file tells, and which are pipes by now: nobody waits for somebody who
writes to them, and what they were needed for is found elsewhere, or said. The oracle is that everything ends, and what
was told before the files became pipes.
"""

import json
import os
import re
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", folder) for folder in ("support", "dump", "core")]

from compile import compile_program, compile_shared
from cores import allow_cores, any_core, core_one, run_core
from dumping import COMMAND, Subject, check, compare_subject, dump_one, finish

SECONDS = 60

# What is not Python: each file of it is looked at.
LOADS = r"""
#include <dlfcn.h>
#include <pyunwind.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pyunw_target target;
    char message[256] = "";
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    if (argc != 2 || dlopen(argv[1], RTLD_NOW) == NULL || unlink(argv[1]) != 0 || mkfifo(argv[1], 0600) != 0)
        return 2;
    printf("%d %s\n", pyunw_open_self(&target, &options), message);
    return 0;
}
"""

ABORTS = """
import mmap, os, sys
path = sys.argv[1]
with open(path, "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
os.unlink(path)
os.mkfifo(path)
os.abort()
"""


def make_pipe(path):
    if os.path.lexists(path):
        os.unlink(path)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    os.mkfifo(path)


def own_process(library):
    copy = os.path.abspath("loaded.so")
    shutil.copy(library, copy)
    program = compile_program("loads", LOADS, pyunwind=True, flags=["-ldl"])
    done = subprocess.run([program, copy], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=SECONDS)
    check(b"no CPython interpreter is loaded" in done.stdout, "the own process:", done.returncode, done.stdout)


def names_of(process):
    return [[frame.get("function") for frame in thread["frames"]] for thread in process["threads"]]


def other_process(library):
    """The library itself, and where its debug information would be."""
    copy = os.path.abspath("chain.so")
    command = [sys.executable, os.path.join(SOURCE, "tests", "native", "chain.py")]
    places = ["chain.so.debug", ".debug/chain.so.debug", "told.debug", ".debug/told.debug"]
    subprocess.check_call(["objcopy", "--strip-debug", library, copy])
    with open("told.debug", "wb") as file:
        file.write(b"what is linked to has to be there")
    subprocess.check_call(["objcopy", "--add-gnu-debuglink=told.debug", copy])
    with Subject("chain", command=command, environment={"CHAIN": copy, "PYUNWIND_SOURCE": SOURCE}) as subject:
        before = names_of(dump_one("before", subject.pid, "--native"))
        check(any("native_block" in names for names in before), "before", before)
        for place in places:
            make_pipe(place)
        after = names_of(dump_one("debug information", subject.pid, "--native", timeout=SECONDS))
        check(after == before, "debug information: changed to", after)
        make_pipe(copy)
        after = names_of(dump_one("the library", subject.pid, "--native", timeout=SECONDS))
        check(after == before, "the library: changed to", after)
    return len(before)


def interpreter():
    """A process whose interpreter's file is a pipe."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        shared = {line.split(None, 5)[5].strip() for line in file if "/libpython" in line}
    original = next(iter(shared)) if shared else os.path.realpath(sys.executable)
    copy = shutil.copy(original, os.path.abspath(os.path.basename(original)))
    environment = {"PYTHONHOME": "%s:%s" % (sys.base_prefix, sys.base_exec_prefix)}
    if shared:
        environment["LD_PRELOAD"] = copy
    with Subject("lock", command=[sys.executable if shared else copy, os.path.join(SOURCE, "tests", "dump", "subject.py")],
                 environment=environment) as subject:
        make_pipe(copy)
        return compare_subject("the interpreter", subject, timeout=SECONDS)


def core_file():
    allow_cores()
    core, _ = any_core("told.core", "lock")
    os.mkfifo("pipe")
    status, output, errors = run_core(core, "pipe", timeout=SECONDS)
    check((status, output) == (1, "") and "pipe is no executable for this processor: a pipe or a device" in errors, "EXE:",
          status, errors)
    status, _, errors = run_core(core, ".", timeout=SECONDS)
    check(status == 1 and ". is no executable for this processor: a folder" in errors, "EXE:", status, errors)
    before = core_one("before", "--native", core)
    for thread in before["threads"]:
        for frame in thread["frames"]:
            if frame["kind"] == "native" and frame["module"].startswith("/"):
                if not os.path.lexists("root" + frame["module"]):
                    make_pipe("root" + frame["module"])
                if frame["build_id"]:
                    place = "debug/.build-id/%s/%s" % (frame["build_id"][:2], frame["build_id"][2:])
                    for path in (place, place + ".debug"):
                        if not os.path.lexists(path):
                            make_pipe(path)
    status, _, errors = run_core("--native", "--sysroot", "root", "--debug-dir", "debug", core, timeout=SECONDS)
    check(status == 1 and re.search("of (the files that were mapped|which .* mapped files) are not here", errors),
          "--sysroot, --debug-dir:", status, errors)


def abort_message(name):
    """The C library keeps the message of an abort: here a file has its name that is none, and by then a pipe."""
    folder = os.path.abspath("reports")
    os.makedirs("aborts", exist_ok=True)
    shutil.copy(sys.executable, name)
    done = subprocess.run([COMMAND, "run", "--report-dir", folder, "--", sys.executable, "-c", ABORTS,
                           os.path.abspath(name)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS)
    made = [entry for entry in os.listdir(folder) if entry.endswith(".json")]
    check(len(made) == 1, "an abort:", done.returncode, done.stderr, os.listdir(folder))
    for entry in made:
        with open(os.path.join(folder, entry), encoding="utf-8") as file:
            check(json.load(file)["signal"]["name"] == "SIGABRT", "an abort:", entry)


def main():
    library = compile_shared("chain", os.path.join(SOURCE, "tests", "native", "chain.c"), flags=["-Wl,--build-id"])
    own_process(library)
    threads = other_process(library)
    frames = interpreter()
    core_file()
    abort_message("aborts/libc.so.6")
    return finish("pipes are not waited for: in the own process, with native stacks of %d threads, %d frames, in a core "
                  "file, in the report of an abort" % (threads, frames))


if __name__ == "__main__":
    sys.exit(main())
