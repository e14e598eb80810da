# interpreters: each
"""
What `pyunwind run` leaves of programs that die: a whole report of a crash in the program, in a child of fork(), in a
worker of multiprocessing, in a thread whose C stack overflows; a report of a kill; none of an end that the program
chose. The oracles are the programs themselves, and the same run without pyunwind.
"""

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_shared  # noqa: E402
from running import (check, children_of, end, environment, finish, is_watched, python, read_line, reports, run,  # noqa: E402
                     start, under, wait_until)

CRASH = "import ctypes\ndef crash_here():\n    ctypes.string_at(0)\n"

OVERFLOW = """
#include <string.h>
int overflow(int n)
{
    volatile char room[4096];
    memset((void *)room, n, sizeof room);
    return n < 1 << 30 ? overflow(n + 1) + room[n % 4096] : 0;
}
"""


def names(report):
    return [frame.get("name") for frame in report["threads"][0]["frames"] if frame["kind"] == "python"]


def only_report(what):
    found = reports()
    check(len(found) == 1, what, "has left", len(found), "reports")
    return found[0] if len(found) == 1 else None


def check_crash(what, code, function, cause, number=signal.SIGSEGV):
    command = python(code)
    bare, monitored = run(command), run(under(command))
    check(bare.status == monitored.status, what, "ends with", monitored.status, "not", bare.status)
    check((bare.output, bare.errors) == (monitored.output, monitored.errors), what, monitored.output, monitored.errors)
    report = only_report(what)
    if report is None:
        return
    check(report["status"] == "complete", what, report["status"], report["notes"])
    check(report["signal"]["number"] == number and report["diagnosis"]["cause"] in cause, what, report["signal"],
          report["diagnosis"])
    check(report["threads"][0]["crashed"] and function in names(report), what, names(report))


def check_crashes():
    check_crash("a null read", CRASH + "crash_here()", "crash_here", ["null_read"])
    check_crash("a child of fork", CRASH + "import os\npid = os.fork()\nif pid == 0: crash_here()\n"
                "print(os.waitpid(pid, 0)[1])", "crash_here", ["null_read"])
    check_crash("an abort", "import os\ndef crash_here():\n    os.abort()\ncrash_here()", "crash_here",
                ["abort", "assertion"], signal.SIGABRT)
    library = compile_shared("overflow", OVERFLOW, flags=["-O0"])
    # glibc 2.42 guards stacks by pages that no list of mappings shows: there the cause may be named by the write alone.
    check_crash("an overflow in a thread", "import ctypes, threading\nlibrary = ctypes.CDLL(%r)\n"
                "def crash_here():\n    library.overflow(0)\n"
                "threading.Thread(target=crash_here).start()" % library, "crash_here", ["stack_overflow", "wild_write"])
    with open("worker.py", "w") as file:
        file.write(CRASH + "import multiprocessing\nif __name__ == '__main__':\n"
                   "    worker = multiprocessing.get_context('spawn').Process(target=crash_here)\n"
                   "    worker.start()\n    worker.join()\n    print(worker.exitcode)\n")
    command = [sys.executable, "worker.py"]
    bare, monitored = run(command), run(under(command))
    check(bare.output == monitored.output == b"-11\n", "a worker", bare.output, monitored.output, monitored.errors)
    report = only_report("a worker")
    if report is not None:
        check("crash_here" in names(report) and report["status"] == "complete", "a worker", names(report))


WAIT = "import os, sys\nos.write(1, b\"%d\\n\" % os.getpid())\nsys.stdin.readline()\n"


def check_kill():
    """Of a child of the monitor, and of one below that."""
    process = start(under(python(WAIT)), stdin=subprocess.PIPE)
    try:
        pid = int(read_line(process.stdout))
        os.kill(pid, signal.SIGKILL)
        check(process.wait() == -signal.SIGKILL, "a kill", process.returncode)
    finally:
        end(process)
    report = only_report("a kill")
    if report is not None:
        check(report["pid"] == pid and report["diagnosis"]["cause"] == "killed", report["pid"], report["diagnosis"])
        check(report["signal"]["name"] == "SIGKILL" and report["threads"] == [], report["signal"])
        check(report["command"][-1] == WAIT and report["executable"] == os.path.realpath(sys.executable),
              report["command"], report["executable"])
        check(report["memory"]["peak"] > 1 << 20 and report["limits"]["open_files"], report["memory"])
        check(report["status"] == "partial" and "no stacks" in report["notes"][0], report["notes"])


def check_kill_below():
    code = ("import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', %r], stdin=subprocess.PIPE)\n"
            "print(child.wait(), flush=True)\nsys.stdin.readline()\n" % WAIT)
    process = start(under(python(code)), stdin=subprocess.PIPE)
    try:
        pid = int(read_line(process.stdout))
        wait_until(lambda: is_watched(process.pid, pid), "the monitor watches %d" % pid)
        os.kill(pid, signal.SIGKILL)
        check(read_line(process.stdout) == b"-9\n", "the parent is told")
        folder = os.path.join(os.getcwd(), "reports")
        wait_until(lambda: any(name.endswith("-%d.json" % pid) for name in os.listdir(folder)), "the report")
        process.stdin.write(b"\n")
        check(process.wait() == 0, process.returncode)
    finally:
        end(process)
    report = only_report("a kill below")
    check(report is not None and report["signal"]["name"] == "SIGKILL", report)


def check_orphan():
    """Its parent ends before it, and the monitor is its parent then."""
    code = ("import os, subprocess, sys\n"
            "middle = 'import subprocess, sys; subprocess.Popen([sys.executable, \"-c\", %r], stdin=0)' % sys.argv[1]\n"
            "subprocess.check_call([sys.executable, '-c', middle], stdin=0)\nsys.stdout.write('ready\\n')\n"
            "sys.stdout.flush()\nos.read(os.open(sys.argv[2], os.O_RDONLY), 1)\n")
    os.mkfifo("gate")
    process = start(under(python(code, WAIT, "gate")), stdin=subprocess.PIPE)
    try:
        lines = [read_line(process.stdout), read_line(process.stdout)]
        pid = int([line for line in lines if line != b"ready\n"][0])
        check(pid in children_of(process.pid), "an orphan is not the monitor's child")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the orphan is reaped")
        os.close(os.open("gate", os.O_WRONLY))
        check(process.wait() == 0, process.returncode)
    finally:
        end(process)
    report = only_report("an orphan's kill")
    check(report is not None and report["pid"] == pid, report)


def check_chosen_ends():
    for code in ("import sys; sys.exit(3)", "import os; os._exit(4)", "1 / 0",
                 "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
                 "import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT)",
                 "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)",
                 "import os, signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGPIPE)"):
        command = python(code)
        bare, monitored = run(command), run(under(command))
        check((bare.status, bare.errors) == (monitored.status, monitored.errors), code, bare.status, monitored.status)
        check(reports() == [], "a report of:", code)


def check_displaced():
    """A handler that the program has set later: the monitor reports; with --keep-first ours comes before it."""
    code = ("import faulthandler, os, signal\nsignal.signal(signal.SIGABRT, signal.SIG_DFL)\n"
            "def die():\n    os.kill(os.getpid(), signal.SIGABRT)\ndie()")
    check(run(under(python(code))).status == -signal.SIGABRT, "a displaced handler")
    report = only_report("a displaced handler")
    if report is not None:
        check(report["threads"] == [] and report["diagnosis"]["cause"] == "abort", report["diagnosis"])
    check(run(under(python(code), ["--keep-first", "ABRT"])).status == -signal.SIGABRT, "kept first")
    report = only_report("kept first")
    check(report is not None and report["threads"] and "die" in names(report), report)
    code = ("import os, signal\nsignal.signal(signal.SIGABRT, lambda number, frame: print('handled'))\n"
            "def die():\n    os.kill(os.getpid(), signal.SIGABRT)\n    sum(range(100))\ndie()\nprint('on')")
    outcome = run(under(python(code), ["--keep-first", "ABRT"]))
    check((outcome.status, outcome.output) == (0, b"handled\non\n"), outcome.status, outcome.output, outcome.errors)
    report = only_report("handled in Python")
    check(report is not None and "die" in names(report), report)


def check_unfinished():
    """A process that dies while its report is in work: the monitor makes it of what was saved and what it has seen."""
    fault = {"schema": "pyunwind.fault/1", "time": "2026-11-25T07:40:49.123456Z", "pid": 0, "native_id": 7,
             "thread_id": 8, "signal": {"number": 11, "name": "SIGSEGV", "code": 1, "code_name": None, "address": "0x0",
                                        "sender": None}, "recovered": False, "registers": {"rip": "0x1"}}
    code = ("import json, os, time\nfault = json.loads(%r)\nfault['pid'] = os.getpid()\n"
            "name = time.strftime('pyunwind-%%Y%%m%%dT%%H%%M%%SZ-', time.gmtime()) + str(os.getpid())\n"
            "with open(os.path.join(os.environ['PYUNWIND_REPORT_DIR'], name + '.partial'), 'w') as file:\n"
            "    file.write(json.dumps(fault) + '\\n')\nos.kill(os.getpid(), 9)" % json.dumps(fault))
    outcome = run(under(python(code)))
    check(outcome.status == -signal.SIGKILL, outcome.status, outcome.errors)
    report = only_report("an unfinished one")
    if report is not None:
        check(report["signal"]["name"] == "SIGSEGV" and report["registers"] == {"rip": "0x1"}, report["signal"])
        check(report["command"][-1] == code and report["memory"]["peak"] > 1 << 20, report["command"], report["memory"])
        check(report["status"] == "partial", report["status"])


def check_unseen():
    """What a program asks of its signals, it is told as without pyunwind."""
    code = ("import signal, sys\nfor s in sorted(signal.Signals):\n    print(s, signal.getsignal(s))\n"
            "print(open('/proc/self/comm').read(), sorted(sys.modules))")
    bare, monitored = run(python(code)), run(under(python(code)))
    check(bare.output == monitored.output, "a program sees:", monitored.output, "not", bare.output)


def check_full_pipe():
    """Nobody reads what the reports are written to as well: that keeps neither the report nor the end back."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, bytes(1 << 16)) > 0:
            pass
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    command = under(python("import os; os.kill(os.getpid(), 9)"),
                    ["--report-fd", str(writing), "--time-limit", "1"])
    outcome = run(command, pass_fds=[writing])
    check(outcome.status == -signal.SIGKILL, "with a pipe that is full", outcome.status, outcome.errors)
    check(len(reports()) == 1, "with a pipe that is full")
    os.close(reading)
    os.close(writing)


def main():
    check_crashes()
    check_full_pipe()
    check_kill()
    check_kill_below()
    check_orphan()
    check_chosen_ends()
    check_displaced()
    check_unfinished()
    check_unseen()
    return finish("5 crashes with whole reports and the same ends; kills of a child, a grandchild and an orphan told; "
                  "no report of 7 chosen ends; 3 displaced handlers; an unfinished report")


sys.exit(main())
