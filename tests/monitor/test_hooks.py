# interpreters: host
"""
The hook of `pyunwind run`, and what it must not do: keep signals from the program while it runs, be taken for a part of
the program, be run twice at a time, outlive its time.
"""

import json
import os
import signal
import subprocess
import sys

from running import (OPTIONS, check, end, finish, is_watched, may_trace, python, read_line, reports, start,
                     under, wait_until)

# Its children wait, and are waited for; SIGUSR1 is told.
PARENT = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"usr1\\n"))
def in_child():
    os.read(gate, 1)
gate, other = os.pipe()
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        in_child()
    os.write(1, b"%d\\n" % pid)
for _ in range(2):
    os.write(1, b"%d\\n" % os.wait()[1])
sys.stdin.readline()
"""

# Says that it runs, and for which report, and waits until it is told to go on.
HOOK = "echo $$ \"$1\" >> began; read line < gate; echo \"$1\" >> ended"


def lines_of(name):
    try:
        with open(name, encoding="utf-8") as file:
            return file.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def go_on(gate):
    """False: nobody waits there yet."""
    try:
        fd = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(fd, b"\n")
    os.close(fd)
    return True


def check_signals():
    """Two processes are killed. While their hooks run, which is one after the other, a signal is passed on."""
    os.mkfifo("gate")
    process = start(under(python(PARENT), ["--hook", HOOK]), stdin=subprocess.PIPE)
    try:
        pids = [int(read_line(process.stdout)) for _ in range(2)]
        for pid in pids:
            wait_until(lambda: is_watched(process.pid, pid), "the monitor watches %d" % pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            check(read_line(process.stdout) == b"9\n", "the parent is told")
        for number in (1, 2):
            wait_until(lambda: len(lines_of("began")) == number, "hook %d begins" % number)
            os.kill(process.pid, signal.SIGUSR1)
            check(read_line(process.stdout) == b"usr1\n", "a signal during hook", number)
            began = lines_of("began")
            check(len(began) == number, "hooks that run at a time:", began)
            check(os.path.exists("/proc/" + began[number - 1].split()[0]), "the signal came after hook", number)
            wait_until(lambda: go_on("gate"), "hook %d waits" % number)
            wait_until(lambda: len(lines_of("ended")) == number, "hook %d ends" % number)
        process.stdin.write(b"\n")
        check(process.wait() == 0, "the program ended with", process.returncode)
    finally:
        end(process)
    told = lines_of("ended")
    check([line.split()[1] for line in lines_of("began")] == told and all(os.path.exists(path) for path in told), "hooks of", told)
    check(sorted(json.load(open(path))["pid"] for path in told) == sorted(pids), "hooks of", told, "for", pids)
    check(len(reports()) == 2, "reports")
    for name in ("gate", "began", "ended"):
        os.unlink(name)


KILLED = "import os, sys; sys.stdin.readline()"


def check_python_hook():
    """One that is Python itself, and is ended when its time is over, leaves no report, and does not run for one."""
    hook = "echo $$ >> began; exec '%s' -S -c 'import time; time.sleep(1000)'" % sys.executable
    process = start(under(python("import os; print(os.getpid(), flush=True); " + KILLED),
                          ["--hook", hook, "--time-limit", "2"]), stdin=subprocess.PIPE)
    try:
        pid = int(read_line(process.stdout))
        wait_until(lambda: is_watched(process.pid, pid), "the monitor watches it")
        os.kill(pid, signal.SIGKILL)
        check(process.wait() == -signal.SIGKILL, "a kill:", process.returncode)
    finally:
        end(process)
    began = lines_of("began")
    check(len(began) == 1 and not os.path.exists("/proc/" + began[0]), "hooks:", began)
    found = [report["pid"] for report in reports()]
    check(found == [pid], "reports of", found, "but for", pid)
    os.unlink("began")


def main():
    check_signals()
    check_python_hook()
    traced = "not possible here"
    if may_trace():
        OPTIONS.append("--trace-kills")
        check_signals()
        check_python_hook()
        traced = "likewise"
    return finish("signals are passed on while hooks run, one at a time; hooks leave no reports; with --trace-kills %s"
                  % traced)


if __name__ == "__main__":
    sys.exit(main())
