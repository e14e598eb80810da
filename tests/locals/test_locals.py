# interpreters: each
"""
`pyunwind dump --locals` of a program that stands, against what frame.f_locals says of each of its frames, and repr():
functions with arguments of every kind, cells, free variables, unbound names, generators, coroutines, class bodies,
exec(), a module; while it runs on, and paused; as JSON and as text.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "dump"))

from dumping import Program, check, dump_one, finish, run_dump, wait_until_reading

SUBJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "subject.py")
NAME_SIZE = 256
compared = 0


def expected(told):
    """{name: value}, without what the interpreter gives a frame of its own accord."""
    return {name.encode()[:NAME_SIZE - 1].decode("utf-8", "ignore"): value for name, value in told["locals"].items()}


def compare_frame(what, frame, told):
    global compared
    what = "%s, %s:" % (what, told["name"])
    check(frame["name"] == told["name"], what, "is", frame["name"])
    check(frame["locals_status"] == "complete", what, "is", frame["locals_status"])
    got = {local["name"]: local["value"] for local in frame["locals"]}
    wanted = expected(told)
    check(len(got) == len(frame["locals"]), what, "a name twice", [local["name"] for local in frame["locals"]])
    check(set(got) == set(wanted), what, "names", sorted(set(got) ^ set(wanted)))
    for name in set(got) & set(wanted):
        check(got[name] == wanted[name], what, name, "is", got[name], "expected", wanted[name])
        compared += 1
    arguments = [local["name"] for local in frame["locals"] if local["argument"]]
    check(arguments == [name for name in told["arguments"] if name in wanted], what, "arguments", arguments)
    check(arguments == [local["name"] for local in frame["locals"]][:len(arguments)], what, "arguments are not first")
    if not told["optimized"]:
        check(list(got) == list(wanted), what, "another order", list(got), list(wanted))


def compare(what, pid, frames, *arguments):
    process = dump_one(what, pid, "--locals", *arguments)
    thread = next(thread for thread in process["threads"] if thread["native_id"] == pid)
    # The innermost frame is the one that told; of the rest each stands where it stood.
    check(len(thread["frames"]) == len(frames) + 1, what, len(thread["frames"]), "frames, not", len(frames) + 1)
    for frame, told in zip(thread["frames"][1:], frames):
        compare_frame(what, frame, told)


def compare_text(pid, frames):
    status, output, errors = run_dump("--locals", pid)
    check(status == 0 and errors == "", "text:", status, errors)
    lines = set(re.findall(r"^        (.*)$", output, flags=re.M))
    for told in frames:
        for name, value in expected(told).items():
            line = "%s = %s" % (name, value)
            check(line in lines, "text: no line", line[:300])
    check("unconfirmed" not in output and "unreadable" not in output, "text:", output)


def main():
    with Program([sys.executable, SUBJECT]) as program:
        frames = json.loads(program.line.decode())
        wait_until_reading(program.pid)
        compare("running", program.pid, frames)
        compare("paused", program.pid, frames, "--pause")
        compare_text(program.pid, frames)
        process = dump_one("without", program.pid)
        check("locals" not in process["threads"][0]["frames"][0], "locals that nobody asked for")
    return finish("%d variables of %d frames are what the program itself says" % (compared, len(frames)))


if __name__ == "__main__":
    sys.exit(main())
