# interpreters: host
# weight: heavy
"""The command under valgrind's memcheck: every subcommand on real targets, without an error and without a leak.

AddressSanitizer sees a build of its own; memcheck sees the command that is delivered, elfutils and jansson included, and
what is read before it was written. The targets are programs of two interpreters: one that is known by a table and one
that describes itself (3.13+).
"""

import glob
import json
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE, BUILD = os.environ["PYUNWIND_SOURCE"], os.environ["PYUNWIND_BUILD"]
COMMAND = os.path.join(BUILD, "pyunwind")

ERROR = 99
# What is possibly lost are the blocks of threads that run on while the command ends.
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=%d" % ERROR, "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect", "--child-silent-after-fork=yes"]

PROGRAM = """
import sys, threading
def stand(depth, words={"a": [1, 2.5, None], "b": "text"}):
    if depth:
        return stand(depth - 1)
    return sys.stdin.readline()
threading.Thread(target=threading.Event().wait, args=(600,), daemon=True).start()
print("ready", flush=True)
stand(20)
"""
CRASH = "import ctypes\ndef die():\n    ctypes.string_at(0)\ndie()"

logs = tempfile.mkdtemp(dir=os.getcwd(), prefix="valgrind-")
runs = 0


def read_log():
    """What valgrind said since the last time."""
    text = ""
    for path in sorted(glob.glob(os.path.join(logs, "*"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            # What begins with "--" is about valgrind itself: a system call that it does not know, and refuses (ENOSYS).
            text += "".join(line for line in file if not line.startswith("--"))
        os.unlink(path)
    return text


def run(what, *arguments, status=(0,), input=None, **environment):
    """The standard output of the command under valgrind."""
    global runs
    runs += 1
    done = subprocess.run([*VALGRIND, "--log-file=%s/%%p" % logs, COMMAND, *map(str, arguments)],
                          env={**os.environ, **environment}, input=input, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    said = read_log()
    if done.returncode not in status or said:
        sys.exit("%s: exit status %d\n%s\n%s" % (what, done.returncode, said, done.stderr.decode(errors="replace")))
    return done.stdout


def names(stack):
    return [frame["name"] for frame in stack["frames"] if frame["kind"] == "python"]


def check_dump(python, ways):
    """Of a process that stands still, its core file included."""
    process = subprocess.Popen([python, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        for options in ways:
            output = run("dump %s" % options, "dump", *options, process.pid)
            threads = json.loads(output)["processes"][0]["threads"] if "--json" in options else []
            assert any(names(stack).count("stand") == 21 for stack in threads) or output.count(b"stand") >= 21, output
        done = subprocess.run(["gcore", "-o", "memory", str(process.pid)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode(errors="replace")
    finally:
        process.kill()
        process.communicate()
    core = "memory.%d" % process.pid
    for options in ways[:1]:
        output = run("core %s" % options, "core", *options, core, status=(0, 1))
        assert b"stand" in output, output
    subprocess.run(["truncate", "--size=%d" % (os.path.getsize(core) // 2), core], check=True)
    run("core, truncated", "core", "--json", core, status=(0, 1))
    os.unlink(core)


def check_refusals():
    run("dump of no process", "dump", 1 << 22, status=(1,))
    run("dump of what is not Python", "dump", os.getppid(), status=(0, 1))
    run("core of what is none", "core", COMMAND, status=(1,))
    run("report of what is none", "report", COMMAND, status=(1,))
    run("help", "--help")
    run("wrong usage", "dump", "--no-such-option", status=(2,))


def show_reports(reports, folder):
    for options in ([], ["--verbose"], ["--markdown", "--budget=1000"], ["--json"]):
        run("report %s" % options, "report", *options, *reports)
    assert run("report --list", "report", "--list", folder)
    run("report --prune", "report", "--prune", "--keep=0", folder)
    assert not glob.glob(os.path.join(folder, "*.json"))


def check_crash(python, whole):
    """The monitor, the sidecar, and what shows the report that they leave."""
    folder = tempfile.mkdtemp(dir=os.getcwd(), prefix="reports-")
    run("run, a crash", "run", "--report-dir", folder, "--", python, "-c", CRASH, status=(-signal.SIGSEGV, 139))
    if whole:
        run("run, an end", "run", "--report-dir", folder, "--", python, "-c", "print(1)")
        run("run, killed", "run", "--report-dir", folder, "--", python, "-c", "import os; os.kill(os.getpid(), 9)",
            status=(-signal.SIGKILL, 137))
    reports = glob.glob(os.path.join(folder, "*.json"))
    assert reports, os.listdir(folder)
    if whole:
        show_reports(reports, folder)


def check_collect(python):
    """The sidecar, which the crashing process itself starts: a helper of ours puts valgrind in front of it."""
    global runs
    folder, helper = tempfile.mkdtemp(dir=os.getcwd(), prefix="collected-"), os.path.abspath("helper")
    with open(helper, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\nexec %s --log-file=%s/%%p %s "$@"\n' % (" ".join(VALGRIND), logs, COMMAND))
    os.chmod(helper, 0o755)
    program = ("import os, sys\nsys.path.insert(0, os.path.join(os.environ['PYUNWIND_SOURCE'], 'tests', 'support'))\n"
               "import crash\ncrash.install(time_limit=300000)\n" + CRASH)
    done = subprocess.run([python, "-c", program], stdin=subprocess.DEVNULL,
                          env=dict(os.environ, PYUNWIND_REPORT_DIR=folder, PYUNWIND_HELPER=helper))
    runs += 1
    said, reports = read_log(), glob.glob(os.path.join(folder, "*.json"))
    assert done.returncode == -signal.SIGSEGV and len(reports) == 1 and not said, (done, reports, said)


def check_can_fail():
    """A program that forgets what it allocated is found."""
    program = "int main(void) { char *volatile p = __builtin_malloc(9); p = 0; return p != 0; }"
    subprocess.run(["gcc", "-x", "c", "-", "-o", "leaks"], input=program.encode(), check=True)
    done = subprocess.run([*VALGRIND, "--log-file=%s/%%p" % logs, "./leaks"])
    assert done.returncode == ERROR and "definitely lost" in read_log(), "a leak was not found"


def main():
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    check_can_fail()
    check_refusals()
    ways = [["--json", "--native", "--locals"], ["--json", "--pause"], ["--json", "--pause", "--native"], ["--children"]]
    chosen = pythons[:1] + pythons[-1:] if len(pythons) > 1 else pythons
    for n, python in enumerate(chosen):
        check_dump(python["executable"], ways if n == 0 else ways[:1])
        check_crash(python["executable"], n == 0)
        check_collect(python["executable"])
    print("0 errors, 0 leaks in %d runs of the command, on %s" % (
        runs, ", ".join(python["label"] for python in chosen)))


if __name__ == "__main__":
    sys.exit(main())
