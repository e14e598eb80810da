# interpreters: each
# timeout: 300
"""
Native stacks that are not to be had at all, of a process that another debugger holds, and where what it has mapped cannot
be listed once more: its Python stacks are given all the same, what is missing is said, and the exit status is 1. The
oracle is what subject.py says of itself.
"""

import itertools
import json
import os
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", folder) for folder in ("support", "dump", "faults")]

import faults
from dumping import Subject, check, compare_process, finish, run_dump

LOOKS = 20
SUBJECT = os.path.join(SOURCE, "tests", "dump", "subject.py")

# Holds all threads of a process, as a debugger does, until it ends.
HOLDER = """
import ctypes, os, sys
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_SEIZE = 0x4206
for task in os.listdir("/proc/%s/task" % sys.argv[1]):
    assert ptrace(PTRACE_SEIZE, int(task), None, None) == 0, task
os.write(1, b"\\n")
os.read(0, 1)
"""


def compare(what, subject, output, errors, why):
    check("without native stacks: " in errors and why in errors, what, "says", errors)
    check(output != "", what, "tells nothing:", errors)
    if not output:
        return 0
    document = json.loads(output)
    check(len(document["processes"]) == 1, what, output[:300])
    for process in document["processes"]:
        for thread in process["threads"]:
            check(thread["native_status"] is None and thread["native_frames"] is None, what, thread)
        return compare_process(what, process, subject.truth)
    return 0


def check_held(subject):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(subject.pid)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        check(holder.stdout.readline() == b"\n", "it is not held")
        frames = compare_held(subject, holder.pid)
        holder.stdin.close()
        holder.wait()
    return frames


def compare_held(subject, holder):
    status, output, errors = run_dump("--json", "--native", subject.pid)
    check(status == 1, "held: exit status", status)
    frames = compare("held", subject, output, errors, "%d" % holder)
    status, output, errors = run_dump("--json", "--native", "--pause", subject.pid)
    check(status == 1 and json.loads(output)["processes"] == [], "held, and to be stopped:", status, output[:300], errors)
    status, output, errors = run_dump("--native", subject.pid)
    check(status == 1 and "Thread" in output and "without native stacks" in errors, "held, as text:", status, output, errors)
    return frames


def check_unlisted(subject):
    """Each file that is opened, and is not, in turn: one of them is the list of what is mapped, as native stacks need it."""
    why = faults.may_hold()
    if why:
        print("NOT TRIED, no call can be held here:", why)
        return 0
    command = [faults.COMMAND, "dump", "--json", "--native", subject.pid]
    frames = 0
    # Two threads open files, so that the same one has another number by chance: again, until it was that list.
    calls = [call for call in faults.run(command).calls if call.name == "openat" and call.part == "own"]
    for call in itertools.chain.from_iterable(itertools.repeat(calls, LOOKS)):
        if frames > 0:
            break
        done = faults.run(command, call=call, error="EMFILE")
        errors = done.errors.decode()
        if "what process %d has mapped could not be read" % subject.pid in errors:
            check(done.code() == 1, "not listed:", done.describe())
            frames += compare("not listed", subject, done.output.decode(), errors, "mapped could not be read")
    check(frames > 0, "the list of what is mapped is not read again")
    return frames


def main():
    with Subject("lock", "method", command=[sys.executable, SUBJECT]) as subject:
        frames = check_unlisted(subject)
    with Subject("lock", "method", command=[sys.executable, SUBJECT]) as subject:
        frames += check_held(subject)
    return finish("%d frames of processes without native stacks" % frames)


if __name__ == "__main__":
    sys.exit(main())
