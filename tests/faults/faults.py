"""
Run a command many times, and let another of its system calls fail each time: which calls there are is learned from a run
in which none does. The calls are held by a seccomp filter (fail.c), so that the command may trace and execute what it
likes. Runs on CPython 3.8 to 3.15.

A call is named as PROCESS:PROGRAM:PART:NAME:NTH, as `0:pyunwind:own:openat:3`: the third openat(2) that the first
process makes while it executes pyunwind. What a run has to be like is for each test to say.
"""

import collections
import errno
import fcntl
import json
import os
import random
import re
import subprocess
import sys
import time
import zlib

SOURCE = os.environ["PYUNWIND_SOURCE"]
BUILD = os.environ["PYUNWIND_BUILD"]
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from calls import ERRORS, NOT_FAILED  # noqa: E402
from compile import COMPILER, compile_program, compile_shared  # noqa: E402

COMMAND = os.path.join(BUILD, "pyunwind")
LIMIT = int(os.environ.get("FAULTS_LIMIT", "60"))  # seconds of one run: then it hangs. The longest limit of pyunwind's own is 10
FILTER = "-DFILTER=%d" % zlib.crc32(  # other headers make other programs
    b"".join(open(os.path.join(HERE, name), "rb").read() for name in ("filter.h", "half.h", "closed.h", "victim.h")))
FAIL = compile_program("fail", os.path.join(HERE, "fail.c"), os.path.join(HERE, "half.c"),
                       os.path.join(HERE, "closed.c"), os.path.join(HERE, "victim.c"), flags=["-I" + HERE, FILTER])
BEGIN = compile_shared("libbegin", os.path.join(HERE, "begin.c"), flags=["-I" + HERE, FILTER])

Call = collections.namedtuple("Call", "process program part name nth")


def call_numbers():
    """Of this machine, by name: as the compiler's headers have them."""
    done = subprocess.run(COMPILER + ["-E", "-dM", "-include", "sys/syscall.h", "-xc", "/dev/null"],
                          stdout=subprocess.PIPE, check=True)
    values = dict(re.findall(r"#define (__NR\w*) (\w+)\n", done.stdout.decode()))
    values = {name: values.get(value, value) for name, value in values.items()}  # aarch64 has other names for some
    return {name[len("__NR_"):]: int(value) for name, value in values.items()
            if name.startswith("__NR_") and value.isdigit()}


NUMBERS = call_numbers()
NAMES = {number: name for name, number in NUMBERS.items()}


class Run:
    """What became of a command."""

    def __init__(self, fault):
        self.fault = fault  # None, or text for messages
        self.hit = self.late = self.twice = self.killed = False
        self.status = None  # of wait(2)
        self.left = 0  # processes
        self.calls = []
        self.output = self.errors = b""
        self.seconds = 0.0

    def code(self):
        """As subprocess has it."""
        if self.status is None:
            return None
        return -os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else os.WEXITSTATUS(self.status)

    def describe(self):
        return "%s: status %s, left %d, output %r, errors %r" % (
            self.fault, "none: it hangs" if self.late else self.code(), self.left, self.output[:600], self.errors[:600])


def run(command, mark="start", call=None, error=None, environment=None, limit=LIMIT, cwd=None):
    """
    error: the name of an errno, `short`, or either with a + behind it: also of all later calls of this name. Or
    `dies/PID`, `gone/PID`, `dies#PROCESS`, `dies@PROGRAM` (fail.c).
    """
    log = os.path.join(os.getcwd(), "fail.log")
    arguments = [FAIL, log, str(limit), mark]
    fault = None
    if call is not None:
        name = error.rstrip("+")
        number = name if name.startswith(("short", "dies", "gone")) else str(-getattr(errno, name))
        fault = "%d:%s:%s:%s:%d%s %s" % (call + ("+" if error.endswith("+") else "", name))
        arguments.append("%d:%s:%s:%d:%d%s:%s" % (call.process, call.program, call.part, NUMBERS[call.name], call.nth,
                                                  "+" if error.endswith("+") else "", number))
    result = Run(fault)
    started = time.monotonic()
    with open("output", "w+b") as output, open("errors", "w+b") as errors:  # files: who stays behind keeps none waiting
        done = subprocess.run(arguments + ["--"] + [str(word) for word in command], stdin=subprocess.DEVNULL,
                              stdout=output, stderr=errors, env=environment, cwd=cwd, timeout=2 * limit)
        output.seek(0)
        errors.seek(0)
        result.output, result.errors = output.read(), errors.read()
    result.seconds = time.monotonic() - started
    if done.returncode != 0:
        raise AssertionError("fail: %r" % result.errors)
    with open(log, encoding="ascii") as file:
        for line in file:
            take_line(result, line.split())
    return result


def take_line(result, words):
    if words[0] == "call":
        name = NAMES.get(int(words[4]), words[4])
        if name == "fcntl" and int(words[7], 16) in (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL):
            name = "fcntl_flags"
        result.calls.append(Call(int(words[1]), words[2], words[3], name, int(words[5])))
    elif words[0] == "hit":
        result.hit = True
    elif words[0] == "twice":
        result.twice = True
    elif words[0] == "victim":
        result.killed = True
    elif words[0] == "late":
        result.late = True
    elif words[0] == "ended":
        result.status = int(words[1])
    elif words[0] == "left":
        result.left = int(words[1])


def may_hold():
    """None, or why no call can be held here."""
    try:
        run(["true"])
        return None
    except AssertionError as error:
        return str(error)


# ---- Which are to fail ----------------------------------------------------------------------------------------------


# Who asks again until it works would do so for ever.
NEVER_FOR_EVER = {"futex", "nanosleep", "clock_nanosleep", "poll", "ppoll", "wait4", "waitid", "epoll_wait"}


def unknown_names(calls):
    return sorted({call.name for call in calls} - set(ERRORS) - set(NOT_FAILED))


def chosen_occurrences(calls, every):
    """
    All of them; or of each name of each process the first three, the last two, and those between at powers of two, of the
    dynamic linker the first.
    """
    by_name = collections.OrderedDict()
    for call in calls:
        if call.name not in NOT_FAILED:
            by_name.setdefault(call[:4], []).append(call)
    for group in by_name.values():
        last = len(group)
        for at, call in enumerate(group, 1):
            if call.part == "loader" and not every:
                if at == 1:
                    yield call
            elif every or at <= 3 or at > last - 2 or at & at - 1 == 0:
                yield call


THIRD = 3
ALL = bool(os.environ.get("FAULTS_ALL"))  # tests/faults/run --all


def share():
    """
    (this interpreter's, of how many): each has another part of the faults, all of them together a third. A test that
    runs alone has the whole.
    """
    path = os.environ.get("PYUNWIND_PYTHONS")
    if ALL or path is None or os.environ.get("FAULTS_WHOLE"):
        return 0, 1
    with open(path, encoding="utf-8") as file:
        known = [os.path.realpath(python["executable"]) for python in json.load(file)]
    own = os.path.realpath(sys.executable)
    return (known.index(own) * THIRD, len(known) * THIRD) if own in known else (0, 1)


def own_share(possible):
    """This interpreter's; in another order each time where there is not time for all."""
    mine, count = share()
    mine = [fault for number, fault in enumerate(possible) if number % count == mine]
    until = float(os.environ.get("FAULTS_UNTIL", "inf"))
    if until != float("inf"):
        random.Random(int(time.time())).shuffle(mine)
    only = os.environ.get("FAULTS_ONLY", "").split()  # calls and errors: tests/faults/run --fail
    for call, error in mine:
        if time.time() > until:
            return
        if not only or call.name in only or error in only:
            yield call, error


def faults(calls):
    return own_share(all_faults(calls, ALL, "all" if ALL else "one"))


def endings(calls, victim):
    """(call, error): before it the victim (fail.c) is killed."""
    return own_share((call, victim) for call in chosen_occurrences(calls, ALL) if call.part == "own")


def all_faults(calls, every, errors):
    """
    (call, error) for each fault. every: all occurrences; errors: "all", or "one" for each call, in turn. The first of a
    name also fails for ever.
    """
    turn = collections.Counter()
    for call in chosen_occurrences(calls, every):
        possible = ERRORS[call.name]
        if errors == "all":
            picked = possible
        else:
            picked = [possible[turn[call.name] % len(possible)]]
            turn[call.name] += 1
        for error in picked:
            yield call, error
        if call.nth == 1 and call.name not in NEVER_FOR_EVER:
            yield call, next(error for error in possible if error != "short") + "+"


class Tally:
    """What a test did, and what was wrong."""

    def __init__(self):
        self.rows = collections.OrderedDict()  # of what was run: outcomes
        self.calls = collections.defaultdict(set)
        self.wrong = []
        self.runs = 0

    def add(self, what, run, outcome):
        self.runs += 1
        if run.seconds > 5:
            print("slow: %.1f s: %s" % (run.seconds, run.fault), flush=True)
        self.rows.setdefault(what, collections.Counter())[outcome] += 1
        if run.fault is not None:
            self.calls[what].add(run.fault.split(":")[3])

    def check(self, condition, *words):
        if not condition:
            self.wrong.append(" ".join(map(str, words)))
            print("WRONG:", self.wrong[-1][:3000], flush=True)
        return condition

    def finish(self):
        for what, outcomes in self.rows.items():
            told = ", ".join("%d %s" % (count, outcome) for outcome, count in sorted(outcomes.items()))
            print("%-40s %2d calls, %4d runs: %s" % (what, len(self.calls[what]), sum(outcomes.values()), told))
        names = set().union(*self.calls.values()) if self.calls else set()
        if self.wrong:
            print("%d of %d runs were wrong" % (len(self.wrong), self.runs))
            return 1
        print("%d runs, in each a system call failed: %d calls, none did harm" % (self.runs, len(names)))
        return 0


class Judged:
    """
    What is run with each fault of a share, one at a time. A subclass sets tally and what, and has run(call, error), which
    runs it, and judge(done), the outcome in words.
    """

    def each(self, calls):
        self.each_of(faults(calls))

    def each_named(self, calls, name, error, step=1):
        """Whatever the share: what has gone wrong once."""
        named = [call for call in calls if call.name == name and call.part == "own"]
        self.tally.check(named, self.what, "makes no call of", name)
        self.each_of((call, error) for call in named[::step])

    def each_of(self, faults):
        for call, error in faults:
            done = self.run(call, error)
            self.tally.check(not done.twice or call.part == "loader", self.what, "closes a descriptor twice:",
                             done.describe())
            self.tally.add(self.row_of(call), done, self.judge(done) if done.hit else "not reached")

    def row_of(self, call):
        """What it is counted under."""
        return self.what


def test(body):
    """Run a test, which is given its tally: the exit status."""
    why = may_hold()
    if why is not None:
        print(why)
        return 77
    tally = Tally()
    body(tally)
    return tally.finish()
