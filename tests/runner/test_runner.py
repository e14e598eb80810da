# interpreters: host
"""tests/run itself: what it counts, what it ends, and what it refuses, on a small project whose outcomes are known."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ["PYUNWIND_SOURCE"])
checked = 0

MESON_BUILD = """\
project('toy')
test('c/good', find_program('true'))
test('c/bad', find_program('false'))
"""

PYTHONS = """\
#!%s
print(%r)
""" % (
    sys.executable,
    json.dumps(
        [
            {"name": name, "label": name + ".0", "version": name + ".0", "free_threaded": False, "executable": sys.executable}
            for name in ("3.8", "3.12")
        ]
    ),
)

GOOD = "# interpreters: each\nprint('first')\nprint('good as can be')\n"
CRASH = "# interpreters: host\n# weight: heavy\nimport os\nprint('before the crash')\nos.abort()\n"
SKIP = "# interpreters: host\n# alone: yes\nimport sys\nprint('no such thing here')\nsys.exit(77)\n"
HANG = """\
# interpreters: host
# timeout: 1
import subprocess, sys
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
Path(%r).write_text(str(child.pid))
child.wait()
"""
ENVIRONMENT = """\
# interpreters: host
import os
for name in ("PYUNWIND_SOURCE", "PYUNWIND_BUILD", "PYUNWIND_PYTHONS"):
    assert os.path.exists(os.environ[name]), name
assert os.listdir() == [] and os.path.samefile(os.environ["TMPDIR"], "."), os.getcwd()
assert "PYTHONPATH" not in os.environ
"""


def check(condition, what, output):
    global checked
    checked += 1
    if not condition:
        sys.exit("%s\nnot so: %s" % (output, what))


def make_project(folder, tests):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tools").mkdir(parents=True)
    (folder / "tests" / "toy").mkdir(parents=True)
    for name in ("run", "sanitizers.py"):
        shutil.copy(SOURCE / "tests" / name, folder / "tests" / name)
    (folder / "tools" / "pythons").write_text(PYTHONS)
    (folder / "tools" / "pythons").chmod(0o755)
    (folder / "meson.build").write_text(MESON_BUILD)
    for name, text in tests.items():
        (folder / "tests" / "toy" / ("test_%s.py" % name)).write_text(text)
    subprocess.run(["meson", "setup", str(folder / "build"), str(folder)], stdout=subprocess.DEVNULL, check=True)


def run(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYUNWIND_")}
    environment["PYTHONPATH"] = "/nowhere"
    process = subprocess.run(
        [sys.executable, str(folder / "tests" / "run"), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = process.stdout.decode()
    return process.returncode, output, output.splitlines()[-1]


def has_ended(pid):
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)  # readable once the process has ended, reaped or not
    return bool(poll.poll(60 * 1000))


def check_outcomes(folder):
    pid_file = folder.parent / "pid"
    tests = {"good": GOOD, "crash": CRASH, "skip": SKIP, "hang": HANG % str(pid_file), "environment": ENVIRONMENT}
    make_project(folder, tests)

    status, output, last = run(folder)
    check(status == 1 and last == "4 passed, 3 failed, 1 skipped", "4 passed, 3 failed, 1 skipped", output)
    check("toy/good [3.8.0] ok" in output and "toy/good [3.12.0] ok" in output, "one result for each Python", output)
    check("s  good as can be\n" in output, "the last line of a test is its summary", output)
    check("| before the crash\n" in output and "ended by SIGABRT" in output, "a failure is shown whole", output)
    check("toy/skip [host] SKIPPED" in output and "no such thing here" in output, "a skip says why", output)
    check("limit of 1 s" in output, "the limit is named", output)
    check(has_ended(int(pid_file.read_text())), "the child of the test that hung has ended", output)
    check("c/good [C] ok" in output and "c/bad [C] FAILED" in output, "C programs are run", output)
    check("ONLY ONE" not in output and "3.9" in output, "what is not covered is said", output)

    status, output, last = run(folder, "--only", "toy/good", "--python", "3.12")
    check(status == 0 and last == "1 passed, 0 failed", "1 passed, 0 failed", output)
    check("ONLY ONE PYTHON VERSION, 3.12," in output, "a single version is said loudly", output)

    status, output, last = run(folder, "--list")
    check(status == 0 and len(output.splitlines()) == 8, "8 tests are listed", output)


def check_order(folder):
    """A seed tells the order in which tests are begun, and the one that was taken is printed."""
    make_project(folder, {"t%d" % n: "# interpreters: host\n" for n in range(12)})

    def order(*arguments):
        status, output, _ = run(folder, "--seconds", "600", "--jobs", "1", "--only", "toy", *arguments)
        check(status == 0, "all pass", output)
        return [line.split()[0] for line in output.splitlines() if " ok " in line], output

    first, output = order()
    seed = output.split("--seed ")[1].split()[0]
    check(sorted(first) == sorted("toy/t%d" % n for n in range(12)), "all are begun", output)
    check(order("--seed", seed)[0] == first, "the order of seed %s again" % seed, output)
    check(any(order("--seed", str(seed))[0] != first for seed in range(3)), "another seed, another order", output)


def check_refusals(folder):
    make_project(folder, {"good": GOOD})
    for arguments in (("--only", "nothing"), ("--python", "3.7"), ("--jobs", "0")):
        status, output, last = run(folder, *arguments)
        check(status not in (0, None) and "passed" not in last, "refused: %s" % (arguments,), output)

    for head in ("print('no head')\n", "# interpreters: all\n", "# interpreters: host\n# weight: some\n"):
        make_project(folder, {"head": head})
        status, output, last = run(folder)
        check(status == 1 and "test_head.py" in last, "the head is refused and its file named: %r" % head, output)


with tempfile.TemporaryDirectory() as temporary:
    check_outcomes(Path(temporary) / "toy")
    check_order(Path(temporary) / "toy")
    check_refusals(Path(temporary) / "toy")
print("%d checks of what tests/run counts, ends and refuses" % checked)
