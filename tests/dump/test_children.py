# interpreters: each
"""
--children: the processes below one, made by fork, subprocess and multiprocessing, with a shell between, each once and
in the order of the tree; with --pause all of them are stopped and all go on. The oracle is what each process says of
its own number and its parent's.
"""

import json
import os
import re
import resource
import sys

from dumping import Program, check, finish, run_dump, wait_until_reading
from pausing import Counter, states

ALLOW = "import ctypes, os, sys\nctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)\n"

TREE = ALLOW + r'''
import multiprocessing, subprocess
told_end, told = os.pipe()
life_end, life = os.pipe()  # whose end is the end of all

def wait():
    try:
        os.close(life)
    except OSError:  # closed by a parent
        pass
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    os.write(told, b"%d %d\n" % (os.getpid(), os.getppid()))
    os.read(life_end, 1)

def fork(below):
    if os.fork() == 0:
        if below:
            fork(below - 1)
        wait()
        os._exit(0)

LEAF = """
import ctypes, os, sys
def wait():
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    os.write(int(sys.argv[1]), b"%d %d\\n" % (os.getpid(), os.getppid()))
    os.read(int(sys.argv[2]), 1)
wait()
"""
python = [sys.executable, "-c", LEAF, str(told), str(life_end)]
shell = ["sh", "-c", '"$0" "$@"; exit 0'] + python
fork(2)
subprocess.Popen(python, pass_fds=(told, life_end))
subprocess.Popen(shell, pass_fds=(told, life_end))
multiprocessing.get_context("fork").Process(target=wait, daemon=True).start()
lines = b""
while lines.count(b"\n") < 6:
    lines += os.read(told_end, 4096)
os.write(1, b" ".join(lines.split()) + b"\n")
def root():
    os.read(0, 1)
root()
os._exit(0)
'''


class Tree(Program):
    """parents: of each process but the shell, as they told; order: that of the tree, the shell among them."""

    def __init__(self, command):
        super().__init__(command)
        numbers = [int(word) for word in self.line.split()]
        self.parents = dict(zip(numbers[::2], numbers[1::2]))
        shells = set(self.parents.values()) - set(self.parents)
        roots = {pid for pid in shells if self.parent_of(pid) not in shells}
        self.root = roots.pop()
        self.shell = (shells - {self.root}).pop()
        self.order = []
        self.add(self.root, {self.shell: self.root, **self.parents})
        wait_until_reading(self.root)  # in its function, which it calls once it has told

    @staticmethod
    def parent_of(pid):
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(") ")[2].split()[1])

    def add(self, pid, parents):
        self.order.append(pid)
        for child in sorted(child for child, parent in parents.items() if parent == pid):
            self.add(child, parents)


def left_out(*pids):
    return "pyunwind dump: left out, since they are not Python: %s\n" % ", ".join(map(str, pids))


def check_document(what, tree, output):
    processes = json.loads(output)["processes"]
    python = [pid for pid in tree.order if pid != tree.shell]
    check([process["pid"] for process in processes] == python, what, [process["pid"] for process in processes],
          "not", python)
    for process in processes:
        pid = process["pid"]
        check(pid == tree.root or process["ppid"] == tree.parents[pid], what, "parent of", pid, process["ppid"])
        check(len(process["threads"]) == 1, what, pid, "has", len(process["threads"]), "threads")
        frames = process["threads"][0]["frames"]
        names = [frame["name"] for frame in frames]
        check(process["threads"][0]["status"] == "complete" and names[-1] == "<module>" and
              names[0] == ("root" if pid == tree.root else "wait"), what, names)


def check_tree():
    with Tree([sys.executable, "-c", TREE]) as tree:
        for options in ([], ["--pause"]):
            status, output, errors = run_dump("--json", "--children", *options, tree.root)
            check((status, errors) == (0, left_out(tree.shell)), options, status, errors)
            check_document(options, tree, output)
            check(not any(states(pid) & {"t", "T"} for pid in tree.order), options, "some do not go on")
            some = run_dump("--json", "--children", *options, tree.root, tree.order[-1], tree.root)
            check_document("each once", tree, some[1])
            status, output, errors = run_dump("--children", *options, tree.root)
            check(status == 0 and re.findall(r"^Process (\d+)", output, re.MULTILINE) ==
                  [str(pid) for pid in tree.order if pid != tree.shell], "as text", output)
        status, output, errors = run_dump("--json", tree.root)
        check(len(json.loads(output)["processes"]) == 1 and errors == "", "without --children", errors)
        status, output, errors = run_dump("--json", "--children", tree.shell)
        below = [process["pid"] for process in json.loads(output)["processes"]]
        check((status, errors) == (0, left_out(tree.shell)) and
              below == [pid for pid in tree.parents if tree.parents[pid] == tree.shell], "of a shell", status, below)
        return len(tree.order)


def check_no_python():
    with Program(["sh", "-c", "echo; cat; exit 0"]) as program:
        status, output, errors = run_dump("--children", program.pid)
        check((status, output) == (1, "") and "process %d is not Python" % program.pid in errors, status, errors)
    status, output, errors = run_dump("--children", 2**31 - 1)
    check((status, errors) == (1, "pyunwind dump: there is no process 2147483647\n"), status, errors)


CATS = ALLOW + r'''
import subprocess
cats = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(60)]
print(*[cat.pid for cat in cats], flush=True)
sys.stdin.read(1)
'''


def check_many_left_out():
    """Each one that is left out is named, and no other: not a number of which half is missing."""
    with Program([sys.executable, "-c", CATS]) as program:
        cats = sorted(map(int, program.line.split()))
        status, _, errors = run_dump("--children", program.pid)
        check((status, errors) == (0, left_out(*cats)), "60 that are left out", status, errors)


def check_no_tree():
    """With no descriptor left to list the processes by: that is said, and is no success."""
    status, _, errors = run_dump("--children", "--output", "none", os.getpid(),
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4)))
    check((status, errors) == (1, "pyunwind dump: /proc: Too many open files\n"), "no descriptor left", status, errors)


FORKING = Counter.SOURCE + r'''
os.write(1, b"\n")
count = 0
while True:
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
    count += 1
    room[0:8] = count.to_bytes(8, "little")
'''


def check_forking():
    """Children that come and go: the parent is read, and all go on."""
    counter = Counter()
    with Program([sys.executable, "-c", FORKING, counter.path]) as program:
        for number in range(20):
            status, output, errors = run_dump("--json", "--children", *["--pause"][:number % 2], program.pid)
            pids = [process["pid"] for process in json.loads(output)["processes"]]
            check(status in (0, 1) and pids[:1] == [program.pid] and (status == 0) == ("process" not in errors),
                  "forking", status, pids, errors)
            counter.wait_until_it_goes_on()


def main():
    processes = check_tree()
    check_no_python()
    check_many_left_out()
    check_no_tree()
    check_forking()
    return finish("%d processes of a tree, each once and in order, and all go on; children that come and go" %
                  processes)


if __name__ == "__main__":
    sys.exit(main())
