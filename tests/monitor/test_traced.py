# interpreters: each
"""
`pyunwind run --trace-kills`: the stacks of a process that is killed, by somebody or by the kernel for want of memory, of
a child that is killed at once after its fork, and of one whose handler the program took away. The oracle is the program
itself, whose functions say where its threads are. Crashes and exits are as before.
"""

import os
import signal
import subprocess
import sys
import time

from memory_group import make_group
from running import (OPTIONS, SANITIZED, check, children_of, end, environment, finish, may_trace, python, read_line, reports, run,
                     start, state_of, tracer_of, under, wait_until)

SKIPPED = 77

WAIT = """
import os, sys, threading
begun = threading.Barrier(4)
def in_thread(depth):
    if depth:
        in_thread(depth - 1)
    begun.wait()
    threading.Event().wait()
def in_main():
    begun.wait()
    print(os.getpid(), flush=True)
    sys.stdin.readline()
for depth in range(3):
    threading.Thread(target=in_thread, args=(depth,), daemon=True).start()
in_main()
"""

AT_ONCE = """
import os, signal
def in_child():
    os.kill(os.getpid(), signal.SIGKILL)
pid = os.fork()
if pid == 0:
    in_child()
print(os.waitpid(pid, 0)[1])
"""

TWO = """
import os, sys
def in_child():
    os.write(1, b"%d\\n" % os.getpid())
    os.read(0, 1)
def in_main():
    sys.stdin.readline()
def start():
    if os.fork() == 0:
        in_child()
        os._exit(0)
    in_main()
os.write(1, b"%d\\n" % os.getpid())
sys.stdin.readline()
start()
"""

RESET = """
import ctypes, os, signal
def in_main():
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    os.abort()
in_main()
"""

CRASH = """
import ctypes
def in_main():
    ctypes.string_at(0)
in_main()
"""

FORKS = """
import os
for n in range(100):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
os._exit(5)
"""

SIGNALS = """
import os, signal, time
signal.signal(signal.SIGUSR1, lambda *_: print("usr1", flush=True))
print(os.getpid(), flush=True)
while True:
    time.sleep(0.01)  # a signal that comes just before signal.pause() would be told after the next one only
"""

EAT = """
import sys
held = []
def in_main():
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        held.append(b"x" * (1 << 20))
in_main()
"""

def functions(thread):
    return [frame["name"] for frame in thread["frames"] if frame["kind"] == "python"]


def one_report(what):
    found = reports()
    check(len(found) == 1, what, "has left", len(found), "reports")
    return found[0] if len(found) == 1 else None


def check_main(what, report, name="in_main"):
    """The main thread: its Python frames, and native ones around them."""
    threads = [thread for thread in report["threads"] if thread["native_id"] == report["pid"]]
    check(len(threads) == 1 and not threads[0]["crashed"], what, "main threads:", threads)
    for thread in threads:
        check(thread["status"] == "complete" and name in functions(thread), what, functions(thread), thread["status"])
        kinds = [frame["kind"] for frame in thread["frames"]]
        check("native" in kinds, what, "no native frames, although", thread["native_status"])


def check_kill():
    process = start(under(python(WAIT)), stdin=subprocess.PIPE)
    try:
        pid = int(read_line(process.stdout))
        check(pid in children_of(process.pid), "the program's parent")
        os.kill(pid, signal.SIGKILL)
        check(process.wait() == -signal.SIGKILL, "a kill", process.returncode)
    finally:
        end(process)
    report = one_report("a kill")
    if report is None:
        return
    check(report["diagnosis"]["cause"] == "killed" and report["pid"] == pid, report["diagnosis"])
    check(report["status"] == "complete" and report["notes"] == [], report["status"], report["notes"])
    check(report["python"] and report["python"]["version"].startswith("%d.%d" % sys.version_info[:2]), report["python"])
    check(report["limits"] and report["memory"]["peak"] > 1 << 20 and report["libraries"], report["memory"])
    check_main("a kill", report)
    depths = sorted(functions(thread).count("in_thread") for thread in report["threads"])
    check(depths == [0, 1, 2, 3], "depths of the threads:", depths)
    check(all(thread["status"] == "complete" for thread in report["threads"]), report["threads"])


def check_child_at_once():
    outcome = run(under(python(AT_ONCE)))
    check((outcome.status, outcome.output) == (0, b"9\n"), outcome.status, outcome.output, outcome.errors)
    report = one_report("a child that is killed at once")
    if report is not None:
        check_main("a child that is killed at once", report, "in_child")


def reads_of(pid):
    with open("/proc/%d/io" % pid, encoding="utf-8") as file:
        return [int(line.split()[1]) for line in file if line.startswith("syscr:")][0]


def wait_for_looks(monitor, count):
    """It reads hundreds of files for each look, and next to nothing between two."""
    for _ in range(2 * count):
        before = reads_of(monitor)
        wait_until(lambda: reads_of(monitor) > before + 20, "the monitor looks")


def check_one_of_two():
    """Both were opened, and have the same addresses: the one that is killed is read."""
    process = start(under(python(TWO)), stdin=subprocess.PIPE)
    try:
        pid = int(read_line(process.stdout))
        wait_for_looks(process.pid, 2)
        process.stdin.write(b"\n")
        child = int(read_line(process.stdout))
        wait_until(lambda: tracer_of(child) == process.pid, "the child is traced")
        wait_for_looks(process.pid, 2)
        os.kill(pid, signal.SIGKILL)
        process.stdin.write(b"\n")
        check(process.wait() == -signal.SIGKILL, "one of two", process.returncode)
    finally:
        end(process)
    report = one_report("one of two")
    if report is not None:
        check(report["pid"] == pid, "one of two:", report["pid"])
        check_main("one of two", report)


def check_handler_taken_away():
    bare, traced = run(python(RESET)), run(under(python(RESET)))
    check((bare.status, bare.errors) == (traced.status, traced.errors), traced.status, traced.errors)
    report = one_report("a handler that was taken away")
    if report is not None:
        check(report["signal"]["name"] == "SIGABRT", report["signal"])
        check_main("a handler that was taken away", report)


def check_crash():
    """The sidecar is to trace it, too: it is let."""
    bare, traced = run(python(CRASH)), run(under(python(CRASH)))
    check(bare.status == traced.status == -signal.SIGSEGV, bare.status, traced.status)
    report = one_report("a crash")
    if report is not None:
        check(report["status"] == "complete" and report["threads"][0]["crashed"], report["status"], report["notes"])
        check("in_main" in functions(report["threads"][0]), functions(report["threads"][0]))


def check_many_stops():
    """Each fork and each end of a child stops the program, and is not to be taken for its own end."""
    for _ in range(10):
        outcome = run(under(python(FORKS)))
        check(outcome.status == 5, "a program that forks often ended with", outcome.status)


def check_chosen_ends():
    for code in ("import sys; sys.exit(3)", "1 / 0", "import threading; threading.Thread(target=print).start()",
                 "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
                 "import subprocess, sys; print(subprocess.call([sys.executable, '-c', 'import sys; sys.exit(4)']))"):
        bare, traced = run(python(code)), run(under(python(code)))
        check((bare.status, bare.output, bare.errors) == (traced.status, traced.output, traced.errors), code,
              traced.status, traced.output, traced.errors)
        check(reports() == [], "a report of:", code)


def check_watchdog():
    """A monitor that is stopped by somebody is ended; the program goes on, untraced, and meets its signals."""
    process = start(under(python(SIGNALS)), stdin=subprocess.PIPE, env=environment(PYUNWIND_TEST_PATIENCE="1000"))
    try:
        pid = int(read_line(process.stdout))
        wait_until(lambda: tracer_of(pid) == process.pid, "the program is traced")
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGUSR1)
        check(read_line(process.stdout) == b"usr1\n", "the signal did not arrive")
        check(tracer_of(pid) == 0 and process.wait() == -signal.SIGKILL, "the monitor that stands", process.returncode)
        os.kill(pid, signal.SIGTERM)
    finally:
        end(process)


def check_rest():
    """One that has stopped with its job is not ended."""
    process = start(under(python(SIGNALS)), stdin=subprocess.PIPE, env=environment(PYUNWIND_TEST_PATIENCE="1000"),
                    start_new_session=True)
    try:
        pid = int(read_line(process.stdout))
        wait_until(lambda: tracer_of(pid) == process.pid, "the program is traced")
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        check(os.WIFSTOPPED(status) and state_of(pid) == "T", "stopped:", status, state_of(pid))
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 1.6, "the patience is over")
        check(process.poll() is None and state_of(process.pid) == "T", "the monitor is", state_of(process.pid))
        os.kill(process.pid, signal.SIGCONT)
        wait_until(lambda: tracer_of(pid) == process.pid, "the program is traced again")
        os.kill(pid, signal.SIGUSR1)
        check(read_line(process.stdout) == b"usr1\n", "the signal did not arrive after the stop")
        os.kill(pid, signal.SIGTERM)
        check(process.wait() == -signal.SIGTERM, "the end after the stop", process.returncode)
    finally:
        end(process)


def kill_for_memory():
    """False where no control group can be made here; else the report."""
    made = make_group()
    if made is None:
        return False

    def enter():
        with open(os.path.join(made[0], "cgroup.procs"), "w") as file:
            file.write("%d" % os.getpid())

    try:
        process = start(under(python(EAT)), stdin=subprocess.PIPE, preexec_fn=enter)
        try:
            read_line(process.stdout)
            wait_until(lambda: is_prepared(process.pid), "the monitor has in memory what it needs")
            process.stdin.write(b"\n")
            check(process.wait() == -signal.SIGKILL, "it eats memory:", process.returncode)
        finally:
            end(process)
        return one_report("a kill for want of memory")
    finally:
        wait_until(lambda: is_removed(made[0]), "the control group is empty")


def check_memory():
    """What was checked, in words."""
    report = kill_for_memory()
    if report is False:
        return "NOT CHECKED for want of memory: no control group can be made here"
    if report is not None:
        check(report["diagnosis"]["cause"] == "out_of_memory", report["diagnosis"])
        # Native stacks are read after those, and their memory may have been taken back by then: the notes say so.
        check(any("in_main" in functions(thread) for thread in report["threads"]), report["threads"], report["notes"])
        check(report["status"] == "complete" or report["notes"], report["status"])
    return "and by the kernel for want of memory"


def is_prepared(monitor):
    with open("/proc/%d/status" % monitor, encoding="utf-8") as file:
        return not any(line.split()[:2] == ["VmLck:", "0"] for line in file)


def is_removed(folder):
    try:
        os.rmdir(folder)
        return True
    except OSError:
        return False


def main():
    if not may_trace():
        return SKIPPED
    OPTIONS.append("--trace-kills")
    check_kill()
    check_child_at_once()
    check_one_of_two()
    check_handler_taken_away()
    check_crash()
    check_chosen_ends()
    check_many_stops()
    check_watchdog()
    check_rest()
    memory = "not for want of memory" if SANITIZED else check_memory()
    return finish("stacks of a program and of a child that were killed, %s, and of a handler that was taken away" % memory)


if __name__ == "__main__":
    sys.exit(main())
