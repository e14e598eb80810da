# interpreters: host
"""
`pyunwind run` and signals: passed on, job control on a terminal (Ctrl-C, Ctrl-Z, a hang-up), stop and go on; a monitor
that is killed; the first process of a pid namespace. The oracle is what the program, and its parent, see without it.
"""

import errno
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

from running import (LIMIT, OPTIONS, check, children_of, end, environment, finish, may_trace, python, read_line, reports,
                     run, start, state_of, under, wait_until)

# Prints each signal that it sees; ends when it has seen SIGTERM twice, or a line.
SHOW = r"""
import os, signal, sys
def show(number, frame):
    os.write(1, b"%s\n" % signal.Signals(number).name.encode())
    if number == signal.SIGQUIT: os._exit(9)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT,
               signal.SIGCONT, signal.SIGWINCH, signal.SIGALRM):
    signal.signal(number, show)
os.write(1, b"ready\n")
while True:
    signal.pause()
"""


def check_passed_on():
    process = start(under(python(SHOW)))
    try:
        check(read_line(process.stdout) == b"ready\n", "not ready")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
                       signal.SIGWINCH):
            process.send_signal(number)
            seen = read_line(process.stdout)
            check(seen == number.name.encode() + b"\n", number, "was seen as", seen)
        process.send_signal(signal.SIGQUIT)
        check(read_line(process.stdout) == b"SIGQUIT\n" and process.wait() == 9, "SIGQUIT", process.returncode)
    finally:
        end(process)
    process = start(under(["sleep", "1000"]))
    try:
        process.send_signal(signal.SIGTERM)
        check(process.wait() == -signal.SIGTERM, process.returncode)
    finally:
        end(process)
    # What the program sends to its own group is not passed on once more.
    code = SHOW.replace('os.write(1, b"ready\\n")', 'os.kill(0, signal.SIGUSR1); os.kill(os.getppid(), signal.SIGUSR2)\n'
                        'os.write(1, b"ready\\n")')
    process = start(under(python(code)), start_new_session=True)
    try:
        check([read_line(process.stdout), read_line(process.stdout)] == [b"SIGUSR1\n", b"ready\n"], "its own group")
        process.send_signal(signal.SIGQUIT)
        check(read_line(process.stdout) == b"SIGQUIT\n" and process.wait() == 9, "its own group")
    finally:
        end(process)


def check_stops():
    """The program stopped alone, and continued alone; the monitor follows. A group of its own: a job of this shell."""
    process = start(under(python(SHOW)), preexec_fn=os.setpgrp)
    try:
        read_line(process.stdout)
        program, = children_of(process.pid)
        for stop in (signal.SIGSTOP, signal.SIGTSTP):
            os.kill(program, stop)
            pid, status = os.waitpid(process.pid, os.WUNTRACED)
            check(os.WIFSTOPPED(status) and os.WSTOPSIG(status) == stop, stop, "ends with", status)
            check(state_of(program) == "T", "state", state_of(program))
            os.kill(program, signal.SIGCONT)
            check(read_line(process.stdout) == b"SIGCONT\n", "no SIGCONT")
            os.waitpid(process.pid, os.WCONTINUED)
            # And by the monitor.
            os.kill(program, stop)
            os.waitpid(process.pid, os.WUNTRACED)
            process.send_signal(signal.SIGCONT)
            check(read_line(process.stdout) == b"SIGCONT\n", "no SIGCONT by the monitor")
            os.waitpid(process.pid, os.WCONTINUED)
        process.send_signal(signal.SIGQUIT)
        check(read_line(process.stdout) == b"SIGQUIT\n" and process.wait() == 9, "after stops", process.returncode)
    finally:
        end(process)


class Terminal:
    """A shell's part: a session with a terminal, the command a foreground job of its own group."""

    def __init__(self, command):
        self.master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.told, tells = os.pipe()
        self.commands, orders = os.pipe()
        self.orders = orders
        self.session = os.fork()
        if self.session == 0:
            try:
                os.close(self.master)
                os.close(self.told)
                os.close(orders)
                self.be_shell(command, slave, tells)
            finally:
                os._exit(1)
        os.close(slave)
        os.close(tells)
        os.close(self.commands)
        self.seen = b""

    def be_shell(self, command, slave, tells):
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            for number in (signal.SIGTTOU, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.execve(command[0], command, environment())
        os.write(tells, b"job %d\n" % job)
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                os.tcsetpgrp(0, os.getpgrp())
                os.write(tells, b"stopped %d\n" % os.WSTOPSIG(status))
                os.read(self.commands, 1)
                os.tcsetpgrp(0, job)
                os.kill(-job, signal.SIGCONT)
                continue
            os.write(tells, b"ended %d\n" % status)
            os._exit(0)

    def told_line(self):
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.told], [], [], LIMIT)
            byte = os.read(self.told, 1) if ready else b""
            if not byte:
                return line
            line += byte
        return line.decode().split()

    def expect(self, text):
        deadline = time.monotonic() + LIMIT
        while text not in self.seen and time.monotonic() < deadline:
            ready, _, _ = select.select([self.master], [], [], LIMIT)
            try:
                part = os.read(self.master, 4096) if ready else b""
            except OSError as error:
                part = b"" if error.errno == errno.EIO else b"?"
            if not part:
                break
            self.seen += part
        check(text in self.seen, "the terminal shows", self.seen, "not", text)
        self.seen = self.seen.split(text, 1)[-1]

    def close(self):
        for fd in (self.master, self.told, self.orders):
            try:
                os.close(fd)
            except OSError:
                pass
        os.waitpid(self.session, 0)


def on_terminal(command):
    """What a program sees of Ctrl-C, Ctrl-Z and fg; and what its shell sees of it."""
    seen = []
    terminal = Terminal(command)
    job = int(terminal.told_line()[1])
    terminal.expect(b"ready\r\n")
    os.write(terminal.master, b"\x03")
    terminal.expect(b"SIGINT\r\n")
    os.write(terminal.master, b"\x1a")
    seen.append(terminal.told_line())
    os.write(terminal.orders, b"f")
    terminal.expect(b"SIGCONT\r\n")
    os.write(terminal.master, b"\x03")
    terminal.expect(b"SIGINT\r\n")
    seen.append(terminal.seen)
    os.write(terminal.master, b"\x1c")
    terminal.expect(b"SIGQUIT\r\n")
    seen.append(terminal.told_line())
    terminal.close()
    check(state_of(job) in ("", "Z"), "the job is still there")
    return seen


def check_terminal():
    bare, monitored = on_terminal(python(SHOW)), on_terminal(under(python(SHOW)))
    check(bare == monitored == [["stopped", str(int(signal.SIGTSTP))], b"", ["ended", str(9 << 8)]], bare, monitored)
    # Ctrl-C without a handler.
    for command in (["/bin/cat"], under(["/bin/cat"])):
        terminal = Terminal(command)
        terminal.told_line()
        os.write(terminal.master, b"hello\n")
        terminal.expect(b"hello\r\n")
        os.write(terminal.master, b"\x03")
        check(terminal.told_line() == ["ended", str(int(signal.SIGINT))], command, "Ctrl-C")
        terminal.close()


def check_killed_monitor():
    """The program goes on, and its own handlers still report."""
    code = SHOW.replace("signal.pause()", "signal.pause()\n    import ctypes\n    ctypes.string_at(0)")
    process = start(under(python(code)))
    program = None
    try:
        read_line(process.stdout)
        program, = children_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: program not in children_of(process.pid), "the program has another parent")
        check(state_of(program) in ("S", "R"), "the program ended with its monitor")
        os.kill(program, signal.SIGUSR1)
        check(read_line(process.stdout) == b"SIGUSR1\n", "the program is gone")
        wait_until(lambda: state_of(program) in ("", "Z"), "the end of the program")
    finally:
        if program is not None and state_of(program) not in ("", "Z"):
            os.kill(program, signal.SIGKILL)
        end(process)
    found = reports()
    check(len(found) == 1 and found[0]["signal"]["name"] == "SIGSEGV", "a killed monitor", found)


def check_orphans_reaped():
    """As the first process of a system does: no zombie stays."""
    code = "(sleep 0 & echo $!; exit); read line; exit 6"
    process = start(under(["/bin/sh", "-c", code]), stdin=subprocess.PIPE)
    try:
        orphan = int(read_line(process.stdout))
        wait_until(lambda: state_of(orphan) == "", "the orphan is reaped")
        process.stdin.write(b"\n")
        check(process.wait() == 6, process.returncode)
    finally:
        end(process)


def check_first_process():
    """Of a pid namespace, as in a container."""
    enter = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if run([*enter, "true"]).status != 0:
        print("NOT CHECKED: pid namespaces cannot be made here")
        return "no pid namespaces here"
    for code, status in (("exit 5", 5), ("kill -TERM $$", 143), ("kill -KILL $$", 137)):
        outcome = run([*enter, *under(["/bin/sh", "-c", code])])
        check(outcome.status == status, "the first process:", code, outcome.status, outcome.errors)
    outcome = run([*enter, *under(["/bin/sh", "-c", "echo $$ $PPID; (sleep 0 &); sleep 0"])])
    check(outcome.output == b"2 1\n", outcome.output, outcome.errors)
    outcome = run([*enter, *under(python("import ctypes; ctypes.string_at(0)"))])
    found = reports()
    check(outcome.status == 139 and len(found) == 1 and found[0]["pid"] == 2, "a crash below it", outcome.status, found)
    return "128 + number as the first process"


def main():
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # whoever has started the tests may have them ignored
    check_passed_on()
    check_stops()
    check_terminal()
    check_killed_monitor()
    check_orphans_reaped()
    first = check_first_process()
    traced = may_trace()
    if traced:
        OPTIONS.append("--trace-kills")
        check_passed_on()
        check_stops()
        check_terminal()
        check_killed_monitor()
        check_orphans_reaped()
    return finish("8 signals passed on; Ctrl-C, Ctrl-Z, fg as without pyunwind; stops followed; a killed monitor "
                  "survived; orphans reaped; %s; %s with --trace-kills" % (first, "the same" if traced else "NOT CHECKED"))


sys.exit(main())
