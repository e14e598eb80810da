"""
For the tests of `pyunwind core`: core files of a program that said what its stacks are, by the kernel and by gdb's
gcore, and what the command says of them.
"""

import json
import os
import resource
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "dump"))

from dumping import COMMAND, Subject, check, compare_stack, dumped_frames, first_difference, told_frames

# gcore writes memory that was never touched, too: of stacks, of a second arena of malloc, 64 MB, and of one of mimalloc
# (free-threaded builds), 1 GB.
SMALL = {"SUBJECT_STACK": str(1 << 20), "MALLOC_ARENA_MAX": "1", "MIMALLOC_ARENA_RESERVE": "4096"}

with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as pattern:
    KERNEL_PATTERN = pattern.read().strip()
# A relative pattern names a file in the working folder of the process: the test's own.
HAS_KERNEL_CORES = not KERNEL_PATTERN.startswith(("|", "/", "@")) and KERNEL_PATTERN != ""


def kernel_cores_note():
    if HAS_KERNEL_CORES:
        return ""
    return "; NOT COVERED: cores by the kernel, whose core_pattern is %s" % KERNEL_PATTERN


def run_core(*arguments, **options):
    """(exit status, standard output, standard error) of the command."""
    done = subprocess.run([COMMAND, "core"] + [str(word) for word in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def core_one(what, *arguments, status=0, errors=""):
    """The process object of a core file, or None; errors: what standard error has to hold, "" for nothing."""
    got, output, said = run_core("--json", *arguments)
    check(got == status, what, "exit status", got, "not", status, said)
    check(errors in said if errors else said == "", what, "said", repr(said[:500]), "not", errors)
    if not output:
        return None
    document = json.loads(output)
    check(document["schema"] == "pyunwind.dump/1" and len(document["processes"]) == 1, what, output[:200])
    return document["processes"][0]


def allow_cores():
    """In this process and its children to come."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def take_kernel_core(process, name):
    """The core of an ended subprocess.Popen, moved to name."""
    folder = os.getcwd()
    made = [entry for entry in os.listdir(folder) if entry in ("core", "core.%d" % process.pid)]
    made += [entry for entry in os.listdir(folder) if str(process.pid) in entry and entry not in made]
    assert len(made) == 1, "%s made by the kernel, whose core_pattern is %s" % (made, KERNEL_PATTERN)
    os.rename(made[0], name)
    return os.path.abspath(name)


def set_filter(pid, bits):
    with open("/proc/%d/coredump_filter" % pid, "w", encoding="ascii") as file:
        file.write("0x%x" % bits)


def kernel_core(subject, name, signal):
    """End a subject by a signal, and take the core that the kernel makes of it."""
    subject.process.send_signal(signal)
    subject.process.wait()
    return take_kernel_core(subject.process, name)


def gdb_core(pid, name):
    """
    (core file, is it whole): gdb before version 16 leaves a stack empty in which a page cannot be read, as the guard
    pages of glibc 2.42 and later cannot (MADV_GUARD_INSTALL).
    """
    done = subprocess.run(["gcore", "-o", name, str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    os.rename("%s.%d" % (name, pid), name)
    failed = [line for line in done.stdout.decode("utf-8", "replace").splitlines()
              if "Memory read failed" in line and "0xffffffffff600000" not in line]  # not the kernel's own page
    return os.path.abspath(name), not failed


def missing(whole):
    """What is said of a core whose memory gdb could not read all of."""
    return "" if whole else "stacks are not whole"


def any_core(name, *kinds, bits=None):
    """(core file, truth): by the kernel where it makes cores here, else by gcore."""
    with Subject(*kinds, environment=SMALL) as subject:
        if bits is not None:
            set_filter(subject.pid, bits)
        if HAS_KERNEL_CORES:
            return kernel_core(subject, name, 6), subject.truth
        return gdb_core(subject.pid, name)[0], subject.truth


def compare_beginning(what, thread, told):
    """A stack of which memory is missing: right as far as it goes, and marked where it does not go on."""
    got, wanted = dumped_frames(thread["frames"]), told_frames(told["stack"])
    check(got == wanted[:len(got)], what, first_difference(got, wanted[:len(got)]))
    check((thread["status"] == "complete") == (len(got) == len(wanted)), what, "is", thread["status"], "with", len(got),
          "of", len(wanted), "frames")


def compare_core(what, process, truth, whole=True):
    """How many frames were compared."""
    frames = 0
    if process is None:
        check(False, what, "says nothing")
        return 0
    check(process["pid"] == truth["pid"], what, "pid", process["pid"])
    check(process["python"]["version"] == truth["version"].rstrip("+"), what, process["python"]["version"])
    check(process["uptime"] is None and process["cgroup"] is None, what, "knows what no core tells")
    for told in truth["threads"]:
        found = [thread for thread in process["threads"] if thread["thread_id"] == told["thread_id"] and
                 thread["interpreter_id"] == told["interpreter_id"] and thread["frames"]]
        label = "%s, thread %d of interpreter %d" % (what, told["native_id"], told["interpreter_id"])
        check(len(found) == 1, label, "is there", len(found), "times")
        if len(found) == 1:
            (compare_stack if whole else compare_beginning)(label, found[0], told)
            check(found[0]["native_id"] == told["native_id"], label, "native id", found[0]["native_id"])
            check(found[0]["state"] is None, label, "state", found[0]["state"])
            frames += len(found[0]["frames"])
    with_frames = [thread for thread in process["threads"] if thread["frames"]]
    check(len(with_frames) == len(truth["threads"]), what, len(with_frames), "threads, expected", len(truth["threads"]))
    return frames
