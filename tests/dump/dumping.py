"""
For the tests of `pyunwind dump`: start a program that is to be looked at, run the command, and compare what it says
with what the program said of itself.
"""

import ctypes
import json
import os
import subprocess
import sys

BUILD = os.environ["PYUNWIND_BUILD"]
COMMAND = os.path.join(BUILD, "pyunwind")
HERE = os.path.dirname(os.path.abspath(__file__))
SUBJECT = os.path.join(HERE, "subject.py")
LOOKS = 100  # at a thread that waits for the GIL, until it runs
HAS_COLUMNS = HAS_QUALNAME = sys.version_info >= (3, 11)

PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)
LIBC = ctypes.CDLL(None)

failures = []


def check(condition, *words):
    if not condition:
        failures.append(" ".join(map(str, words)))
        print("WRONG:", *words)


def run_dump(*arguments, **options):
    """(exit status, standard output, standard error) of the command."""
    done = subprocess.run([COMMAND, "dump"] + [str(word) for word in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def dump_one(what, pid, *arguments, **options):
    """The process object of the one process, or None."""
    status, output, errors = run_dump("--json", *arguments, pid, **options)
    check(status == 0 and errors == "", what, "exit status", status, errors)
    if status != 0:
        return None
    document = json.loads(output)
    check(document["schema"] == "pyunwind.dump/1" and len(document["processes"]) == 1, what, output[:200])
    return document["processes"][0]


def allow_reading():
    """For a child before its exec: where Yama lets only ancestors read, the command is let too. Elsewhere it fails."""
    LIBC.prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)


class Program:
    """A started program, which has said its first line, and stands still; it is ended with the context."""

    def __init__(self, command, environment=None):
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
        inherited.update(environment or {}, PYTHONDONTWRITEBYTECODE="1")
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=inherited,
                                        preexec_fn=allow_reading)
        self.pid = self.process.pid
        self.line = self.process.stdout.readline()

    def next_line(self):
        """Let it go on, to its next line."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Subject(Program):
    """subject.py, or a program that runs it, and what it said of itself."""

    def __init__(self, *kinds, command=None, environment=None):
        environment = dict(environment or {}, SUBJECT=",".join(kinds))
        super().__init__(command or [sys.executable, SUBJECT], environment)
        assert self.line.endswith(b"\n"), "%s said nothing" % self.command
        wait_until_reading(self.pid)
        wait_until_still(self.pid, json.loads(self.line.decode()))
        self.truth = json.loads(self.next_line().decode())
        wait_until_reading(self.pid)


def task_name(pid, task):
    with open("/proc/%d/task/%d/comm" % (pid, task), "rb") as file:
        return file.read()[:-1].decode("utf-8", "replace")


def stillness(pid, tasks):
    """(state, times that it went to sleep) of each task."""
    states = []
    for task in tasks:
        with open("/proc/%d/task/%d/status" % (pid, task), encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        states.append((fields["State"].split()[0], int(fields["voluntary_ctxt_switches"])))
    return states


def wait_until_still(pid, tasks):
    """
    They are about to block, and the main thread does, without the GIL: until all of them sleep, and none has woken up
    to go on to the next thing between two looks at all.
    """
    before = None
    while True:
        now = stillness(pid, tasks)
        if now == before and all(state == "S" for state, _ in now):
            return
        before = now
        os.sched_yield()


def wait_until_reading(pid):
    """The main thread has said its line: until it is in read(0, ...), and holds nothing that it needed before."""
    reading = {"x86_64": b"0 0x0 ", "aarch64": b"63 0x0 "}[os.uname().machine]
    while True:
        with open("/proc/%d/syscall" % pid, "rb") as file:
            if file.read().startswith(reading):
                return
        os.sched_yield()


# ---- Comparison -----------------------------------------------------------------------------------------------------


def told_frames(stack):
    return [{"filename": filename, "name": name, "qualname": qualname, "lineno": lineno}
            for filename, name, qualname, lineno in stack]


def dumped_frames(frames):
    return [{key: frame[key] for key in ("filename", "name", "qualname", "lineno")} for frame in frames]


def first_difference(got, wanted):
    for number in range(max(len(got), len(wanted))):
        left, right = (part[number] if number < len(part) else None for part in (got, wanted))
        if left != right:
            return "frame %d of %d is %.300s, expected of %d %.300s" % (number, len(got), left, len(wanted), right)
    return None


def compare_stack(what, thread, told):
    got, wanted = dumped_frames(thread["frames"]), told_frames(told["stack"])
    if told["moves"] and len(got) == len(wanted) + 1:
        check(got[0]["name"] == "nothing", what, "a frame", got[0], "which nobody calls")
        got = got[1:]
    difference = first_difference(got, wanted)
    check(difference is None, what, difference)
    check(thread["status"] == "complete", what, "is", thread["status"])
    check(thread["unconfirmed"] == 0 or (told["moves"] and thread["unconfirmed"] == 1), what, thread["unconfirmed"],
          "unconfirmed")
    for frame in thread["frames"]:
        check(frame["kind"] == "python", what, frame)
        check((frame["colno"] is not None) == HAS_COLUMNS, what, "columns", frame)


def state_beside_others(pid, thread):
    """On 3.15, which tells, one that runs waits for the GIL at moments, when others ask for it: then it is looked at again."""
    for _ in range(LOOKS):
        if thread["state"] != "waiting_for_gil":
            break
        thread = next(other for other in dump_one("again", pid)["threads"] if other["native_id"] == thread["native_id"])
    return thread["state"]


def compare_thread(what, pid, thread, told):
    compare_stack(what, thread, told)
    check(thread["native_id"] == told["native_id"], what, "native id", thread["native_id"], "not", told["native_id"])
    check(thread["name"] == task_name(pid, told["native_id"]), what, "name", thread["name"])
    state = "running" if told["moves"] else "idle"
    seen = state_beside_others(pid, thread) if told["moves"] else thread["state"]
    check(seen == state, what, "is", seen, "not", state)


def compare_process(what, process, truth):
    """How many frames were compared."""
    frames = 0
    check(process["pid"] == truth["pid"], what, "pid", process["pid"])
    check(process["ppid"] == os.getpid(), what, "ppid", process["ppid"])
    version = truth["version"].rstrip("+")
    check(process["python"]["version"] == version, what, "version", process["python"]["version"], "not", version)
    check(process["uptime"] >= 0, what, "uptime", process["uptime"])
    for told in truth["threads"]:
        found = [thread for thread in process["threads"] if thread["thread_id"] == told["thread_id"] and
                 thread["interpreter_id"] == told["interpreter_id"] and thread["frames"]]
        label = "%s, thread %d of interpreter %d" % (what, told["native_id"], told["interpreter_id"])
        check(len(found) == 1, label, "is there", len(found), "times")
        if len(found) == 1:
            compare_thread(label, truth["pid"], found[0], told)
            frames += len(told["stack"])
    with_frames = [thread for thread in process["threads"] if thread["frames"]]
    check(len(with_frames) == len(truth["threads"]), what, len(with_frames), "threads, expected", len(truth["threads"]))
    return frames


def compare_subject(what, subject, *arguments, **options):
    process = dump_one(what, subject.pid, *arguments, **options)
    return compare_process(what, process, subject.truth) if process else 0


def finish(summary):
    if failures:
        print("%d wrong; the first: %s" % (len(failures), failures[0]))
        return 1
    print(summary)
    return 0
