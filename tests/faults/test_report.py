# interpreters: host
"""
Each system call of `pyunwind report` fails, in all ways of its own, one at a time: of a report as text, as JSON and as
Markdown, of an unfinished one, of the list of a folder, and of its removal. Either what is told is what is told without a
failure, or the exit status is 1 and standard error says what was not to be had. Nothing is removed but what is named.
"""

import os
import shutil
import signal
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))

import faults  # noqa: E402

PROGRAM = os.path.join(SOURCE, "tests", "faults", "crashing.py")
MADE, FOLDER = os.path.join(os.getcwd(), "made"), os.path.join(os.getcwd(), "folder")


def make_reports():
    """Two finished, and one that is not: no sidecar could be started."""
    environment = dict(os.environ, CRASHING_BEGIN=faults.BEGIN, CRASHING_REPORTS=MADE)
    os.makedirs(MADE, 0o700)
    first = faults.run([sys.executable, PROGRAM], "mark", None, None, environment)
    assert first.code() == -signal.SIGSEGV, first.describe()
    clone = next(call for call in first.calls if call.name == "clone" and call.process == 0)
    assert faults.run([sys.executable, PROGRAM], "mark", clone, "EAGAIN+", environment).hit
    assert subprocess.run([sys.executable, PROGRAM], env=environment).returncode == -signal.SIGSEGV
    names = sorted(os.listdir(MADE))
    finished = [name for name in names if name.endswith(".json")]
    partial = [name for name in names if name.endswith(".partial")]
    assert len(finished) == 2 and len(partial) == 1, names
    return finished[0], partial[0]


class Reports(faults.Judged):
    def __init__(self, tally, what, arguments):
        self.tally, self.what = tally, "report " + what
        self.command = [faults.COMMAND, "report"] + arguments
        self.reference = None

    def run(self, call=None, error=None):
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(MADE, FOLDER)
        done = faults.run(self.command, "start", call, error)
        done.left_files = sorted(os.listdir(FOLDER))
        return done

    def judge(self, done):
        check = self.tally.check
        part, code = done.fault.split(":")[2], done.code()
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        check(set(done.left_files) >= set(self.reference.left_files), self.what, "removes more:", done.left_files,
              done.describe())
        if part == "loader" and code is not None and (code == 127 or code < 0):
            return "not loaded"
        if not check(code in (0, 1), self.what, "exit status:", done.describe()):
            return "wrong"
        if code == self.reference.code() and done.output == self.reference.output:
            check(done.left_files == self.reference.left_files, self.what, "does not remove:", done.left_files,
                  done.describe())
            return "the same"
        if done.fault.rstrip("+").endswith(" ENOENT") and ("--list" in self.what or "--prune" in self.what):
            return "gone meanwhile"  # which the call says: there is nothing to tell of it
        all_writes = done.fault.split(":")[3] == "write" and "+" in done.fault
        check(code == 1 and (done.errors != b"" or all_writes), self.what, "tells less, and nothing of that:",
              done.describe())
        return "status 1 and a message"

    def all(self):
        self.reference = self.run()
        unknown = faults.unknown_names(self.reference.calls)
        self.tally.check(self.reference.code() == 0 and self.reference.output and not unknown, self.what,
                         "without a failure:", unknown, self.reference.describe())
        self.each(self.reference.calls)
        if "--prune" in self.what:
            self.each_named(self.reference.calls, "newfstatat", "EACCES")


def body(tally):
    finished, partial = [os.path.join(FOLDER, name) for name in make_reports()]
    for what, arguments in (("FILE", [finished]), ("--json FILE", ["--json", finished]),
                            ("--markdown FILE", ["--markdown", finished]), ("of an unfinished one", ["--json", partial]),
                            ("--list", ["--list", FOLDER]), ("--prune", ["--prune", "--keep", "1", FOLDER])):
        Reports(tally, what, arguments).all()


if __name__ == "__main__":
    sys.exit(faults.test(body))
