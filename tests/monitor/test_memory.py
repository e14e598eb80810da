# interpreters: host
"""
A process that the kernel kills for want of memory, in a control group of its own: `pyunwind run` tells so. The oracle is
the group's own counter of such kills. Skipped where control groups cannot be made.
"""

import os
import signal
import sys

from running import check, finish, python, reports, run, under

SKIPPED = 77
LIMIT = 96 << 20

EAT = """
import sys
held = []
while True:
    held.append(b"x" * (1 << 20))
"""


def own_group(line_start):
    with open("/proc/self/cgroup") as file:
        for line in file:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if line_start(number, controllers):
                return path
    return None


def make_group():
    """(folder, the file of its kills), or None where it cannot be made."""
    name = "pyunwind-test-%d" % os.getpid()
    one = own_group(lambda number, controllers: "memory" in controllers.split(","))
    two = own_group(lambda number, controllers: number == "0")
    ways = []
    if one is not None:
        ways.append(("/sys/fs/cgroup/memory" + one, ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"],
                     "memory.oom_control"))
    if two is not None:
        ways.append(("/sys/fs/cgroup" + two, ["memory.max"], "memory.events"))
    for parent, limits, kills in ways:
        folder = os.path.join(parent, name)
        try:
            os.mkdir(folder)
        except OSError:
            continue
        try:
            if os.path.exists(os.path.join(folder, limits[0])) and os.path.exists(os.path.join(folder, kills)):
                for limit in limits:
                    if os.path.exists(os.path.join(folder, limit)):
                        with open(os.path.join(folder, limit), "w") as file:
                            file.write("%d" % LIMIT)
                if os.path.exists(os.path.join(folder, "memory.swap.max")):
                    with open(os.path.join(folder, "memory.swap.max"), "w") as file:
                        file.write("0")
                return folder, os.path.join(folder, kills)
        except OSError:
            pass
        os.rmdir(folder)
    return None


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
