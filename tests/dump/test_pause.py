# interpreters: each
"""
--pause and pyunw_pause_process(): stacks of threads that do nothing but call and return are exact, each pair of caller
and callee as the source has it, none torn and none with frames unconfirmed; and the process goes on afterwards as if
nothing had been, whoever ended the pause: also the kernel, when the one who paused it is killed.
"""

import ast
import json
import os
import re
import signal
import subprocess
import sys

from dumping import COMMAND, HERE, Program, Subject, check, compare_subject, finish, run_dump
from pausing import Counter, open_paused, pause, pyunw, resume, states, try_pause, wait_for
from compile import preloading  # noqa: I001  pausing tells where it is

PAUSES = 200
PAUSER = [sys.executable, os.path.join(HERE, "pausing.py")]

CALLS = Counter.SOURCE + '''
import threading

def leaf(item):
    return None

def twice(item):
    leaf(item)
    return leaf(item)

def down(depth):
    if depth:
        return down(depth - 1)
    return leaf(depth)

def round_of_calls():
    twice(1)
    down(7)
    leaf(None)

def loop():
    while True:
        round_of_calls()

def counting():
    count = 0
    while True:
        round_of_calls()
        count += 1
        room[0:8] = count.to_bytes(8, "little")

threading.Thread(target=loop, daemon=True).start()
os.write(1, b"\\n")
counting()
'''

# What is being linked at the moment, and what C code calls, can end the walk of a stopped thread too: but never wrongly.
GENERATORS = Counter.SOURCE + '''
def key(item):
    return leaf(item)

def leaf(item):
    return 1

def generate(depth):
    if depth:
        yield from generate(depth - 1)
    yield leaf(depth)

def consume():
    for item in generate(3):
        leaf(item)

def call_back():
    sorted([1, 2], key=key)

def counting():
    count = 0
    while True:
        consume()
        call_back()
        count += 1
        room[0:8] = count.to_bytes(8, "little")

os.write(1, b"\\n")
counting()
'''


# ---- Exactness ------------------------------------------------------------------------------------------------------


class Rules:
    """Who may call whom, by the source: the caller's line calls the callee; a line lies in its function."""

    def __init__(self, path, source):
        self.path = path
        self.lines = source.splitlines()
        self.ranges = {"<module>": (1, len(self.lines))}
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                last = max(getattr(inner, "lineno", 0) for inner in ast.walk(node))
                self.ranges[node.name] = (node.lineno, last)

    def wrong_with(self, frames):
        """None, or what cannot be. frames: (file name, name, line), innermost first."""
        for callee, caller in zip([None] + frames, frames):
            filename, name, line = caller
            if filename != self.path:
                continue
            first, last = self.ranges.get(name, (0, -1))
            if line < 0 and callee is None:  # 3.10+: what starts a generator may have no line
                continue
            if not first <= line <= last:
                return "line %d is not in %s" % (line, name)
            text = self.lines[line - 1]
            if callee is not None and not re.search(r"\b%s\b[()]" % re.escape(callee[1]), text):
                return "%s is called from line %d, which is %r" % (callee[1], line, text)
        return None


def start_pauser(pid):
    """A program that pauses that process. The library that it loads may be sanitized: then its runtime comes first."""
    return Program(PAUSER + [str(pid)], environment={"LD_PRELOAD": preloading()})


def captures(handle):
    """(result, status, frames: file name, name, line) of each thread."""
    code, target, message = open_paused(handle)
    check(code == 0, "open", code, message)
    frames = (pyunw.pyunw_frame * 64)()
    status = pyunw.pyunw_status()
    cursor, thread = pyunw.pyunw_thread_cursor(), pyunw.pyunw_thread()
    check(pyunw.lib.pyunw_threads_begin(target, cursor) == 0, "the threads")
    while pyunw.lib.pyunw_threads_next(cursor, thread) == 1:
        count = pyunw.lib.pyunw_capture(target, thread.tstate, frames, 64, status)
        yield count, status, [(frame.text("filename"), frame.text("name"), frame.position.lineno)
                       for frame in frames[:max(count, 0)]]
    pyunw.lib.pyunw_close(target)


def compare_calls(name, source, threads, pauses, is_exact):
    """(stacks, of which marked)"""
    path = os.path.abspath(name + ".py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    rules, counter, leaves = Rules(path, source), Counter(), set()
    stacks = marked = 0
    with Program([sys.executable, path, counter.path]) as program:
        for _ in range(pauses):
            counter.wait_until_it_goes_on()
            handle = pause(program.pid)
            for count, status, frames in captures(handle):
                stacks += 1
                whole = count > 0 and status.end == pyunw.PYUNW_COMPLETE and status.unconfirmed == 0
                marked += not whole
                check(whole or not is_exact, name, "ends with", count, status.end, status.unconfirmed, frames)
                check(not whole or frames[-1][1] in ("<module>", "_bootstrap"), name, "begins with", frames)
                wrong = rules.wrong_with(frames)
                check(wrong is None, name, wrong, frames)
                leaves.update(frame[1] for frame in frames[:1])
            check(resume(handle) == 0, "resume")
        counter.wait_until_it_goes_on()
    check(stacks == pauses * threads, name, stacks, "stacks")
    check(leaves & {"leaf", "down", "twice", "generate"}, name, "was never in a call:", leaves)
    return stacks, marked


def compare_with_truth():
    """The command, against what the program says of itself; a thread's state is the one before the stop."""
    frames = 0
    for kinds in (["lock", "deep", "generator", "names"], ["busy", "lock"], ["calls", "lock"]):
        with Subject(*kinds) as subject:
            frames += compare_subject("paused: " + kinds[0], subject, "--pause")
            status, output, errors = run_dump("--json", "--pause", subject.pid)
            unconfirmed = [thread["unconfirmed"] for thread in json.loads(output)["processes"][0]["threads"]]
            check((status, errors) == (0, "") and not any(unconfirmed), kinds, status, errors, unconfirmed)
    return frames


# ---- It goes on -----------------------------------------------------------------------------------------------------


def check_stands(what, pid, counter):
    check(states(pid) == {"t"}, what, "stands:", states(pid))
    before = counter.value()
    os.sched_yield()
    check(counter.value() == before and states(pid) == {"t"}, what, "moved while it stood")


def check_ends(counter, pid):
    """By the one who paused it, and by his end, however it comes."""
    with start_pauser(pid) as pauser:
        check_stands("paused by another", pid, counter)
        check(pauser.next_line() == b"resumed: 0\n", "resumed by another")
    counter.wait_until_it_goes_on()
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
        with start_pauser(pid) as pauser:
            check_stands("paused by another", pid, counter)
            pauser.process.send_signal(number)
            check(pauser.process.wait() == -number, "the signal ends it")
        counter.wait_until_it_goes_on()
        check(not states(pid) & {"t", "T"}, "after", number, states(pid))


def caught_holding(command, pid):
    """Is it stopped, and holds the process?"""
    os.kill(command.pid, signal.SIGSTOP)  # send_signal() would reap it
    wait_for(lambda: states(command.pid) <= {"T", "t", "Z"})
    return states(command.pid) == {"T"} and states(pid) == {"t"}


def let_interrupts_through():
    """A shell starts what it runs in the background with SIGINT ignored, which is handed on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def check_command_is_killed(counter, pid):
    """The command itself, killed while the process stands: it is stopped now and then until it is found so."""
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        caught = False
        while not caught:
            command = subprocess.Popen([COMMAND, "dump", "--pause", str(pid)], stdout=subprocess.DEVNULL,
                                       preexec_fn=let_interrupts_through)
            wait_for(lambda: "t" in states(pid) or states(command.pid) <= {"Z"})
            caught = caught_holding(command, pid)
            if caught:
                check_stands("while the command holds it", pid, counter)
                os.kill(command.pid, number)
            os.kill(command.pid, signal.SIGCONT)
            check(command.wait() == (-number if caught else 0), "the command ends with", command.returncode)
        counter.wait_until_it_goes_on()
        check("t" not in states(pid), "after the command was killed", states(pid))


MANY_FRAMES = """
import sys, threading
end = threading.Event()
def down(depth):
    if depth:
        down(depth - 1)
    else:
        end.wait()
for _ in range(100):
    threading.Thread(target=down, args=(200,), daemon=True).start()
print(flush=True)
sys.stdin.read(1)
"""


def stop_command(pid):
    """(is it stopped, the command) after Ctrl-Z at a moment when the process stands, or the command has just ended."""
    # In a group of its own: the kernel stops none whose parents are all in other sessions.
    command = subprocess.Popen([COMMAND, "dump", "--native", str(pid)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, preexec_fn=lambda: os.setpgid(0, 0))
    wait_for(lambda: "t" in states(pid) or states(command.pid) <= {"Z"})
    os.kill(command.pid, signal.SIGTSTP)  # send_signal() would reap it
    _, status = os.waitpid(command.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        command.returncode = status
    return os.WIFSTOPPED(status), command


def check_command_is_stopped():
    """Ctrl-Z while a process stands: the command lets it go first, and stops then."""
    with Program([sys.executable, "-c", MANY_FRAMES]) as program:
        stopped = False
        while not stopped:
            stopped, command = stop_command(program.pid)
            check("t" not in states(program.pid), "the command is stopped, and the process with it")
            if stopped:
                os.kill(command.pid, signal.SIGCONT)
            check(command.wait() == 0, "the command that was stopped ends with", command.returncode)


def check_limit(counter, pid):
    """It runs on when the limit has passed, whatever the caller does, and what is read then is refused."""
    code = pyunw.PYUNW_ERR_TORN
    limit = 100
    while code == pyunw.PYUNW_ERR_TORN:  # a machine that is busy may not stop it in time
        limit *= 2
        code, handle, message = try_pause(pid, limit)
    check(code == 0, "pause", code, message)
    opened, target, message = open_paused(handle)
    counter.wait_until_it_goes_on()
    wait_for(lambda: "t" not in states(pid))  # its threads are let go one after the other
    if opened == 0:
        cursor = pyunw.pyunw_thread_cursor()
        check(pyunw.lib.pyunw_threads_begin(target, cursor) < 0, "read behind the limit")
    check(open_paused(handle)[0] < 0, "opened behind the limit")
    check(resume(handle) == pyunw.PYUNW_ERR_TORN, "resumed behind the limit")
    code, handle, message = try_pause(pid, 1)  # in a millisecond or not at all: nothing stands afterwards
    check(code in (0, pyunw.PYUNW_ERR_TORN), "paused for a millisecond", code, message)
    check(code == 0 or "did not stop in time" in message, message)
    resume(handle)
    counter.wait_until_it_goes_on()


def check_errors():
    argument = pyunw.PYUNW_ERR_ARGUMENT
    for pid, limit in ((0, 1), (-1, 1), (os.getpid(), 1), (os.getppid(), 0), (os.getppid(), -1)):
        code, handle, message = try_pause(pid, limit)
        check((code, handle.value) == (argument, None) and "asked to pause process %d" % pid in message, message)
    check(try_pause(2**31 - 1)[::2] == (pyunw.PYUNW_ERR_NO_PROCESS, "there is no process 2147483647"), "no process")
    check(open_paused(None)[0] == argument and resume(None) == 0, "no pause")
    with Program([sys.executable, "-c", "print(flush=True); input()"]) as program:
        handle = pause(program.pid)
        os.kill(program.pid, signal.SIGKILL)
        wait_for(lambda: states(program.pid) == {"Z"})
        check(open_paused(handle)[0] == pyunw.PYUNW_ERR_NO_PROCESS, "opened after it was killed")
        check(resume(handle) == 0 and program.process.wait() == -signal.SIGKILL, "killed while it stood")
    with Program(["sh", "-c", "echo; exec cat"]) as program:
        wait_for(lambda: os.readlink("/proc/%d/exe" % program.pid).endswith("cat"))
        status, output, errors = run_dump("--pause", program.pid)
        check((status, output) == (1, "") and "is not Python" in errors, status, output, errors)
        check(program.next_line() == b"\n" and "t" not in states(program.pid), "not Python, it runs on")


# ---- Signals --------------------------------------------------------------------------------------------------------

SIGNALLED = Counter.SOURCE + '''
import signal
came_end, came = os.pipe()
os.set_blocking(came, False)
signal.set_wakeup_fd(came)
for number in (signal.SIGUSR1, signal.SIGRTMIN):
    signal.signal(number, lambda *_: None)
os.write(1, b"\\n")
while True:
    for byte in os.read(came_end, 4096):
        os.write(1, b"%d\\n" % byte)
        room[0:8] = (int.from_bytes(room[0:8], "little") + 1).to_bytes(8, "little")
'''


def check_signals():
    """What is sent while it stands arrives afterwards, once; so does what arrives just when it is being stopped."""
    counter, sent, queued = Counter(), 0, int(signal.SIGRTMIN)
    with Program([sys.executable, "-c", SIGNALLED, counter.path]) as program:
        handle = pause(program.pid)
        os.kill(program.pid, signal.SIGUSR1)
        check(counter.value() == 0 and states(program.pid) == {"t"}, "a signal arrived at one that stands")
        check(resume(handle) == 0, "resume")
        check(program.process.stdout.readline() == b"%d\n" % signal.SIGUSR1, "SIGUSR1")
        for _ in range(PAUSES // 2):
            os.kill(program.pid, queued)
            handle = pause(program.pid)
            os.kill(program.pid, queued)
            check(resume(handle) == 0, "resume")
            sent += 2
        for _ in range(sent):
            check(program.process.stdout.readline() == b"%d\n" % queued, "a queued signal")
        wait_for(lambda: counter.value() == 1 + sent)
        with_end = pause(program.pid)
        os.kill(program.pid, signal.SIGTERM)
        check(states(program.pid) == {"t"}, "SIGTERM ended one that stands")
        check(resume(with_end) == 0 and program.process.wait() == -signal.SIGTERM, "SIGTERM")
    return sent


def is_stopped(pid):
    return states(pid) == {"T"}


def check_stopped(counter, pid):
    """One that was stopped before, or is told to stop meanwhile, stays so; one that is told to go on does."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(pid))
    before = counter.value()
    for _ in range(20):
        status, output, errors = run_dump("--pause", "--json", pid)
        check((status, errors) == (0, ""), "stopped", status, errors)
        threads = json.loads(output)["processes"][0]["threads"]
        # Of two threads that want the GIL one waits for it, and 3.15 says so.
        states_of_one = ("idle", "waiting_for_gil") if sys.version_info >= (3, 15) else ("idle",)
        check(all(thread["frames"] and thread["status"] == "complete" and thread["state"] in states_of_one
                  for thread in threads), "stopped", threads)
        wait_for(lambda: is_stopped(pid))
    check(counter.value() == before, "a stopped process moved")
    with start_pauser(pid) as pauser:
        check_stands("stopped and paused", pid, counter)
        pauser.process.kill()
    wait_for(lambda: is_stopped(pid))
    check(counter.value() == before, "a stopped process moved when the one who paused it was killed")
    handle = pause(pid)
    os.kill(pid, signal.SIGCONT)
    check_stands("told to go on while it stands", pid, counter)
    check(resume(handle) == 0, "resume")
    counter.wait_until_it_goes_on()
    handle = pause(pid)
    os.kill(pid, signal.SIGSTOP)
    check(resume(handle) == 0, "resume")
    wait_for(lambda: is_stopped(pid))
    os.kill(pid, signal.SIGCONT)
    counter.wait_until_it_goes_on()


# ---- Others ---------------------------------------------------------------------------------------------------------

TRACER = '''
import ctypes, os, sys
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
assert ptrace(0x4206, int(sys.argv[1]), None, None) == 0  # PTRACE_SEIZE
os.write(1, b"\\n"); os.read(0, 1)
'''


def check_traced(counter, pid):
    with Program([sys.executable, "-c", TRACER, str(pid)]) as tracer:
        expected = r"process %d is traced by process %d \(.+\), .*read it without --pause" % (pid, tracer.pid)
        code, _, message = try_pause(pid)
        check(code == pyunw.PYUNW_ERR_PERMISSION and re.match(expected, message), code, message)
        status, output, errors = run_dump("--pause", pid)
        check((status, output) == (1, "") and re.match("pyunwind dump: " + expected, errors), status, output, errors)
        check(run_dump(pid)[0] == 0, "without --pause")
        counter.wait_until_it_goes_on()
    with start_pauser(pid) as pauser:
        code, _, message = try_pause(pid)
        check(code == pyunw.PYUNW_ERR_PERMISSION and "by process %d " % pauser.pid in message, code, message)
        check_stands("after another was refused", pid, counter)


CHURN = Counter.SOURCE + '''
import threading
def short():
    pass
os.write(1, b"\\n")
count = 0
while True:
    threads = [threading.Thread(target=short) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    count += 1
    room[0:8] = count.to_bytes(8, "little")
'''


def check_churn():
    """Threads that are started and end meanwhile stand too, or have ended."""
    counter = Counter()
    with Program([sys.executable, "-c", CHURN, counter.path]) as program:
        for _ in range(PAUSES // 4):
            handle = pause(program.pid)
            before = counter.value()
            check("t" in states(program.pid) and states(program.pid) <= {"t", "Z", "X"}, states(program.pid))
            for count, status, frames in captures(handle):
                # A thread state that is being made may not have what it is made of yet.
                check(count in (0, pyunw.PYUNW_ERR_CORRUPT) or status.end == pyunw.PYUNW_COMPLETE, "churn", count,
                      status.end, frames)
            check(counter.value() == before, "churn: it moved")
            check(resume(handle) == 0, "resume")
            counter.wait_until_it_goes_on()


def main():
    stacks, _ = compare_calls("calls", CALLS, 2, PAUSES, True)
    more, marked = compare_calls("generators", GENERATORS, 1, PAUSES // 2, False)
    frames = compare_with_truth()
    counter = Counter()
    with Program([sys.executable, "calls.py", counter.path]) as program:
        for check_one in (check_ends, check_command_is_killed, check_limit, check_stopped, check_traced):
            check_one(counter, program.pid)
    check_command_is_stopped()
    check_errors()
    signals = check_signals()
    check_churn()
    return finish("%d stacks of calls exact, %d of generators right (%d marked), %d frames as told; it goes on after "
                  "each end of a pause, stays stopped, and %d signals arrived" % (stacks, more, marked, frames, signals))


if __name__ == "__main__":
    sys.exit(main())
