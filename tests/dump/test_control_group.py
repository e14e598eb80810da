# interpreters: host
"""
`cgroup` and `container_id` against /proc/PID/cgroup, for a process that is moved through real control groups, named as
the container runtimes name theirs. Where none may be made, only the group it is in anyway.
"""

import glob
import os
import sys

from dumping import Program, check, dump_one, failures, run_dump

HEX64 = "".join("%02x" % (7 * n % 256) for n in range(32))
OTHER64 = HEX64[::-1]
UUID = "0f3c1d2e-4b5a-6978-8796-a5b4c3d2e1f0"
ECS = HEX64[:32] + "-1234567890"
GROUPS = [  # path below the root of a hierarchy, the container in it
    ("docker/" + HEX64, HEX64),
    ("system.slice/docker-%s.scope" % HEX64, HEX64),
    ("machine.slice/libpod-%s.scope/container" % HEX64, HEX64),
    ("kubepods/burstable/pod%s/%s" % (UUID, HEX64), HEX64),
    ("kubepods.slice/kubepods-pod%s.slice/cri-containerd-%s.scope" % (UUID.replace("-", "_"), HEX64), HEX64),
    ("kubepods/besteffort/pod" + UUID, None),
    ("docker/%s/docker/%s" % (HEX64, OTHER64), OTHER64),
    ("ecs/0123456789abcdef0123456789abcdef/" + ECS, ECS),
    ("garden/" + UUID, UUID),
    ("user.slice/user-1000.slice/session-2.scope", None),
    ("deadbeef/" + HEX64[:63], None),
    ("x/" + HEX64 + "0", None),
]


def told_group(pid):
    """By the rule of docs/dump.md."""
    with open("/proc/%d/cgroup" % pid, encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for number, controllers, path in lines:
        if number == "0" and controllers == "" and path != "/":
            return path
    return max((path for _, _, path in lines), key=len, default=None)


def check_group(what, pid, container):
    process = dump_one(what, pid)
    if process is None:
        return
    check(process["cgroup"] == told_group(pid), what, "is in", process["cgroup"], "not", told_group(pid))
    check(process["container_id"] == container, what, "is in container", process["container_id"], "not", container)
    text = run_dump(pid)[1].splitlines()[2]
    shown = "control group " + process["cgroup"] if process["cgroup"] != "/" else ""
    check(text.lower().endswith(shown.lower()) and (container is None or container in text), what, "prints", text)


def own_group(pid, root):
    """Where the process is in the hierarchy that is mounted at root."""
    with open("/proc/%d/cgroup" % pid, encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if os.path.basename(root) in (controllers.replace("name=", "") or "unified"):
                return root + path
    return None


def move(pid, group):
    with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write(str(pid))


class Group:
    """A group made for the test, with its parents, and taken away again."""

    def __init__(self, root, path):
        self.made = []
        self.path = root
        try:
            for part in path.split("/"):
                self.path = os.path.join(self.path, part)
                if not os.path.isdir(self.path):
                    os.mkdir(self.path)
                    self.made.append(self.path)
        except OSError:
            self.remove()
            raise

    def remove(self):
        for path in reversed(self.made):
            os.rmdir(path)


def find_root(pid):
    """A hierarchy in which a group may be made and the process be moved, and where it is now."""
    for procs in glob.glob("/sys/fs/cgroup/cgroup.procs") + sorted(glob.glob("/sys/fs/cgroup/*/cgroup.procs")):
        root = os.path.dirname(procs)
        now = own_group(pid, root)
        try:
            if now is None or os.path.samefile(root, "/sys/fs/cgroup/cpuset"):  # an empty cpuset takes no process
                continue
            group = Group(root, "pyunwind-test-%d" % pid)
        except OSError:
            continue
        try:
            move(pid, group.path)
            move(pid, now)
            if told_group(pid) is not None:
                return root, now
        except OSError:
            pass
        finally:
            group.remove()
    return None, None


def main():
    with Program([sys.executable, "-c", "print(flush=True); input()"]) as program:
        check_group("as it was started", program.pid, None)
        root, home = find_root(program.pid)
        moved = 0
        for path, container in GROUPS if root is not None else []:
            group = Group(root, "%s-%d/%s" % ("pyunwind", program.pid, path))
            try:
                move(program.pid, group.path)
                if path in told_group(program.pid):
                    check_group(path, program.pid, container)
                    moved += 1
            finally:
                move(program.pid, home)
                group.remove()
    print("%d control groups%s, %d wrong" % (moved, "" if moved else " could be made", len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
