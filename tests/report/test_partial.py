# interpreters: host
"""
Unfinished reports as `pyunwind report --json` makes documents of them: of one that was cut after any of its bytes every
frame is told that was whole, as Python's own JSON decoder tells it; damage takes away no more than the record it is in.
"""

import json
import sys

from reports import PARTIAL, PARTIALS, STACK, check, encode, finish, run, write

DECODER = json.JSONDecoder()
THREADS = 3


def convert(paths):
    """What the command makes of each file: a document, or what it says is wrong."""
    status, output, errors = run("--json", *paths)
    complaints = dict(line.split("pyunwind report: ", 1)[1].split(": ", 1) for line in errors.decode().splitlines())
    check(status == (1 if complaints else 0), "exit status", status, errors)
    documents = iter(output.decode().splitlines())
    return [complaints[path] if path in complaints else json.loads(next(documents)) for path in paths]


def whole_frames(line):
    """The frames of a record that is cut, as far as they are whole."""
    text = line.decode("utf-8", "ignore")
    frames = []
    head = '"frames":['
    at = text.find(head)
    if at < 0:
        return frames
    at += len(head)
    while True:
        try:
            frame, at = DECODER.raw_decode(text, at)
        except ValueError:
            return frames
        frames.append(frame)
        if text[at:at + 1] != ",":
            return frames
        at += 1


def expected_threads(data):
    """Of each thread record that has begun: its frames, and whether it is whole."""
    threads = []
    for line in data.split(b"\n"):
        try:
            record = json.loads(line.decode("utf-8", "ignore"))
            whole = True
        except ValueError:
            record, whole = None, False
        if whole and record["schema"] == "pyunwind.thread/1":
            threads.append((record["frames"], "complete"))
        elif not whole and b"pyunwind.thread/1\"," in line:
            frames = whole_frames(line)
            threads.append((frames, "truncated"))
    return threads


def check_cut(size, document):
    data = PARTIAL[:size]
    readable = size >= len(b'{"schema":"pyunwind.fault/1",')
    if not readable:
        check(isinstance(document, str), "cut after", size, document)
        return 0
    if isinstance(document, str):
        check(False, "cut after", size, "of which nothing is told:", document)
        return 0
    check(document["status"] == "partial" and any("not finished" in note for note in document["notes"]), document)
    knows_pid = size > PARTIAL.find(b',"native_id"')
    check(document["pid"] == (4711 if knows_pid else None), "cut after", size, "pid", document["pid"])
    knows_signal = size > PARTIAL.find(b',"recovered"')
    check(document["signal"] is not None or not knows_signal, "cut after", size, "signal", document["signal"])
    wanted = expected_threads(data)
    got = [(thread["frames"], thread["status"]) for thread in document["threads"] if thread["thread_id"]
           and (thread["frames"] or thread["name"])]
    # The thread of a record that is cut before its frames may be told without a name or an id.
    while wanted and wanted[-1] == ([], "truncated") and len(got) < len(wanted):
        wanted.pop()
    same = [(frames, "complete" if status == "complete" else "truncated") for frames, status in got]
    # A record of which only the last members are missing may have lost its status, and no frame.
    check([frames for frames, _ in same] == [frames for frames, _ in wanted], "cut after", size, got, "not", wanted)
    for (_, found), (_, told) in zip(same, wanted):
        check(found == told, "cut after", size, "is", found, "not", told)
    return sum(len(frames) for frames, _ in got)


def check_every_cut():
    frames = 0
    sizes = range(1, len(PARTIAL) + 1)
    for begin in range(0, len(sizes), 200):
        some = sizes[begin:begin + 200]
        paths = [write("cut-%d.partial" % size, PARTIAL[:size]) for size in some]
        for size, document in zip(some, convert(paths)):
            frames += check_cut(size, document)
    return frames


def names(thread):
    return [frame["name"] for frame in thread["frames"]]


def check_oddities():
    """By name, what a document has to say."""
    documents = dict(zip(PARTIALS, convert([write("odd-%s.partial" % name, data) for name, data in PARTIALS.items()])))
    for name, document in documents.items():
        check(isinstance(document, dict) and document["status"] == "partial", name, document)

    def crashed(name):
        threads = documents[name]["threads"]
        check(sum(thread["crashed"] for thread in threads) == 1 and threads[0]["crashed"], name, threads)
        return threads[0]

    def noted(name, words):
        check(any(words in note for note in documents[name]["notes"]), name, documents[name]["notes"], "not", words)

    check(names(crashed("whole")) == [frame["name"] for frame in STACK], "whole")
    check(len(documents["whole"]["threads"]) == THREADS, "whole", documents["whole"]["threads"])
    noted("whole", "the helper could not be started")
    check(crashed("fault-only")["native_id"] == 4713, "fault-only")
    noted("fault-only", "was not saved, or it has none")
    noted("no-fault", "What the fault was, was not saved")
    check(documents["no-fault"]["diagnosis"]["cause"] == "unknown", "no-fault")
    check(documents["note-only"]["notes"][0] == "odd \x1b[31m\x00 note", documents["note-only"]["notes"])
    check(documents["on-demand"]["diagnosis"]["cause"] == "on_demand", "on-demand")
    check(not any(thread["crashed"] for thread in documents["on-demand"]["threads"]), "on-demand")
    noted("two-faults", "another fault after the first: SIGSEGV in thread 4714")
    again = crashed("same-thread-twice")
    check(len(documents["same-thread-twice"]["threads"]) == 1 and len(again["frames"]) == len(STACK), again)
    check(again["native_id"] == 4713, "the kernel's id of a copy:", again["native_id"])
    check(crashed("another-thread")["native_id"] == 77 and len(documents["another-thread"]["threads"]) == 2, "another")
    check(len(crashed("glued")["frames"]) == len(STACK), "glued", documents["glued"])
    noted("unknown-record", "pyunwind.weather/1")
    check(names(crashed("not-utf-8")) == ["level_0", "level_1", "level_2"], crashed("not-utf-8"))
    check(names(crashed("nul")) == ["level_0", "level_1", "level_2"], crashed("nul"))
    check(len(documents["nul"]["threads"]) == THREADS, "nul", documents["nul"]["threads"])
    check(documents["huge-numbers"]["pid"] is None and documents["huge-numbers"]["signal"]["number"] == 11, "huge")
    wrong = documents["wrong-types"]
    check((wrong["time"], wrong["pid"], wrong["native_id"]) == (None, 4711, None), wrong)
    check(wrong["signal"] == {"number": 11, "name": "SIGSEGV", "code": None, "code_name": None, "address": None,
                              "system_call": None, "sender": None}, wrong["signal"])
    noted("wrong-types", "rows of a stack were damaged")
    check([row["kind"] for row in crashed("rows")["frames"]] == ["native", "python", "repeated", "elided", "python"],
          crashed("rows"))
    check(documents["finalizing"]["finalizing"] is True and documents["whole"]["finalizing"] is None, "finalizing")
    check(documents["sent"]["diagnosis"]["cause"] == "sent_signal", documents["sent"]["diagnosis"])
    check(any("process 1 of user 0" in words for words in documents["sent"]["diagnosis"]["evidence"]), "sent")


CAUSES = [  # number, code, address, registers: what a signal alone says
    ((11, 1, "0x10", {"err": "0x4"}), "null_read"), ((11, 1, "0x10", {"err": "0x6"}), "null_write"),
    ((11, 1, "0x0", {"rip": "0x0", "err": "0x14"}), "null_jump"), ((11, 1, "0x0", {"pc": "0x0"}), "null_jump"),
    ((11, 1, "0xdead0000", {"err": "0x4"}), "wild_read"), ((11, 2, "0xdead0000", {"err": "0x7"}), "wild_write"),
    ((11, 1, "0xdead0000", {"rip": "0xdead0000"}), "wild_jump"), ((11, 128, None, {}), "wild_read"),
    ((11, 1, "0x10", None), "unknown"), ((11, 0, None, {}), "sent_signal"), ((8, 1, "0x1", {}), "division_by_zero"),
    ((8, 3, "0x1", {}), "floating_point"), ((4, 2, "0x1", {}), "illegal_instruction"), ((7, 2, "0x1", {}), "bus_error"),
    ((31, 1, "0x1", {}), "forbidden_system_call"), ((5, 128, None, {}), "breakpoint"), ((6, -6, None, {}), "abort"),
]


def check_causes():
    records = []
    for (number, code, address, registers), _ in CAUSES:
        signal = {"number": number, "name": None, "code": code, "code_name": None, "address": address, "sender": None}
        records.append(encode({"schema": "pyunwind.fault/1", "pid": 1, "native_id": 1, "signal": signal,
                               "registers": registers}))
    paths = [write("cause-%d.partial" % number, record) for number, record in enumerate(records)]
    for (told, cause), document in zip(CAUSES, convert(paths)):
        check(document["diagnosis"]["cause"] == cause, told, "is", document["diagnosis"], "not", cause)


def main():
    frames = check_every_cut()
    check(frames > 1000, frames, "frames")
    check_oddities()
    check_causes()
    return finish("%d cuts tell of %d frames as Python's decoder does; %d oddities, %d causes" % (
        len(PARTIAL), frames, len(PARTIALS), len(CAUSES)))


if __name__ == "__main__":
    sys.exit(main())
