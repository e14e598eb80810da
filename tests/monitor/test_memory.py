# interpreters: host
"""
A process that the kernel kills for want of memory, in a control group of its own: `pyunwind run` tells so. The oracle is
the group's own counter of such kills. Skipped where control groups cannot be made.
"""

import os
import signal
import sys

from memory_group import LIMIT, make_group
from running import check, finish, python, reports, run, under

SKIPPED = 77

EAT = """
import sys
held = []
while True:
    held.append(b"x" * (1 << 20))
"""


def kills_of(path):
    with open(path) as file:
        return int(dict(line.split() for line in file)["oom_kill"])


def check_kill(folder, kills):
    def enter():
        with open(os.path.join(folder, "cgroup.procs"), "w") as file:
            file.write("%d" % os.getpid())

    before = kills_of(kills)
    outcome = run(under(python(EAT)), preexec_fn=enter)
    check(outcome.status == -signal.SIGKILL and kills_of(kills) == before + 1, outcome.status, outcome.errors)
    found = reports()
    check(len(found) == 1, len(found), "reports")
    if len(found) != 1:
        return
    report = found[0]
    check(report["diagnosis"]["cause"] == "out_of_memory", report["diagnosis"])
    check(any("want of memory" in text or "Killed process" in text for text in report["diagnosis"]["evidence"]),
          report["diagnosis"])
    memory = report["memory"]
    check(memory["cgroup_limit"] == LIMIT and memory["oom_kills"] == before + 1, memory)
    check(LIMIT / 2 < memory["peak"] < LIMIT * 2, memory)
    # A kill in the same group that is no such thing.
    outcome = run(under(python("import os; os.kill(os.getpid(), 9)")), preexec_fn=enter)
    found = reports()
    check(len(found) == 1 and found[0]["diagnosis"]["cause"] == "killed", found)


def main():
    made = make_group()
    if made is None:
        print("NOT CHECKED: no control group with a limit of memory can be made here")
        return SKIPPED
    try:
        check_kill(*made)
    finally:
        os.rmdir(made[0])
    return finish("killed for want of memory, and told so; a kill beside it is told as that")


sys.exit(main())
