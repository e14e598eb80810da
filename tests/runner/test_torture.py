# interpreters: host
"""tools/torture tells what was found and keeps the evidence; a part that hangs is ended, one that is absent refused."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
from pathlib import Path

SOURCE = Path(os.environ["PYUNWIND_SOURCE"])


def load():
    loader = importlib.machinery.SourceFileLoader("torture", str(SOURCE / "tools" / "torture"))
    sys.dont_write_bytecode = True
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("torture", loader))
    loader.exec_module(module)
    return module


def part(torture, name, script, present="README.md", evidence=()):
    return torture.Part(name, present, 50, lambda seconds, interpreters, seed: ["sh", "-c", script], evidence)


def run(torture, parts, *options):
    """(exit status, what was printed)"""
    torture.PARTS = parts
    sys.argv = ["torture", "--minutes", "0.02", *options]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            status = torture.main()
        except SystemExit as error:
            status = error.code
    return status, printed.getvalue()


def row(printed, name):
    return next(line for line in printed.splitlines() if line.startswith(name + " "))


def main():
    torture = load()
    absent = [one.name for one in torture.PARTS if not (SOURCE / one.present).exists()]
    assert not absent, "parts that are not in the checkout: %s" % absent
    assert sum(one.share for one in torture.PARTS) == 100, "the shares are not the whole"
    good = part(torture, "good", "echo all is well")
    status, printed = run(torture, [good], "--evidence", "one")
    assert status == 0 and "nothing" in row(printed, "good") and "all is well" in row(printed, "good"), printed
    assert Path("one/good.output").read_text() == "all is well\n"

    made = Path("made").resolve()
    made.mkdir()
    (made / "crash-1").write_text("the input")
    bad = part(torture, "bad", "echo broken; exit 3", evidence=[str(made)])
    torture.SLACK = 1
    hanging = part(torture, "hanging", "trap '' TERM; while :; do sleep 1; done")
    killed = part(torture, "killed", "kill -9 $$")
    torture.GRACE = 1
    status, printed = run(torture, [good, bad, hanging, killed], "--evidence", "two")
    assert status == 1, (status, printed)
    assert "FOUND (exit status 3)" in row(printed, "bad") and "hung" in row(printed, "hanging"), printed
    assert "FOUND" in row(printed, "killed") and "nothing" in row(printed, "good"), printed
    assert printed.splitlines()[-1] == "torture: 4 parts, found something: bad, hanging, killed", printed
    assert Path("two/bad/made/crash-1").read_text() == "the input"

    status, printed = run(torture, [good, bad], "--without", "bad", "--evidence", "three")
    assert status == 0, printed
    status, printed = run(torture, [part(torture, "gone", "true", present="no/such/file")])
    assert "not in this checkout: gone (no/such/file)" in status, status
    status, printed = run(torture, [good], "--only", "better")
    assert "no such part: better" in status, status
    print("what is found, hangs, is killed or absent is told, and its evidence kept")


if __name__ == "__main__":
    main()
