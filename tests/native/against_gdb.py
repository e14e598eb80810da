"""Native stacks by gdb, of a process or a core file, to compare merged stacks with."""

import json
import os
import subprocess

from dumping import check

FRAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gdb_frames.py")
LOOP = "_PyEval_EvalFrameDefault"


def is_native(frame):
    return frame["kind"] == "native"


def gdb_stacks(*what):
    """{kernel thread id: [(address, function)]}; what: gdb's arguments that name the process or core file."""
    commands = ["set debuginfod enabled off", "set auto-load no", "set backtrace past-main on",
                "set backtrace past-entry on", "source " + FRAMES]
    command = ["gdb", "--batch", "-nx"] + [str(word) for word in what]
    for words in commands:
        command += ["-ex", words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("STACKS ")]
    assert lines, done.stdout.decode("utf-8", "replace")
    return {int(task): frames for task, frames in json.loads(lines[0][len("STACKS "):]).items()}


def compare_with_gdb(what, frames, told):
    """Each Python frame or run of them stands where gdb has an evaluation loop. How many frames gdb has."""
    at = 0
    for number, (address, name) in enumerate(told):
        if at < len(frames) and is_native(frames[at]) and int(frames[at]["address"], 16) == address:
            at += 1
            continue
        check(name is None or name.startswith(LOOP), what, "gdb's frame", number, name, "is missing")
        before = at
        while at < len(frames) and not is_native(frames[at]):
            at += 1
        check(at > before, what, "gdb's frame", number, hex(address), name, "is missing, and no Python frame in its place")
    check(at == len(frames), what, "frame", at, "is not gdb's:", frames[at:at + 1])
    return len(told)
