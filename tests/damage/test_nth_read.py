# interpreters: each
"""
A memory that refuses read 1, then 2, then 3, ... of a capture, until one passes unrefused: each leaves a clean prefix
of the stack (or frames whose unreadable parts are flagged) and a true status, and is never called complete with frames
missing. The same with every read from the Nth on refused, for a thread that may run on, for the raw walk, the cursors,
the thread list, the writers, and with one page of a snapshot removed at a time.
"""

import ctypes
import json
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "promise"))

import pyunw
import snapshots
from programs import BlockedThread

DEPTH = 12
ONWARDS = 2**64 - 1


class Failures:
    """Counts what was wrong, and keeps the first of each kind for the report."""

    def __init__(self):
        self.count = 0
        self.kinds = {}

    def add(self, what, why):
        self.count += 1
        kind = what, re.sub(r"0x[0-9a-f]+|\d+", "N", why)
        self.kinds.setdefault(kind, [0, why])[0] += 1

    def report(self):
        for (what, _), (count, why) in self.kinds.items():
            print("%s: %s [%d like it]" % (what, why, count))


def sweep(failures, what, reader, ask, judge):
    """
    Refuse read N of ask(), then all reads from N on, for every N that it makes. judge(answer) says what is wrong with
    an answer; the one that passes unrefused comes last. How many answers there were.
    """
    answers = 0
    for onwards in (False, True):
        number = 0
        while True:
            number += 1
            reader.begin(number, ONWARDS if onwards else number)
            answer = ask()
            refused = reader.refused()
            why = judge(answer, refused)
            answers += 1
            if why:
                kind = "reads from %d on" if onwards else "read %d"
                failures.add(what, "%s refused: %s (%s)" % (kind % number, why, answer))
            if not refused:
                break
    reader.begin()
    return answers


def sweep_captures(failures, reader, targets, tstate, true):
    def judge_with(may_change, described):
        def judge(answer, refused):
            if not refused and (answer.count != true.count or answer.end != pyunw.PYUNW_COMPLETE):
                return "nothing was refused"
            return snapshots.wrong_with(answer, true, may_change, described)

        return judge

    answers = 0
    for may_change, target in targets.items():
        label = " of a thread that may run on" if may_change else ""
        answers += sweep(failures, "pyunw_capture" + label, reader, lambda: snapshots.capture(target, tstate),
                         judge_with(may_change, True))
        answers += sweep(failures, "pyunw_walk" + label, reader, lambda: snapshots.walk(target, tstate),
                         judge_with(may_change, False))
    return answers


def sweep_frame_cursor(failures, reader, target, tstate, true):
    raw, status, cursor = pyunw.pyunw_raw_frame(), pyunw.pyunw_status(), pyunw.pyunw_frame_cursor()

    def ask():
        found = []
        result = pyunw.lib.pyunw_frames_begin(target, tstate, cursor)
        if result == 0:
            while pyunw.lib.pyunw_frames_next(cursor, raw) == 1:
                found.append(snapshots.raw_values(raw))
            pyunw.check(pyunw.lib.pyunw_frames_end(cursor, status))
        return snapshots.Answer(result or len(found), status, found)

    def judge(answer, refused):
        if not refused and (answer.count != true.count or answer.end != pyunw.PYUNW_COMPLETE):
            return "nothing was refused"
        return snapshots.wrong_with(answer, true, described=False)

    return sweep(failures, "the frame cursor", reader, ask, judge)


FRAME_FLAGS = pyunw.PYUNW_THREAD_HAS_FRAMES | pyunw.PYUNW_THREAD_FRAMES_UNREADABLE


def thread_values(thread):
    return {name: getattr(thread, name) for name, _ in pyunw.pyunw_thread._fields_}


def thread_differs(found, true):
    """Is a thread told otherwise than it is, and does not say what could not be read?"""
    if found["flags"] & pyunw.PYUNW_THREAD_FRAMES_UNREADABLE:
        found = dict(found, flags=found["flags"] & ~FRAME_FLAGS)
        true = dict(true, flags=true["flags"] & ~FRAME_FLAGS)
    return found != true


def sweep_threads(failures, reader, target):
    """The thread list: true entries, then an error, or all of them."""
    thread, cursor = pyunw.pyunw_thread(), pyunw.pyunw_thread_cursor()

    def ask():
        found = []
        result = pyunw.lib.pyunw_threads_begin(target, cursor)
        while result == 0 or result == 1:
            result = pyunw.lib.pyunw_threads_next(cursor, thread)
            if result != 1:
                return result, found
            found.append(thread_values(thread))
        return result, found

    reader.begin()
    result, true = ask()
    assert result == 0 and len(true) >= 2

    def judge(answer, refused):
        result, found = answer
        if not refused:
            return None if answer == (0, true) else "nothing was refused"
        if result not in snapshots.READ_ERRORS + (0,):
            return "error %d" % result
        if len(found) > len(true) or any(map(thread_differs, found, true)):
            return "a thread that is none, or with wrong members"
        if result == 0 and len(found) < len(true):
            return "%d of %d threads and no error" % (len(found), len(true))
        return None

    answers = sweep(failures, "the thread list", reader, ask, judge)

    def find():
        return pyunw.lib.pyunw_thread_find(target, true[-1]["tstate"], thread), thread_values(thread)

    def judge_found(answer, refused):
        result, found = answer
        if result == 0:
            return "another thread was found" if thread_differs(found, true[-1]) else None
        return None if refused and result in snapshots.READ_ERRORS else "error %d" % result

    return answers + sweep(failures, "pyunw_thread_find", reader, find, judge_found)


def sweep_description(failures, reader, target, true):
    """pyunw_describe_into, pyunw_find_position and pyunw_identify_code of every other frame."""
    answers = 0
    for frame in true.frames[::2]:
        code, at, offset, kind, flags, _ = frame.raw
        raw = pyunw.pyunw_raw_frame(code=code, frame=at, offset=offset, kind=kind, flags=flags)
        identity, right = pyunw.pyunw_code_identity(), pyunw.pyunw_code_identity()
        position = pyunw.pyunw_position()
        pyunw.check(pyunw.lib.pyunw_identify_code(target, code, right))

        def judge_error(result, good, refused):
            if result == 0:
                return None if good else "a wrong answer without an error"
            return None if refused and result in snapshots.READ_ERRORS else "error %d" % result

        def judge_identity(result, refused):
            return judge_error(result, bytes(identity) == bytes(right), refused)

        def judge_position(result, refused):
            values = (position.lineno, position.end_lineno, position.colno, position.end_colno)
            return judge_error(result, values == frame.position, refused)

        def ask_identity():
            ctypes.memset(ctypes.addressof(identity), 0xAA, ctypes.sizeof(identity))
            return pyunw.lib.pyunw_identify_code(target, code, identity)

        answers += sweep(failures, "pyunw_identify_code", reader, ask_identity, judge_identity)
        answers += sweep(failures, "pyunw_find_position", reader,
                         lambda: pyunw.lib.pyunw_find_position(target, raw, position), judge_position)
        described = pyunw.pyunw_frame()

        def ask_description():
            result = pyunw.lib.pyunw_describe(target, raw, described)
            return result, snapshots.Frame(described) if result == 0 else None

        def judge_description(answer, refused):
            result, found = answer
            if result < 0:
                return None if refused and result in snapshots.READ_ERRORS else "error %d" % result
            return found.differs(frame)

        answers += sweep(failures, "pyunw_describe", reader, ask_description, judge_description)
    return answers


def sweep_opening(failures, reader, info):
    """An image that cannot be read is refused; one that is opened is what it is."""

    def ask():
        target, error = snapshots.open_image(snapshots.image_of(info, reader))
        return error, bytes(pyunw.describe_target(target)) if error == 0 else None

    reader.begin()
    right = ask()
    assert right[0] == 0

    def judge(answer, refused):
        error, found = answer
        if error == 0:
            return None if found == right[1] else "opened as something else"
        return None if refused and error in snapshots.READ_ERRORS else "error %d" % error

    return sweep(failures, "pyunw_open_image", reader, ask, judge)


def sweep_writers(failures, reader, target, tstate, true):
    """What is written is JSON whatever fails, and never tells of a frame that is not."""
    lines = [frame.position[0] for frame in true.frames]

    file = tempfile.TemporaryFile()

    def written(name, *arguments):
        file.seek(0)
        file.truncate()
        result = getattr(pyunw.lib, name)(target, file.fileno(), *arguments)
        file.seek(0)
        return result, file.read().decode("utf-8")

    def judge_json(answer, refused):
        result, text = answer
        threads = [json.loads(line) for line in text.splitlines()]
        if text and not text.endswith("\n"):
            return "the last line has no end"
        for thread in threads:
            if thread["thread_id"] != true_thread and name == "pyunw_write_json_threads":
                continue
            found = [frame["lineno"] for frame in thread["frames"]]
            if any(line not in (None, right) for line, right in zip(found, lines)) or len(found) > len(lines):
                return "lines %s of %s" % (found, lines)
            if thread["status"] == "complete" and len(found) < len(lines):
                return "%d of %d frames, but called complete" % (len(found), len(lines))
        if not refused and (result != 0 or not threads):
            return "nothing was refused"
        return None if result == 0 or result in snapshots.READ_ERRORS else "error %d" % result

    def judge_text(answer, refused):
        result, text = answer
        if not refused and (result != 0 or text.count("  File ") < len(lines)):
            return "nothing was refused"
        if text and not text.endswith("\n"):
            return "the last line has no end"
        return None if result == 0 or result in snapshots.READ_ERRORS else "error %d" % result

    reader.begin()
    _, text = written("pyunw_write_json", tstate)
    true_thread = json.loads(text)["thread_id"]
    answers = 0
    for name, arguments, judge in (
        ("pyunw_write_json", [tstate], judge_json),
        ("pyunw_write_json_threads", [], judge_json),
        ("pyunw_write_text", [tstate], judge_text),
        ("pyunw_write_text_threads", [0, 0, 0], judge_text),
    ):
        answers += sweep(failures, name, reader, lambda: written(name, *arguments), judge)
    return answers


def remove_pages(failures, reader, info, target, tstate, true):
    """A snapshot of the pages that a capture reads, without each in turn; and cut in pieces, which loses nothing."""
    reader.record()
    reader.begin()
    snapshots.open_image(snapshots.image_of(info, reader))
    snapshots.capture(target, tstate)
    pages = reader.recorded()
    reader.pages = None
    answers = 0

    def captured(segments):
        opened, error = snapshots.open_image(snapshots.image_of(info, segments=segments))
        return snapshots.capture(opened, tstate) if error == 0 else error

    whole = snapshots.segments_of(pages)
    pieces = [snapshots.segment(part.address + at, ctypes.string_at(part.bytes + at, min(1000, part.size - at)))
              for part in whole for at in range(0, part.size, 1000)]
    for segments in (whole, pieces):
        answer = captured(segments)
        if isinstance(answer, int) or answer.end != pyunw.PYUNW_COMPLETE or answer.count != true.count:
            failures.add("a snapshot of %d segments" % len(segments), "nothing is missing, but: %s" % answer)
            continue
        why = snapshots.wrong_with(answer, true)
        if why:
            failures.add("a snapshot of %d segments" % len(segments), why)
    for missing in pages:
        answer = captured(snapshots.segments_of(page for page in pages if page != missing))
        answers += 1
        if isinstance(answer, int):
            if answer not in snapshots.READ_ERRORS:
                failures.add("opening a snapshot without a page", "error %d" % answer)
            continue
        why = snapshots.wrong_with(answer, true)
        if why:
            failures.add("a snapshot without page %#x" % missing, "%s (%s)" % (why, answer))
    return answers


def main():
    failures, reader = Failures(), snapshots.Reader()
    own = pyunw.open_self()
    info = pyunw.describe_target(own)
    answers = {}
    with BlockedThread(DEPTH) as blocked:
        tstate = blocked.find(pyunw.threads(own))
        targets = {}
        for may_change in (0, 1):
            targets[may_change], error = snapshots.open_image(snapshots.image_of(info, reader, may_change=may_change))
            pyunw.check(error)
        true = snapshots.capture(targets[0], tstate)
        said = [(code, line) for code, _, _, _, line in blocked.frames()]
        assert [(frame.raw[0], frame.position[0]) for frame in true.frames] == said, "the stack is not what it is"
        answers["captures and walks"] = sweep_captures(failures, reader, targets, tstate, true)
        answers["cursors"] = sweep_frame_cursor(failures, reader, targets[0], tstate, true)
        answers["thread lists"] = sweep_threads(failures, reader, targets[0])
        answers["descriptions"] = sweep_description(failures, reader, targets[0], true)
        answers["openings"] = sweep_opening(failures, reader, info)
        answers["dumps"] = sweep_writers(failures, reader, targets[0], tstate, true)
        answers["snapshots without a page"] = remove_pages(failures, reader, info, targets[0], tstate, true)
    failures.report()
    counts = ", ".join("%d %s" % (count, what) for what, count in answers.items())
    print("%d frames; %s: %d wrong" % (true.count, counts, failures.count))
    return 1 if failures.count else 0


if __name__ == "__main__":
    sys.exit(main())
