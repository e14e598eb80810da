"""
Lines of every kind for test_schema.py, on standard output: all constructs and names, threads, sub-interpreters, a
damaged memory. Runs on CPython 3.8 to 3.15.
"""

import gc
import sys

import json_lines

import constructs
from images import OwnImage
from standing_threads import MovingThread, StandingThreads, make_interpreter

FD = sys.stdout.fileno()
KERNEL_NAMES = [b"plain", b"", b"\xff\xfe", b'"\\', b"line\nbreak", b"\x01\x7f\x80", "\u03b1\U0001f600".encode()]


def write(*_):
    for target in json_lines.targets.values():
        assert json_lines.write_json(target, FD, 0) == 0
    return 0


def write_all():
    for target in json_lines.targets.values():
        assert json_lines.write_json_threads(target, FD) == 0


class Dying:
    def __del__(self):
        write_all()


def write_refusing():
    """A thread's stack with each thing that is read refused in turn: each time it is read, and only the first."""
    thread = MovingThread()
    image = OwnImage(lambda *_: False)
    seen = []

    def write_asking(before_read):
        image.before_read = before_read
        json_lines.write_json(image.target, FD, thread.tstate)

    write_asking(lambda *read: seen.append(read))
    assert len(seen) > 10
    for refused in seen:
        left = [refused]
        write_asking(lambda *read: read == refused)
        write_asking(lambda *read: read in left and not left.clear())
    thread.end()


def main():
    for construct in constructs.CONSTRUCTS:
        construct(write)
    with StandingThreads(8, KERNEL_NAMES):
        module, number = make_interpreter()
        error = module.run_string(number, "import threading; threading.get_ident()")
        assert error is None, error
        write_all()
        module.destroy(number)
    dying = Dying()
    dying.cycle = dying
    del dying
    gc.collect()
    write_refusing()


if __name__ == "__main__":
    main()
