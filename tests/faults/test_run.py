# interpreters: each
# weight: heavy
"""
Each system call of `pyunwind run` fails, in all ways of its own, one at a time: of a program that exits, and of one that
is killed, also with --trace-kills. The exit status is the program's, or 125 to 127, and then standard error says why and
the program has not run; nothing hangs, and no process is left. Where there is a report of the one that was killed it tells
that signal.
"""

import json
import os
import shutil
import signal
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))

import faults  # noqa: E402

FOLDER = os.path.join(os.getcwd(), "reports")
EXITS = "import os; os.write(1, b'ran'); os._exit(7)"
KILLED = "import os, signal; os.write(1, b'ran'); os.kill(os.getpid(), signal.SIGKILL)"
WAYS = [("exits", EXITS, []), ("killed", KILLED, []), ("killed", KILLED, ["--trace-kills"])]


class Runs(faults.Judged):
    def __init__(self, tally, name, code, options):
        self.tally, self.name, self.options = tally, name, options
        self.command = [faults.COMMAND, "run", "--report-dir", FOLDER] + options + [sys.executable, "-S", "-c", code]
        self.what = "run %s%s" % (" ".join(options + [""]), name)
        self.ends = 7 if name == "exits" else -signal.SIGKILL
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYUNWIND_", "XDG_", "LD_"))}
        self.environment = dict(kept, PYTHONDONTWRITEBYTECODE="1")

    def run(self, call=None, error=None):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.mkdir(FOLDER, 0o700)
        return faults.run(self.command, "start", call, error, self.environment)

    def reports(self):
        found = []
        for name in sorted(os.listdir(FOLDER)):
            if name.endswith(".json") and not name.startswith("."):
                with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                    found.append(json.load(file))
        return found

    def judge(self, done):
        check = self.tally.check
        part = done.fault.split(":")[2]
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        code = done.code()
        if part == "loader" and done.output == b"" and code not in (0, 7):
            return "not loaded"
        if code in (125, 126, 127):
            check(done.output == b"" and done.errors != b"", self.what, "not started:", done.describe())
            return "status %d and a message" % code
        if ":kill:" in done.fault and code == 128 + signal.SIGKILL and self.name == "killed":
            return "128 and the signal's number"  # who cannot kill itself (docs/run.md)
        if not check(code == self.ends and done.output == b"ran", self.what, "ends otherwise:", done.describe()):
            return "wrong"
        found = self.reports()
        if self.name == "exits":
            check(not found, self.what, "a report of a program that has not died:", found, done.describe())
            return "as bare"
        # Where nothing at all can be read any more, nothing of a death is known.
        reads_nothing = done.fault.split(":")[3] == "read" and "+" in done.fault
        check(found or done.errors != b"" or reads_nothing or self.name != "killed", self.what,
              "leaves no report, and says nothing:", done.describe())
        for document in found:
            check(document["signal"] is not None and document["signal"]["number"] == signal.SIGKILL and
                  document["pid"] is not None, self.what, "the report tells", document, done.describe())
        if "--trace-kills" in self.options and found and found[0]["status"] == "complete":
            names = [frame["name"] for thread in found[0]["threads"] for frame in thread["frames"]
                     if frame["kind"] == "python"]
            whole = all(thread["status"] == "complete" for thread in found[0]["threads"])
            check(names == ["<module>"] or not whole, self.what, "complete, but its frames are", names,
                  done.describe())
        return "as bare, %s" % (found[0]["status"] + " report" if found else
                                "no report" + (" and a message" if done.errors else ""))

    def all(self):
        first = self.run()
        names = faults.unknown_names(first.calls)
        good = first.code() == self.ends and first.output == b"ran" and len(self.reports()) == (self.name == "killed")
        self.tally.check(good and not names, self.what, "without a failure:", names, first.describe())
        calls = [call for call in first.calls if call.program == "pyunwind"]  # the program's own are not ours
        self.each(calls)


def body(tally):
    for way in WAYS:
        Runs(tally, *way).all()


if __name__ == "__main__":
    sys.exit(faults.test(body))
