"""
Crashes, each made twice: bare and with the tracker. What is compared is what became of the process (its status with the
signal and the core flag, what it printed, the core file, the children it left); what is judged is the report.

Runs on CPython 3.8 to 3.15.
"""

import ctypes
import glob
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ["PYUNWIND_SOURCE"]
BUILD = os.environ["PYUNWIND_BUILD"]
COMMAND = os.path.join(BUILD, "pyunwind")
SCHEMA = os.path.join(SOURCE, "docs", "crash.schema.json")
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from compile import compile_shared, preloading  # noqa: E402, F401
from validator import violations  # noqa: E402

# Crashes that a sanitizer's own malloc finds, and tells otherwise; an allocator that stands behind it; and an address
# space that its shadow fills.
NOT_SANITIZED = {"free twice", "abort in malloc", "canary", "no heap", "no mapping", "address space exhausted"}
SANITIZED = "PYUNWIND_SANITIZED" in os.environ

TIME_LIMIT = 300  # seconds, of a program: then it hangs
PR_SET_CHILD_SUBREAPER = 36
ALL_CHILDREN = 0x40000000  # __WALL

libc = ctypes.CDLL(None, use_errno=True)


class Crash:
    """
    A program and what is expected of it.

    name         of the case
    text         of the program; the line with `# HERE` is where it is to be when it crashes
    causes       of the diagnosis, one of which is right
    signal       which the report tells; None: of a process that goes on
    ends         status: what becomes of the process: minus the signal, or an exit status
    function     the innermost native one of the thread that crashed; None: not ours
    status       of the report: "complete", "partial", or None for either
    kind         "report"; "unfinished": it stays one; "none": no report is to be made; None: it is
                 kept elsewhere, and judged by check
    report_of    "process", or "child": the report is of another
    python       False: the thread that crashed has no Python frames
    environment  more variables
    check        function(case, outcome, document), with more checks
    same_instruction  False: which one meets the fault differs from run to run
    has_text     the report for people is on standard error
    prepare      called in the new process before it executes the program
    """

    def __init__(self, name, text, causes=("null_read",), signal=signal.SIGSEGV, ends=None, function=None,
                 status="complete", kind="report", report_of="process", python=True, environment=None, check=None,
                 prepare=None, same_instruction=True, has_text=False):
        self.name, self.text, self.causes, self.signal = name, text, causes, signal
        self.ends = ends if ends is not None else -signal
        self.function, self.status, self.kind, self.report_of = function, status, kind, report_of
        self.python, self.environment, self.check, self.prepare = python, environment or {}, check, prepare
        self.same_instruction, self.has_text = same_instruction, has_text

    def line(self):
        lines = [number for number, line in enumerate(self.text.splitlines(), 1) if "# HERE" in line]
        assert len(lines) == 1, "%s: not one line is marked" % self.name
        return lines[0]


class Outcome:
    """What became of one run."""

    def __init__(self):
        self.status = None  # of wait(2)
        self.pid = None
        self.output = self.errors = b""
        self.left = 0  # children that outlived it
        self.core = None
        self.hung = False

    def said(self):
        """Both streams, without what differs from run to run: addresses, ids."""
        return [normalised(text) for text in (self.output, self.errors)]


def normalised(text):
    text = re.sub(rb"0x[0-9a-f]{4,}", b"ADDRESS", text)
    text = re.sub(rb"-(bare|tracked)/", b"-run/", text)
    text = re.sub(rb"pid=\d+", b"pid=PID", text)
    # faulthandler of 3.14+ tells of the C stack, which our handler stands on where it is called by it.
    text = re.sub(rb"Current thread's C stack trace.*?(\n\n|\Z)", b"", text, flags=re.S)
    return text


def describe(status):
    if os.WIFSIGNALED(status):
        return "signal %d%s" % (os.WTERMSIG(status), ", core" if os.WCOREDUMP(status) else "")
    return "exit status %d" % os.WEXITSTATUS(status)


def code_of(status):
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


# ---- Core files -----------------------------------------------------------------------------------------------------


def allow_core():
    """With the registers and no memory: it is small."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    with open("/proc/self/coredump_filter", "w") as file:
        file.write("0")


def read_core(folder):
    """(signal, code, address in the page of the instruction) of the core file in a folder, or None."""
    files = glob.glob(os.path.join(folder, "core*"))
    if not files:
        return None
    with open(files[0], "rb") as file:
        data = file.read()
    os.unlink(files[0])
    if not data:  # there was no room for it
        return ()
    found = {}
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for n in range(count):
        kind, _flags, at, _virtual, _physical, length = struct.unpack_from("<IIQQQQ", data, offset + n * size)
        if kind != 4:  # PT_NOTE
            continue
        end = at + length
        while at < end:
            name_size, size_of_note, type_of_note = struct.unpack_from("<III", data, at)
            at += 12 + (name_size + 3 & ~3)
            found.setdefault(type_of_note, at)  # the first thread is the one that died
            at += size_of_note + 3 & ~3
    number, _errno, code = struct.unpack_from("<iii", data, found[0x53494749])  # NT_SIGINFO
    # NT_PRSTATUS: registers from byte 112, rip is the 17th (sys/user.h)
    instruction, = struct.unpack_from("<Q", data, found[1] + 112 + 16 * 8)
    return number, code, instruction & 0xFFF


# ---- A run ----------------------------------------------------------------------------------------------------------


def children():
    found = []
    for path in glob.glob("/proc/self/task/*/children"):
        try:
            with open(path) as file:
                found += [int(word) for word in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile: another inherits them
            pass
    return found


def end_leftovers():
    """Orphans are ours, as a subreaper's: as long as they are not waited for, their numbers are theirs."""
    left = children()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, ALL_CHILDREN)
    return len(left)


def environment_of(case, tracked, reports, crasher):
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith("PYUNWIND_") or key in ("PYUNWIND_SOURCE", "PYUNWIND_BUILD")}
    kept.update(PYUNWIND_REPORT_DIR=reports, CORPUS_CRASHER=crasher, PYTHONPATH=HERE)
    if tracked:
        kept["CORPUS_TRACKED"] = "1"
    kept.update(case.environment)
    return kept


def run(case, folder, tracked, crasher, watch=None):
    """watch: called with the process when it runs; it may end it."""
    outcome = Outcome()
    reports = os.path.join(folder, "reports")
    program = os.path.join(folder, "case.py")
    os.makedirs(folder)
    os.mkdir(reports, 0o700)
    with open(program, "w", encoding="utf-8") as file:
        file.write(case.text)

    def prepare():
        allow_core()
        if case.prepare:
            case.prepare()

    paths = [os.path.join(folder, name) for name in ("output", "errors")]
    with open(paths[0], "wb") as output, open(paths[1], "wb") as errors:
        process = subprocess.Popen([sys.executable, program], cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=errors, env=environment_of(case, tracked, reports, crasher),
                                   preexec_fn=prepare)

    def end_it():
        outcome.hung = True
        process.kill()

    timer = threading.Timer(TIME_LIMIT, end_it)
    timer.start()
    if watch:
        watch(process, folder)
    # Not waited for as long as it may be ended.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    timer.cancel()
    timer.join()
    outcome.pid = process.pid
    _pid, outcome.status = os.waitpid(process.pid, 0)
    process.returncode = code_of(outcome.status)
    outcome.left = end_leftovers()
    outcome.core = read_core(folder)
    outcome.output, outcome.errors = [open(path, "rb").read() for path in paths]
    return outcome


# ---- The report -----------------------------------------------------------------------------------------------------


def files_of(folder):
    try:
        return sorted(os.listdir(os.path.join(folder, "reports")))
    except (FileNotFoundError, NotADirectoryError):
        return []


def normalise(path):
    """An unfinished report as a document."""
    done = subprocess.run([COMMAND, "report", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        return None, done.stderr.decode(errors="replace").strip()
    return json.loads(done.stdout.decode("utf-8")), None


def crashed_of(document):
    return [thread for thread in document["threads"] if thread["crashed"]]


def python_frames(thread):
    return [frame for frame in thread["frames"] if frame["kind"] == "python"]


def native_frames(thread):
    frames = thread["native_frames"]
    if frames is None:
        frames = thread["frames"]
    return [frame for frame in frames if frame["kind"] == "native"]


# ---- All ------------------------------------------------------------------------------------------------------------


class Corpus:
    """Runs crashes, keeps their reports, and ends with a line that counts."""

    def __init__(self):
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.crasher = compile_shared("crasher", os.path.join(HERE, "crasher.c"))
        self.failures = []
        self.documents = []
        self.score = {"complete": 0, "partial": 0, "lost": 0}
        self.made = 0
        self.wanted = sys.argv[1:]  # names of cases, while one works at them
        self.case = None

    def wrong(self, *words):
        self.failures.append("%s: %s" % (self.case.name, " ".join(str(word) for word in words)))
        print("WRONG", self.failures[-1][:4000])

    def check(self, condition, *words):
        if not condition:
            self.wrong(*words)
        return condition

    def folder(self, kind):
        return os.path.join(os.getcwd(), "%s-%s" % (re.sub(r"\W+", "-", self.case.name), kind))

    def is_wanted(self, case):
        if SANITIZED and case.name.split(",")[0] in NOT_SANITIZED:
            return False
        return not self.wanted or case.name in self.wanted

    def test(self, case):
        if not self.is_wanted(case):
            return
        self.case = case
        self.made += 1
        bare = run(case, self.folder("bare"), False, self.crasher)
        outcome = run(case, self.folder("tracked"), True, self.crasher)
        mistakes = len(self.failures)
        self.compare(bare, outcome)
        document = self.find_report(outcome)
        if document is not None:
            self.judge(document, outcome)
        if case.check:
            case.check(self, outcome, document)
        if len(self.failures) > mistakes:
            print("    output %r\n    errors %r" % (outcome.output[-1500:], outcome.errors[-1500:]))

    def compare(self, bare, outcome):
        case = self.case
        self.check(not bare.hung and not outcome.hung, "it hangs: bare %s, tracked %s" % (bare.hung, outcome.hung))
        self.check(code_of(bare.status) == case.ends, "bare it ended with", describe(bare.status), bare.errors[-1500:])
        self.check(outcome.status == bare.status, "it ended with", describe(outcome.status), "and bare with",
                   describe(bare.status))
        said, bare_said = outcome.said(), bare.said()
        if case.has_text:
            self.check(said[1].startswith(bare_said[1]) and b"Process %d" % outcome.pid in said[1],
                       "the text is not there:", said[1])
            said, bare_said = said[:1], bare_said[:1]
        self.check(said == bare_said, "it said", said, "and bare", bare_said)
        self.check(outcome.left == bare.left, "it left %d children, and bare %d" % (outcome.left, bare.left))
        told = [core[:2] if core and not case.same_instruction else core for core in (outcome.core, bare.core)]
        self.check(told[0] == told[1], "its core is", told[0], "and the bare one's", told[1])

    def find_report(self, outcome):
        """The document, where one is wanted and there."""
        case = self.case
        if case.kind is None:
            return None
        folder = self.folder("tracked")
        files = files_of(folder)
        finished = [name for name in files if name.endswith(".json") and not name.startswith(".")]
        partial = [name for name in files if name.endswith(".partial")]
        if case.kind == "none":
            self.check(not files, "no report was wanted, but there is", files)
            return None
        wanted = finished if case.kind == "report" else partial
        if not self.check(files == wanted and len(wanted) == 1, "wanted is one %s, and there is" % case.kind, files):
            wanted = finished[:1] or partial[:1]
        if not wanted:
            self.score["lost"] += 1
            return None
        path = os.path.join(folder, "reports", wanted[0])
        if wanted[0].endswith(".partial"):
            document, why = normalise(path)
            if not self.check(document is not None, "the unfinished report cannot be read:", why):
                self.score["lost"] += 1
                return None
            path += ".normalised"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(document, file)
        else:
            with open(path, encoding="utf-8") as file:
                document = json.load(file)
        self.documents.append(path)
        return document

    def judge(self, document, outcome):
        case = self.case
        mistakes = len(self.failures)
        crashed = crashed_of(document)
        if case.signal is None:  # the process goes on
            self.check(not crashed, "%d threads crashed" % len(crashed))
        else:
            self.check(len(crashed) == 1 and document["threads"][0]["crashed"], "%d threads crashed" % len(crashed))
        self.check((document["pid"] == outcome.pid) == (case.report_of == "process"), "the pid is", document["pid"])
        told = document["signal"]["number"] if document["signal"] else None
        self.check(told == case.signal, "the signal is", told)
        cause = document["diagnosis"]["cause"]
        self.check(cause in case.causes, "the cause is", cause, document["diagnosis"], document["registers"])
        if case.status is not None:
            self.check(document["status"] == case.status, "the status is", document["status"], document["notes"])
        if crashed:
            self.judge_thread(crashed[0])
        good = len(self.failures) == mistakes and document["status"] == "complete"
        self.score["complete" if good else "partial"] += 1

    def judge_thread(self, thread):
        case = self.case
        frames = python_frames(thread)
        if case.python is False:
            self.check(not frames, "the thread has Python frames", frames[:3])
        elif case.python is True:
            innermost = frames[0] if frames else None
            right = innermost is not None and innermost["lineno"] == case.line() and (
                os.path.basename(innermost["filename"] or "") == "case.py")
            self.check(right, "not line %d is innermost:" % case.line(), innermost, thread["status"])
        if case.function is not None:
            native = native_frames(thread)
            self.check(native and native[0]["function"] == case.function, "not %s is innermost:" % case.function,
                       native[:3])

    def finish(self):
        """The exit status."""
        self.case = Crash("schema", "")
        found = violations(SCHEMA, self.documents) if self.documents else ""
        self.check(not found, "what the schema forbids:", found)
        print("%d programs, %d reports%s" % (self.made, len(self.documents),
                                             ", NOT VALIDATED" if found is None else " validated"))
        print("%d were wrong; " % len(self.failures) if self.failures else "",
              "crashes: %(complete)d complete / %(partial)d partial / %(lost)d lost" % self.score, sep="")
        return 1 if self.failures else 0
