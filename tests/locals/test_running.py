# interpreters: each
"""
The variables of a program that runs. Paused: at whatever moment, they are what its source lets them be. While it runs
on: valid documents, and what is told as certain of a frame that does not move is right.
"""

import ast
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "dump"))

from dumping import Program, check, dump_one, finish

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "running.py")
DUMPS = 60
STATUSES = ("complete", "truncated", "unconfirmed", "unreadable")


def variables(frame):
    return {local["name"]: ast.literal_eval(local["value"]) for local in frame["locals"]}


def check_count(found):
    a, b = found.get("a", 0), found.get("b", 0)
    check(a - b in (0, 1), "count", found)
    return a


def check_step(found, number):
    check(found["first"] == found["second"] == number, "step", number, found)
    check(found["text"] == str(number), "step", number, found)
    check(found.get("third", (number, number)) == (number, number), "step", number, found)
    check(found.get("fourth", [(number, number), str(number)]) == [(number, number), str(number)], "step", found)


def compare_paused(pid):
    """The count of stacks inside step(): some, however long that takes."""
    inside = dumps = 0
    while dumps < DUMPS or inside < 3:
        dumps += 1
        thread = counting(dump_one("paused", pid, "--locals", "--pause"))
        frames = {frame["name"]: frame for frame in thread["frames"]}
        if "count" not in frames:  # 3.11, 3.12: torn, where the evaluation loop was just being entered
            continue
        for name in {"count", "step"} & set(frames):
            check(frames[name]["locals_status"] == "complete", "paused,", name, "is", frames[name]["locals_status"])
        number = check_count(variables(frames["count"]))
        if "step" in frames:
            check_step(variables(frames["step"]), number)
            inside += 1
    return inside


def counting(process):
    return next(thread for thread in process["threads"] if thread["native_id"] != process["pid"])


def read_running(pid):
    """{status: how many frames}"""
    told = dict.fromkeys(STATUSES, 0)
    for _ in range(DUMPS):
        process = dump_one("running", pid, "--locals")
        for thread in process["threads"]:
            for frame in thread["frames"]:
                told[frame["locals_status"]] += 1
                check((frame["locals"] is None) == (frame["locals_status"] == "unreadable"), "running", frame)
        standing = next(thread for thread in process["threads"] if thread["native_id"] == pid)
        check(all(frame["locals_status"] == "complete" for frame in standing["frames"]), "the standing thread",
              standing)
    return told


def main():
    with Program([sys.executable, PROGRAM]) as program:
        inside = compare_paused(program.pid)
        told = read_running(program.pid)
    check(told["complete"] > DUMPS, "running", told)
    return finish("%d paused stacks inside a call; running: %s" % (
        inside, ", ".join("%d %s" % (count, status) for status, count in told.items())))


if __name__ == "__main__":
    sys.exit(main())
