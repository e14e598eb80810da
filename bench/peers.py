"""
Other tools that read the Python stacks of a running process, to be measured beside pyunwind in the same run: py-spy,
pystack, austin, gdb's py-bt, and CPython's own remote unwinder (3.14+). Those that PyPI has are installed by pip into
build/peers; what cannot be had here, or not for this interpreter, says why.

    for peer in peers():
        why = peer.why_not(interpreter)     # interpreter: an entry of `tools/pythons list --json`
        peer.captures(interpreter, pid, n)  # what bench/truth judges
    speed_rows(...)                         # how long one look at a process takes, with the tool's start
"""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("PYUNWIND_BUILD", os.path.join(SOURCE, "build"))
FOLDER = os.path.join(BUILD, "peers")
SECONDS = 60  # at most, of one run of a tool
ENOUGH_SECONDS = 8  # of all runs of one that is timed: then no more are begun
PIP = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-warn-script-location",
       "--root-user-action=ignore", "--target"]


def install(requirement):
    """(folder that pip installed it into, why it cannot be had); one of them is None."""
    folder = os.path.join(FOLDER, re.split(r"[<=>]", requirement)[0])
    if os.path.isdir(folder):
        return folder, None
    os.makedirs(FOLDER, exist_ok=True)
    made = tempfile.mkdtemp(dir=FOLDER)
    done = subprocess.run([sys.executable] + PIP + [made, requirement], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode == 0:
        os.rename(made, folder)
        return folder, None
    shutil.rmtree(made)
    return None, "pip cannot install it: " + (last_line(done.stderr) or "status %d" % done.returncode)


def last_line(data):
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def run(command, environment=None):
    """(exit status, output, errors); a tool that takes too long has failed."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=dict(os.environ, **(environment or {})), start_new_session=True)
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and what it started: a debugger holds its process
        process.communicate()
        return -1, b"", b"it takes longer than %d s" % SECONDS
    return process.returncode, output, errors


class Peer:
    """A tool. A stack is [(file, function, line)], innermost first."""

    requirement = executable = None  # of PyPI
    environment = {}
    native = False  # can it show native frames, too?
    shows_all = True  # threads, in one capture

    def __init__(self):
        self.folder = self.unavailable = None
        if self.requirement:
            self.folder, self.unavailable = install(self.requirement)
        if self.folder:
            self.path = os.path.join(self.folder, "bin", self.executable)
            status, output, errors = run([self.path, "--version"], self.environment_here())
            self.version = (last_line(output) or last_line(errors)).split()[-1:]
            if status != 0:
                self.unavailable = "it does not run here: " + last_line(errors)

    def environment_here(self):
        return dict(self.environment)

    def title(self):
        return " ".join([self.name] + list(getattr(self, "version", [])))

    def why_not(self, interpreter):
        return self.unavailable

    def reason(self, errors):
        """Why it failed."""
        return last_line(errors)

    def command(self, interpreter, pid, native=False):
        """One look at a process; stopping it where that is what the tool does."""
        raise NotImplementedError

    def captures(self, interpreter, pid, count):
        """The stacks of each of so many captures without stopping the process, or None where it failed."""
        for _ in range(count):
            status, output, _ = run(self.quick_command(interpreter, pid), self.environment_here())
            yield self.parse(output.decode("utf-8", "replace")) if status == 0 else None


class PySpy(Peer):
    name, requirement, executable, native = "py-spy", "py-spy", "py-spy", True

    def command(self, interpreter, pid, native=False):
        return [self.path, "dump"] + ["--native"] * native + ["--pid", str(pid)]

    def quick_command(self, interpreter, pid):
        return [self.path, "dump", "--nonblocking", "--json", "--pid", str(pid)]

    def parse(self, text):
        return [[(frame["filename"], frame["name"], frame["line"]) for frame in thread["frames"]]
                for thread in json.loads(text)]

    def threads_in(self, text):
        return len(re.findall(r"^Thread ", text, flags=re.M))


class PyStack(Peer):
    name, requirement, executable, native = "pystack", "pystack", "pystack", True

    def environment_here(self):
        return {"PYTHONPATH": self.folder}

    def command(self, interpreter, pid, native=False):
        return [sys.executable, self.path, "remote", "--no-color"] + ["--native"] * native + [str(pid)]

    def quick_command(self, interpreter, pid):
        return [sys.executable, self.path, "remote", "--no-color", "--no-block", str(pid)]

    def parse(self, text):
        stacks = []
        for part in re.split(r"^(?:Traceback|The frame stack) for thread .*$", text, flags=re.M)[1:]:
            frames = re.findall(r'^ +\(Python\) File "(.*)", line (\d+), in (.*)$', part, flags=re.M)
            stacks.append([(filename, name, int(line)) for filename, line, name in reversed(frames)])
        return stacks

    def threads_in(self, text):
        return len(re.findall(r"^Traceback for thread ", text, flags=re.M))


class Austin(Peer):
    # The last one that is built for the libc of Debian 12.
    name, requirement, executable = "austin", "austin-dist<4", "austin"
    shows_all = False
    INTERVAL_MS = 5

    def command(self, interpreter, pid, native=False):
        return [self.path, "--where", str(pid)]

    def reason(self, errors):
        foreign = b"is not a Python" in errors
        return "it takes this for no Python process" if foreign else last_line(errors)

    def captures(self, interpreter, pid, count):
        """It samples for a time, in one run: a capture is all threads of a sample."""
        seconds = max(1, count * self.INTERVAL_MS // 1000)
        status, output, _ = run([self.path, "--pipe", "--interval", "%dms" % self.INTERVAL_MS, "--exposure",
                                 str(seconds), "--pid", str(pid)])
        if status != 0 and b"\nP" not in output:
            yield None
            return
        for line in output.decode("utf-8", "replace").splitlines():
            if line.startswith("P%d;" % pid):
                yield self.parse(line)

    def parse(self, text):
        """One thread; None where the tool says that it could not read it."""
        frames = text.rpartition(" ")[0].split(";")[2:]
        if any(frame in (":INVALID:", ":GC:") for frame in frames) or not frames:
            return None
        parts = [frame.rsplit(":", 2) for frame in reversed(frames)]
        return [[(part[0], part[1], int(part[2])) for part in parts if len(part) == 3 and part[2].isdigit()]]

    def threads_in(self, text):
        return text.count("Thread ")


UNWINDER = r"""
import json, sys
import _remote_debugging
pid, count = int(sys.argv[1]), int(sys.argv[2])
unwinder = None
for number in range(count):
    try:
        if unwinder is None:
            unwinder = _remote_debugging.RemoteUnwinder(pid, all_threads=True)
        found = unwinder.get_stack_trace()
    except Exception as error:
        print(json.dumps(str(error)))
        continue
    threads = [thread for one in found for thread in getattr(one, "threads", [one])]
    print(json.dumps([[[frame.filename, frame.funcname,
                        frame.lineno if hasattr(frame, "lineno") else frame.location and frame.location.lineno]
                       for frame in thread.frame_info] for thread in threads]))
"""


class Unwinder(Peer):
    """_remote_debugging, which reads processes of its own version."""

    name = "CPython's own"

    def why_not(self, interpreter):
        status, _, _ = run([interpreter["executable"], "-c", "import _remote_debugging"])
        return None if status == 0 else "it has no _remote_debugging"

    def command(self, interpreter, pid, native=False):
        return [interpreter["executable"], "-c", UNWINDER, str(pid), "1"]

    def captures(self, interpreter, pid, count):
        _, output, _ = run([interpreter["executable"], "-c", UNWINDER, str(pid), str(count)])
        for line in output.decode("utf-8", "replace").splitlines():
            found = json.loads(line)
            yield None if isinstance(found, str) else found

    def threads_in(self, text):
        found = json.loads(text)
        return 0 if isinstance(found, str) else len(found)


class Gdb(Peer):
    """py-bt, where the interpreter brings its python-gdb.py."""

    name = "gdb py-bt"

    def script(self, interpreter):
        """As `make install` calls it, or Debian's python3-dbg."""
        path = os.path.realpath(interpreter["executable"])
        paths = [path + "-gdb.py", "/usr/share/gdb/auto-load" + path + "-gdb.py"]
        return next((one for one in paths if os.path.exists(one)), None)

    def why_not(self, interpreter):
        if not shutil.which("gdb"):
            return "there is no gdb"
        return None if self.script(interpreter) else "the interpreter has no python-gdb.py"

    def command(self, interpreter, pid, native=False):
        return ["gdb", "-q", "-batch", "-nx", "-p", str(pid), "-ex", "source " + self.script(interpreter),
                "-ex", "thread apply all py-bt"]

    def threads_in(self, text):
        return text.count("Traceback (most recent call first)")


JUDGED = (PySpy, PyStack, Austin, Unwinder)  # each can look without stopping the process
TIMED = JUDGED + (Gdb,)


def peers(kinds=JUDGED):
    return [kind() for kind in kinds]


# ---- Speed ----


def timed(launcher, command, environment):
    """(milliseconds, peak memory in KiB, exit status, output, errors) of one run."""
    with tempfile.NamedTemporaryFile("r") as told:
        status, output, errors = run([launcher, told.name, shutil.which(command[0])] + command[1:], environment)
        if status != 0:
            return 0, 0, status, output, errors
        microseconds, memory, status = map(int, told.read().split())
    return microseconds / 1e3, memory, status, output, errors


def speed_row(peer, launcher, interpreter, pid, threads, times, native):
    row = {"tool": peer.title() + (" --native" if native else ""), "milliseconds": None, "kilobytes": None}
    row["why"] = peer.why_not(interpreter)
    milliseconds, memory = [], []
    while row["why"] is None and len(milliseconds) < times and sum(milliseconds) < 1000 * ENOUGH_SECONDS:
        command = peer.command(interpreter, pid, native)
        took, peak, status, output, errors = timed(launcher, command, peer.environment_here())
        seen = peer.threads_in(output.decode("utf-8", "replace")) if status == 0 else 0
        if seen < threads:
            row["why"] = peer.reason(errors) or "it shows %d of %d threads" % (seen, threads)
        milliseconds.append(took)
        memory.append(peak)
    if row["why"] is None:
        row.update(milliseconds=statistics.median(milliseconds), kilobytes=max(memory))
    return row


def speed_rows(tools, launcher, interpreter, pid, threads, times):
    """
    How long each of these tools takes for one look at a process of so many threads, by bench/launch.c: dicts of `tool`,
    and `milliseconds` (wall, median) and `kilobytes` (peak memory), or `why` there are none.
    """
    for peer in tools:
        for native in (False, True) if peer.native else (False,):
            yield speed_row(peer, launcher, interpreter, pid, threads, times, native)
