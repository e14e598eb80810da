# interpreters: each
"""
A process that begins to execute Python between two looks of the monitor, and is killed before the next: it leaves a
report all the same, which tells nothing of the program that it was before. And the monitor leaves no core of its own.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile

from running import check, environment, finish, python, reports, run, under

KILL = "import os; os.kill(os.getpid(), 9)"
QUIT = "import os, signal; signal.signal(signal.SIGQUIT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGQUIT)"


def check_late():
    """The shell works for long enough that the monitor looks only now and then."""
    command = ["/bin/sh", "-c", "sleep 0.3; exec \"$0\" -S -c '%s'" % KILL, sys.executable]
    outcome = run(under(command))
    check(outcome.status == -signal.SIGKILL, "a late Python ended with", outcome.status)
    found = reports()
    check(len(found) == 1, "a late Python has left", len(found), "reports")
    for report in found:
        check(report["diagnosis"]["cause"] == "killed", report["diagnosis"])
        check(report["command"] in (None, [sys.executable, "-S", "-c", KILL]), report["command"])
        check(report["executable"] in (None, os.path.realpath(sys.executable)), report["executable"])


def allow_core():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def cores_of(command):
    """(whether its parent is told of a core, how many core files there are)."""
    place = tempfile.mkdtemp(prefix="cores-")
    child = os.fork()
    if child == 0:
        allow_core()
        os.chdir(place)
        os.execve(command[0], command, environment())
    _, status = os.waitpid(child, 0)
    count = len(os.listdir(place))
    shutil.rmtree(place)
    return os.WCOREDUMP(status), count


def check_core():
    """What was compared, in words."""
    told, alone = cores_of(python(QUIT))
    told_by_monitor, monitored = cores_of(under(python(QUIT)))
    check(alone == monitored and not told_by_monitor, alone, "cores alone,", monitored, "with the monitor,",
          told_by_monitor)
    reports()
    return "one core file" if told and alone else "core files NOT COMPARED: none is written to the working folder here"


def main():
    check_late()
    cores = check_core()
    return finish("a kill of a late Python is told; %s" % cores)


if __name__ == "__main__":
    sys.exit(main())
