# interpreters: each
"""
A process that begins to execute Python between two looks of the monitor, and is killed before the next: it leaves a
report all the same, which tells nothing of the program that it was before. And the monitor leaves no core of its own.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

from running import (SANITIZED, check, end, environment, finish, is_watched, python, read_line, reports, run, start,
                     state_of, under, wait_until)

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


def has_heard(monitor, pid):
    """Has the monitor, which watched it, been told that it ends? Then it waits no more for its descriptor."""
    with open("/proc/%d/fdinfo/%d" % (monitor, descriptor_of(monitor, "anon_inode:[eventpoll]"))) as file:
        lines = [line.split() for line in file if line.startswith("tfd:")]
    pidfds = [fd for fd in os.listdir("/proc/%d/fd" % monitor) if is_of(monitor, fd, pid)]
    return not any(words[1] in pidfds and int(words[3], 16) & 1 for words in lines)


def descriptor_of(monitor, what):
    folder = "/proc/%d/fd" % monitor
    for fd in os.listdir(folder):
        try:
            if os.readlink(os.path.join(folder, fd)) == what:
                return int(fd)
        except FileNotFoundError:
            pass
    raise AssertionError("the monitor has no %s" % what)


def is_of(monitor, fd, pid):
    try:
        with open("/proc/%d/fdinfo/%s" % (monitor, fd)) as file:
            return "\nPid:\t%d\n" % pid in file.read()
    except FileNotFoundError:  # it looks at processes meanwhile, by other descriptors
        return False


def check_late_below():
    """The same of a process whose parent is not the monitor, and which that one waits for only when it is told to."""
    code = ("import subprocess, sys\nchild = subprocess.Popen(['/bin/sh', '-c', %r, sys.executable])\n"
            "print(child.pid, flush=True)\nsys.stdin.readline()\nprint(child.wait(), flush=True)\n"
            % ("sleep 0.3; exec \"$0\" -S -c '%s'" % KILL))
    process = start(under(python(code)), stdin=subprocess.PIPE)
    try:
        pid = int(read_line(process.stdout))
        wait_until(lambda: is_watched(process.pid, pid) or state_of(pid) == "Z", "the monitor watches %d" % pid)
        wait_until(lambda: state_of(pid) == "Z" and has_heard(process.pid, pid), "its end is heard of")
        process.stdin.write(b"\n")
        process.stdin.flush()
        check(read_line(process.stdout) == b"-9\n", "the parent is told")
        check(process.wait() == 0, process.returncode)
    finally:
        end(process)
    found = reports()
    check(len(found) == 1, "a late Python below has left", len(found), "reports")
    for report in found:
        check(report["diagnosis"]["cause"] == "killed" and report["pid"] == pid, report["diagnosis"], report["pid"])


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
    if not SANITIZED:
        check_late_below()
    cores = check_core()
    return finish("a kill of a late Python is told; %s" % cores)


if __name__ == "__main__":
    sys.exit(main())
