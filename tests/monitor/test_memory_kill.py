# interpreters: host
"""
A process that the kernel kills because its control group is out of memory leaves a report that says so, with the group's
figures, also where it was moved to the group while it ran; one of the same group that somebody kills is told as killed.
"""

import os
import signal
import subprocess
import sys

from running import check, end, finish, is_watched, python, read_line, reports, start, under, wait_until

SKIPPED = 77
LIMIT = 64 << 20

EAT = """
import os, sys
print(os.getpid(), flush=True)
sys.stdin.readline()
held = []
while True:
    held.append(bytearray(os.urandom(1 << 20)))
"""


def own_group(version):
    """The path of this process's memory group in the file system, or None."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if version == 1 and "memory" in controllers.split(","):
                root = "/sys/fs/cgroup/memory"
            elif version == 2 and number == "0":
                root = "/sys/fs/cgroup"
            else:
                continue
            for place in (root + path, root):
                if os.path.exists(os.path.join(place, "cgroup.procs")):
                    return place
    return None


class Group:
    """A memory group with a limit; its path is None where none can be made."""

    def __enter__(self):
        for version, limit, swap in ((1, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
                                     (2, "memory.max", "memory.swap.max")):
            parent = own_group(version)
            self.path = os.path.join(parent, "pyunwind-test-%d" % os.getpid()) if parent else None
            try:
                os.mkdir(self.path or "")
            except OSError:
                continue
            if self.set(limit, LIMIT):
                self.set(swap, LIMIT if version == 1 else 0)
                return self
            os.rmdir(self.path)
        self.path = None
        return self

    def set(self, name, value):
        try:
            with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
                file.write(str(value))
            return True
        except OSError:
            return False

    def enter(self):
        """Of a child before its exec."""
        if not self.set("cgroup.procs", os.getpid()):
            os._exit(98)

    def __exit__(self, *_):
        if self.path:
            wait_until(self.is_removed, "the control group is empty")

    def is_removed(self):
        try:
            os.rmdir(self.path)
            return True
        except OSError:
            return False


def report_of_end(what, act, **how):
    """Of a program that waits for act(its number, its standard input)."""
    process = start(under(python(EAT)), stdin=subprocess.PIPE, **how)
    try:
        act(int(read_line(process.stdout)), process)
        check(process.wait() == -signal.SIGKILL, what, process.returncode)
    finally:
        end(process)
    found = reports()
    check(len(found) == 1, what, "has left", len(found), "reports")
    return found[0] if len(found) == 1 else None


def eat(_, process):
    process.stdin.write(b"\n")


def check_memory_kill(what, group, report):
    if report is None:
        return
    memory = report["memory"]
    check(report["diagnosis"]["cause"] == "out_of_memory", what, report["diagnosis"])
    check(report["diagnosis"]["evidence"] != [], what, "no evidence")
    check(memory["oom_kills"] is not None and memory["oom_kills"] >= 1, what, "kills", memory)
    check(memory["cgroup_limit"] == LIMIT, what, "limit", memory)
    check(memory["peak"] > LIMIT // 2, what, "peak", memory)
    check(report["cgroup"].endswith(os.path.basename(group.path)), what, "control group", report["cgroup"])


def main():
    with Group() as group:
        if group.path is None:
            print("no control group with a memory limit can be made here")
            return SKIPPED
        check_memory_kill("in the group", group, report_of_end("in the group", eat, preexec_fn=group.enter))

        def kill(pid, _):
            os.kill(pid, signal.SIGKILL)

        report = report_of_end("a kill", kill, preexec_fn=group.enter)
        check(report is None or report["diagnosis"]["cause"] == "killed", report and report["diagnosis"])

        def move_and_eat(pid, process):
            wait_until(lambda: is_watched(process.pid, pid), "the monitor watches it")
            check(group.set("cgroup.procs", pid), "the program cannot be put into the control group")
            eat(pid, process)

        moved = report_of_end("moved", move_and_eat)
        if moved is not None and moved["cgroup"].endswith(os.path.basename(group.path)):  # else it was not seen there
            check_memory_kill("moved", group, moved)
    return finish("a kill for want of memory is told from another")


if __name__ == "__main__":
    sys.exit(main())
