"""
For the tests of `pyunwind run`: the command, its report folder, and programs run bare and under it. Runs on CPython
3.8 to 3.15.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

BUILD = os.environ["PYUNWIND_BUILD"]
COMMAND = os.path.join(BUILD, "pyunwind")
FOLDER = os.path.join(os.getcwd(), "reports")
LIMIT = 60
OPTIONS = []  # of `pyunwind run`, in all that follows

failures = []


def check(condition, *words):
    if not condition:
        failures.append(" ".join(map(str, words))[:4000])
        print("WRONG:", failures[-1], flush=True)


def finish(summary):
    print("%d were wrong" % len(failures) if failures else summary)
    return 1 if failures else 0


def environment(**more):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYUNWIND_", "XDG_", "LD_"))}
    if "PYUNWIND_SANITIZED" in os.environ:  # the sanitizers' runtime has to come before libc
        inherited["LD_PRELOAD"] = os.environ["LD_PRELOAD"]
    return {**inherited, **more}


def under(command, options=()):
    return [COMMAND, "run", "--report-dir", FOLDER, *OPTIONS, *options, *command]


def may_trace():
    """Whether --trace-kills is possible here; else it says why not."""
    outcome = run([COMMAND, "run", "--report-dir", FOLDER, "--trace-kills", "true"])
    if outcome.status == 0:
        return True
    check(outcome.status == 125 and b"--trace-kills is not possible here: " in outcome.errors, outcome.errors)
    print("NOT CHECKED with --trace-kills:", outcome.errors.decode(errors="replace").strip())
    return False


def python(code, *arguments):
    return [sys.executable, "-c", code, *arguments]


class Outcome:
    def __init__(self, process, output, errors):
        self.status, self.output, self.errors = process.returncode, output, errors


def run(command, **how):
    """Its exit status (as subprocess tells it), standard output and standard error."""
    how.setdefault("env", environment())
    how.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    output, errors = process.communicate(timeout=LIMIT)
    return Outcome(process, output, errors)


def wait_until(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never came about: %s" % what)
        time.sleep(0.005)


def reports():
    """Those in the folder, oldest first; afterwards there are none."""
    found = []
    if not os.path.isdir(FOLDER):
        return found
    for name in sorted(os.listdir(FOLDER)):
        path = os.path.join(FOLDER, name)
        check(name.endswith(".json") and not name.startswith("."), "left in the folder:", name)
        with open(path, encoding="utf-8") as file:
            found.append(json.load(file))
        os.unlink(path)
    return found


def state_of(pid):
    """'R', 'S', 'T', 'Z', ...; '' for one that is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def tracer_of(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as file:
        return int([line for line in file if line.startswith("TracerPid:")][0].split()[1])


def is_of_command(pid):
    """Another process of pyunwind itself, as the one that watches over the monitor."""
    try:
        return os.path.samefile("/proc/%s/exe" % pid, COMMAND)
    except OSError:
        return False


def children_of(pid):
    """But those of pyunwind itself."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry, "rb") as file:
                    if int(file.read().rsplit(b")", 1)[1].split()[1]) == pid and not is_of_command(entry):
                        found.append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def is_watched(monitor, pid):
    """Has the monitor looked at it? Then it waits, among others for the end of a descriptor of it."""
    pidfds, waited_for = set(), set()
    try:
        for fd in os.listdir("/proc/%d/fdinfo" % monitor):
            with open("/proc/%d/fdinfo/%s" % (monitor, fd)) as file:
                text = file.read()
            if "\nPid:\t%d\n" % pid in text:
                pidfds.add(int(fd))
            waited_for.update(int(line.split()[1]) for line in text.splitlines() if line.startswith("tfd:"))
        with open("/proc/%d/wchan" % monitor) as file:
            where = file.read()
    except FileNotFoundError:
        return False
    return bool(pidfds & waited_for) and ("poll" in where or where in ("", "0")) and state_of(monitor) == "S"


def read_line(stream):
    ready, _, _ = select.select([stream], [], [], LIMIT)
    if not ready:
        raise AssertionError("nothing came")
    return stream.readline()


def start(command, **how):
    how.setdefault("env", environment())
    how.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, **how)


def end(process):
    """Whatever has happened: nothing is left of it."""
    for pid in [*children_of(process.pid), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
