# interpreters: host
# weight: heavy
"""
examples/demo/run under every interpreter: what it shows and keeps, and how it ends.

The oracle is the source of the demo's programs: comments `# THREAD N` say which line is on whose stack, and ast says
in which function it stands and which expressions there are. The three formats of a report are compared frame by frame.
"""

import ast
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ["PYUNWIND_SOURCE"])
DEMO = SOURCE / "examples" / "demo"
SCRATCH = Path.cwd()
TERMINAL = dict(os.environ, TERM="xterm-256color")
for variable in ("NO_COLOR", "LD_PRELOAD", "PYTHON", "COLUMNS"):
    TERMINAL.pop(variable, None)

frames_compared = 0


# ---- What the sources say -------------------------------------------------------------------------------------------


class Source:
    """One of the demo's programs: the marked stacks, and the expressions by their position."""

    def __init__(self, path):
        self.path = path
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        self.scopes = {}  # line -> the innermost scope around it: name, qualified name
        self._visit(tree, "<module>", "<module>", "")
        self.expressions = {
            (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
            for node in ast.walk(tree)
            if isinstance(node, ast.expr)
        }
        self.stacks = {}  # thread -> N -> line
        for number, line in enumerate(text.splitlines(), 1):
            marker = re.search(r"  # (\w+ \d+(?:, \w+ \d+)*)$", line)
            for word in marker[1].split(", ") if marker else []:
                thread, index = word.split()
                assert index not in self.stacks.setdefault(thread, {}), "%s:%d: marked twice" % (path, number)
                self.stacks[thread][int(index)] = number
        for stack in self.stacks.values():
            stack.update(self.stacks.get("every", {}))
        self.stacks.pop("every", None)

    def _visit(self, node, name, qualname, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._visit(child, child.name, prefix + child.name, prefix + child.name + ".<locals>.")
            elif isinstance(child, ast.ClassDef):
                self._visit(child, child.name, prefix + child.name, prefix + child.name + ".")
            else:
                if hasattr(child, "lineno"):
                    for number in range(child.lineno, child.end_lineno + 1):
                        self.scopes[number] = (name, qualname)
                self._visit(child, name, qualname, prefix)

    def stack(self, thread):
        """[(line, name, qualified name)], the innermost first."""
        lines = self.stacks[thread]
        assert sorted(lines) == list(range(len(lines))), "%s: the marks of %s have a gap" % (self.path, thread)
        return [(lines[n],) + self.scopes[lines[n]] for n in range(len(lines))]


# ---- What a report says ---------------------------------------------------------------------------------------------


class Report:
    def __init__(self, path):
        text = path.read_text(encoding="utf-8")
        sections = re.fullmatch(r"(.*)\n\[frames\]\n(.*)\[text\]\n(.*)\[json\]\n(.*)\[end\]\n", text, re.S)
        assert sections, text
        self.heading = sections[1]
        self.text_lines = sections[3].splitlines()
        self.json_lines = sections[4].splitlines()
        self.threads = [json.loads(line) for line in self.json_lines]
        self.own = self.split(sections[2].splitlines(), "thread ")
        self.text = self.split(self.text_lines, "(?:Current t|T)hread 0x")

    @staticmethod
    def split(lines, head):
        """[(heading, [line])] of the threads, in order."""
        threads = []
        for line in lines:
            if re.match(head, line):
                threads.append((line, []))
            elif line:
                threads[-1][1].append(line)
        return threads


def short(filename):
    return "/".join(filename.split("/")[-2:])


def own_line(frame):
    """A frame as the demo's handler writes it, but for the kind behind it."""
    place = short(frame["filename"])
    if frame["lineno"] is not None:
        place += ":%d" % frame["lineno"]
    if frame["colno"] is not None:
        place += ":%d" % (frame["colno"] + 1)
    return "  %s %s" % (place, frame["qualname"] or frame["name"])


def escaped(text):
    """As CPython's own dumps escape."""
    return "".join(
        char if " " <= char <= "~" else ("\\x%02x" if char <= "\xff" else "\\u%04x") % ord(char) for char in text
    )


def text_line(frame):
    return '  File "%s", line %d in %s' % (escaped(frame["filename"]), frame["lineno"], escaped(frame["name"]))


def check_thread(thread, source, name, python):
    """A thread's JSON against the marks in the source."""
    global frames_compared
    assert thread["status"] == "complete", thread
    own = [frame for frame in thread["frames"] if frame["filename"] == str(source.path)]
    has_positions = version_of(python) >= (3, 11)
    expected = [(line, word, qualname if has_positions else None) for line, word, qualname in source.stack(name)]
    found = [(frame["lineno"], frame["name"], frame["qualname"]) for frame in own]
    assert found == expected, "%s, thread %s:\n%s\nwanted\n%s" % (source.path.name, name, found, expected)
    for frame in own:
        position = tuple(frame[key] for key in ("lineno", "end_lineno", "colno", "end_colno"))
        if has_positions:
            assert position in source.expressions, "%s: no expression at %s" % (source.path.name, position)
        else:
            assert position[1:] == (None, None, None), position
    frames_compared += len(own)


def check_formats(report):
    """All three formats have the same threads with the same frames."""
    assert len(report.own) == len(report.text) == len(report.threads)
    by_native_id = {str(thread["native_id"]): thread for thread in report.threads}
    by_thread_id = {"%016x" % thread["thread_id"]: thread for thread in report.threads}
    assert len(by_native_id) == len(by_thread_id) == len(report.threads)
    for heading, lines in report.own:
        thread = by_native_id[re.match(r"thread (\d+)", heading)[1]]
        assert '"%s"' % thread["name"] in heading, heading
        assert (", holds the GIL" in heading) == thread["holds_gil"], heading
        assert (", main thread" in heading) == (thread["native_id"] == thread["pid"]), heading
        assert [re.sub(r" \[[a-z ]+\]$", "", line) for line in lines] == [own_line(f) for f in thread["frames"]]
    for heading, lines in report.text:
        thread = by_thread_id[re.search(r"hread 0x([0-9a-f]{16})", heading)[1]]
        assert lines == [text_line(frame) for frame in thread["frames"]]


def version_of(python):
    return tuple(map(int, python["version"].split(".")[:2]))


def check_first_thread(report, role):
    """The thread that ran the handler comes first in the handler's own format, and is the current one of the text."""
    heading = report.own[0][0]
    assert heading.endswith(", " + role), heading
    assert not any(role in other for other, lines in report.own[1:])
    native_id = int(re.match(r"thread (\d+)", heading)[1])
    thread = next(thread for thread in report.threads if thread["native_id"] == native_id)
    current = [head for head, lines in report.text if head.startswith("Current thread")]
    assert len(current) == 1 and "0x%016x" % thread["thread_id"] in current[0], report.text
    return thread


def check_reports(folder, python):
    release = re.match(r"\d+\.\d+\.\d+", python["version"])[0]
    build = release + (", free-threaded" if python["free_threaded"] else "")
    reports = {path.name: Report(path) for path in folder.iterdir()}
    sources = {name: Source(DEMO / "programs" / name[: -len(".report")]) for name in reports}
    assert sorted(reports) == ["crash_in_c.py.report", "crash_without_gil.py.report", "crêperie.py.report"]

    for name, report in reports.items():
        check_formats(report)
        pid = report.threads[0]["pid"]
        threads = {t["name"] if t["native_id"] != pid else "main": t for t in report.threads}
        assert sorted(threads) == sorted(sources[name].stacks), sorted(threads)
        for thread, found in threads.items():
            check_thread(found, sources[name], thread, python)
        where = "" if name == "crêperie.py.report" else ", at address 0x0 (not mapped)"
        signal_name = "SIGSEGV" if where else "SIGUSR1"
        assert report.heading == "%s in CPython %s, process %d%s" % (signal_name, build, pid, where), report.heading

    report = reports["crêperie.py.report"]
    assert check_first_thread(report, "runs this handler")["native_id"] == report.threads[0]["pid"]
    assert not any(thread["holds_gil"] for thread in report.threads)
    kinds = {re.sub(r".* (\S+) \[", r"\1 [", line) for head, lines in report.own for line in lines if "[" in line}
    generator = "knead_pâte.<locals>.ingredients" if version_of(python) >= (3, 11) else "ingredients"
    assert kinds == {"flambé [coroutine]", "serve [coroutine]", generator + " [generator]"}, kinds

    thread = check_first_thread(reports["crash_in_c.py.report"], "crashed here")
    assert thread["holds_gil"] == (not python["free_threaded"])
    assert (thread["frames"][0]["name"], short(thread["frames"][0]["filename"])) == ("string_at", "ctypes/__init__.py")

    thread = check_first_thread(reports["crash_without_gil.py.report"], "crashed here")
    assert (thread["name"], thread["holds_gil"]) == ("scale", False)
    assert (thread["frames"][0]["name"], thread["native_id"] != thread["pid"]) == ("weigh", True)
    return reports.values()


# ---- What the demo shows --------------------------------------------------------------------------------------------


def check_output(output, reports):
    assert "\x1b" not in output
    lines = output.splitlines()
    assert not any(line != line.rstrip() for line in lines)
    for report in reports:
        shown = "\n".join(line[2:] for line in lines)
        assert "\n".join(report.text_lines) in shown
        assert report.heading in shown
        for heading, frames in report.own:
            first = lines.index("  " + heading)
            for wanted, line in zip(frames, lines[first + 1 :]):
                assert line.startswith("  " + wanted), line
        assert min(report.json_lines, key=len) in lines
    pretty = re.search(r"through `python3 -m json\.tool`\n(\{\n.*?\n\})\n", output, re.S)
    assert json.loads(pretty[1]) in [thread for report in reports for thread in report.threads]
    for source in ("        stand_still()", " return NATIVE.weigh(bag)", " return ctypes.string_at(address).decode()"):
        assert any(line.endswith(source) for line in lines), source
    assert output.count("died by SIGSEGV.") == 2 and output.count("ended with exit status 0.") == 1
    assert "# main" not in output  # the marks are for this test


def run_demo(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(DEMO / "run")] + [str(word) for word in arguments],
        env={**TERMINAL, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )


def files_of_demo():
    return sorted(DEMO.rglob("*"))


def test_interpreter(python):
    folder = SCRATCH / "reports" / python["label"]
    before = files_of_demo()
    run = run_demo("--keep", folder, PYTHON=python["executable"])
    assert run.returncode == 0 and run.stderr == "", "%s\n%s" % (run.stdout, run.stderr)
    check_output(run.stdout, check_reports(folder, python))
    assert files_of_demo() == before, "the demo leaves files behind"


def test_other_locale():
    """Whatever the user's own locale and encoding."""
    for locale in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}):
        run = run_demo(PYTHONCOERCECLOCALE="0", **locale)
        assert run.returncode == 0 and run.stderr == "", run.stderr


def test_terminal():
    """Colour on a terminal, and only there, unless it is not wanted."""

    def on_terminal(**environment):
        ours, theirs = pty.openpty()
        command = [sys.executable, str(DEMO / "run")]
        everywhere = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        process = subprocess.Popen(command, env={**TERMINAL, **environment}, **everywhere)
        os.close(theirs)
        output = b""
        try:
            while True:
                output += os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            os.close(ours)
        assert process.wait() == 0
        return output.decode()

    coloured = on_terminal()
    assert "\x1b[" in coloured
    plain = on_terminal(NO_COLOR="1")
    assert "\x1b" not in plain
    assert "\x1b" not in on_terminal(TERM="dumb")
    for output in (re.sub("\x1b\\[[0-9;]*m", "", coloured), plain):
        assert output.count("died by SIGSEGV.") == 2, output


def test_reader_leaves():
    """As `run | head -1` does: not a word about it."""
    command = [sys.executable, str(DEMO / "run")]
    with subprocess.Popen(command, env=TERMINAL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"CPython ")
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 1)


def test_failures():
    """It says so when a program does not end as it should, and when there is nothing to show."""

    def fake_python(body):
        """What the demo takes for an interpreter: a script that may start the real one."""
        path = SCRATCH / "python"
        head = "#!%s\nimport os, subprocess, sys\n" % sys.executable
        head += "if sys.argv[1] == '-c':\n    sys.exit(print('3.11.2', sys.argv[0], sep='\\n'))\n"
        path.write_text(head + "real = [%r] + sys.argv[1:]\n%s\n" % (sys.executable, body), encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    crash_is_lost = "if 'crash_in_c' in real[1]:\n    subprocess.run(real)\n    sys.exit(0)\n"
    survives = fake_python(crash_is_lost + "os.execv(real[0], real)")
    run = run_demo(PYTHON=survives)
    assert run.returncode == 1, run.stdout
    assert "It ended with exit status 0; it should have ended by SIGSEGV." in run.stdout, run.stdout
    assert "not every program ended as it should" in run.stderr, run.stderr

    without_handler = fake_python("del os.environ['LD_PRELOAD']\nos.execv(real[0], real)")
    run = run_demo(PYTHON=without_handler)
    assert (run.returncode, "ended by SIGUSR1" in run.stderr) == (1, True), run.stderr

    for environment, words in [
        ({"PYTHON": "/bin/true"}, "is not Python"),
        ({"PYTHON": "/bin/false"}, "cannot run Python"),
        ({"PYTHON": str(SCRATCH / "missing")}, "cannot run Python"),
        ({"PYUNWIND_BUILD": str(SCRATCH)}, "run `make` first"),
    ]:
        run = run_demo(**environment)
        assert (run.returncode, words in run.stderr) == (1, True), run.stderr
        assert "Traceback" not in run.stderr, run.stderr


def main():
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    for python in pythons:
        test_interpreter(python)
        print(python["label"], flush=True)
    test_other_locale()
    test_terminal()
    test_reader_leaves()
    test_failures()
    assert frames_compared > 0
    print("%d interpreters, %d marked frames in three formats each" % (len(pythons), frames_compared))


if __name__ == "__main__":
    signal.alarm(800)  # below the limit of tests/run: a hang is shown with what was printed
    main()
