# interpreters: each
"""
`pyunwind core` of core files that are truncated, compressed or not, or damaged in their headers and notes: it ends by
itself, with an answer or with the reason; and every frame that it shows is one of the beginning of a true stack.
"""

import json
import os
import random
import re
import subprocess
import sys

from cores import COMMAND, allow_cores, any_core, check, dumped_frames, kernel_cores_note, run_core, told_frames
from dumping import finish
from made import NT_PRPSINFO, NT_PRSTATUS, notes_of

SHORT = [0, 3, 40, 63, 64, 100, 5000]


def true_stacks(truth):
    return {told["thread_id"]: told_frames(told["stack"]) for told in truth["threads"]}


def is_true(got, wanted):
    """A text that the core has no more is unknown, null; what is told is true."""
    return all(value is None or value == wanted[key] for key, value in got.items())


def is_run(got, wanted):
    return len(got) <= len(wanted) and all(map(is_true, got, wanted))


def check_answer(what, answer, stacks):
    """How many frames were shown, all of them true; without an answer the reason is told."""
    status, output, errors = answer
    check(status in (0, 1), what, "exit status", status, errors)
    check(status == 0 or errors.startswith("pyunwind core: ") or output, what, "does not say why")
    if not output:
        return 0
    frames = 0
    for thread in json.loads(output)["processes"][0]["threads"]:
        got, wanted = dumped_frames(thread["frames"]), stacks.get(thread["thread_id"], [])
        # 3.11, 3.12: without its _PyCFrame a stack is read from the data stack, less its innermost frames; that is told.
        begins = range(len(wanted) + 1) if thread["unconfirmed"] else [0]
        right = [first for first in begins if is_run(got, wanted[first:])]
        check(right, what, "shows a frame that was not there:", thread["status"], thread["unconfirmed"], got[:3], "of",
              wanted[:3])
        check(status == 1 or (got == wanted and thread["unconfirmed"] == 0), what, "is said to be whole, and tells not all:", got[:3])
        check(status == 1 or len(got) == len(wanted), what, "is said to be whole, and is not")
        frames += len(got)
    return frames


def truncate(core, stacks):
    """At lengths from nearly all to nothing; each says that something is missing."""
    size = os.path.getsize(core)
    shown = []
    subprocess.check_call(["cp", "--sparse=always", core, "cut.core"])
    for length in [size - 1] + [size * part // 16 for part in range(15, 0, -1)] + SHORT[::-1]:
        os.truncate("cut.core", length)
        answer = run_core("--json", "cut.core")
        what = "%d of %d bytes" % (length, size)
        check(answer[0] == 1 and "cut.core" in answer[2], what, "exit status", *answer)
        if length > SHORT[-1]:
            check("missing" in answer[2], what, "says", answer[2])
        shown.append(check_answer(what, answer, stacks))
    os.unlink("cut.core")
    return shown


def truncate_packed(core, stacks):
    cases = 0
    for name, command in (("zstd", ["zstd", "-q", "-1", "-c"]), ("lz4", ["lz4", "-q", "-1", "-c"]),
                          ("gzip", ["gzip", "-1", "-c"])):
        packed = subprocess.check_output([*command, core])
        for length in (5, 20, len(packed) // 3, len(packed) - 5):
            with open("cut.packed", "wb") as out:
                out.write(packed[:length])
            answer = run_core("--json", "cut.packed")
            what = "%d of %d bytes, %s" % (length, len(packed), name)
            check(answer[0] == 1 and "cut.packed" in answer[2], what, *answer)
            if length > 20:
                # Where not one block of the stream is whole, there is no core file to tell more of.
                check("its %s stream ends early" % name in answer[2] or "it ends early" in answer[2], what, "says", answer[2])
            check_answer(what, answer, stacks)
            cases += 1
        for place in (len(packed) // 2, len(packed) - 20):
            changed = bytearray(packed)
            changed[place] ^= 0x10
            with open("cut.packed", "wb") as out:
                out.write(changed)
            answer = run_core("--json", "cut.packed")
            check(answer[0] in (0, 1), "a wrong byte, " + name, *answer)
            cases += 1
    os.unlink("cut.packed")
    return cases


def headers_and_notes(data):
    """The stretches of a core file that say what is where: (offset, size)."""
    first, count = int.from_bytes(data[32:40], "little"), int.from_bytes(data[56:58], "little")
    parts = [(0, 64), (first, 56 * count)]
    for number in range(count):
        entry = data[first + 56 * number:first + 56 * number + 56]
        if int.from_bytes(entry[:4], "little") == 4:
            parts.append((int.from_bytes(entry[8:16], "little"), int.from_bytes(entry[32:40], "little")))
    return parts


def flip(core, stacks, times):
    """Some random bytes of the headers and notes at a time; what is written over is put back afterwards."""
    chance = random.Random(4)
    with open(core, "rb") as file:
        data = file.read()
    parts = headers_and_notes(data)
    answered = 0
    for number in range(times):
        with open(core, "r+b") as file:
            places = []
            for _ in range(chance.choice((1, 1, 2, 4, 8))):
                begin, size = chance.choice(parts)
                places.append(begin + chance.randrange(size))
                file.seek(places[-1])
                file.write(bytes([chance.choice((0, 0xff, data[places[-1]] ^ 1 << chance.randrange(8)))]))
        status, output, errors = run_core("--json", core)
        check(status in (0, 1), "flip", number, "at", places, "exit status", status, errors)
        check(output or errors.startswith("pyunwind core: "), "flip", number, "at", places, "says nothing")
        if output:
            # A wrong address of a segment may show memory that lay elsewhere; but the document is one.
            answered += len(json.loads(output)["processes"]) == 1
        with open(core, "r+b") as file:
            for place in places:
                file.seek(place)
                file.write(data[place:place + 1])
    check(check_answer("put back", run_core("--json", core), stacks) > 0, "the core is not put back")
    return answered


def without_notes(core, data, kinds):
    with open(core, "r+b") as file:
        for at, what, _, _ in notes_of(data):
            if what in kinds:
                file.seek(at + 8)
                file.write((0x7777).to_bytes(4, "little"))


def miss_notes(core):
    """A core without the notes of its threads says nothing of a signal; one without that of its process, no parent."""
    with open(core, "rb") as file:
        data = file.read()
    for kinds in ((NT_PRSTATUS,), (NT_PRPSINFO,), (NT_PRSTATUS, NT_PRPSINFO)):
        subprocess.check_call(["cp", "--sparse=always", core, "notes.core"])
        without_notes("notes.core", data, kinds)
        for options in ([], ["--native"]):
            status, output, errors = run_core(*options, "notes.core")
            what = "without the notes %s, %s" % (kinds, options)
            if NT_PRSTATUS in kinds:
                check(status == 1 and "tells of no thread" in errors, what, status, errors)
                check("No signal" not in output and "What ended it is not known" in output, what, output[:200])
            check(len(re.findall("^    ", output, re.MULTILINE)) > 5, what, "frames are gone", output[:300])
        process = json.loads(run_core("--json", "notes.core")[1])["processes"][0]
        check((process["ppid"] is None) == (NT_PRPSINFO in kinds), what, "parent", process["ppid"])
        check((process["pid"] is None) == (len(kinds) == 2), what, "pid", process["pid"])
        check(len(kinds) < 2 or "Process, its number unknown:" in output, what, output[:100])
    os.unlink("notes.core")


def read_calls(*arguments):
    """How many reads of any kind the command made, as the kernel counted them (proc(5))."""
    process = subprocess.Popen([COMMAND, "core", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with open("/proc/%d/io" % process.pid, encoding="ascii") as file:
        count = next(int(line.split()[1]) for line in file if line.startswith("syscr:"))
    process.wait()
    return count


def notes_in_a_hole(core):
    """A note segment that is a hole of 64 MB: zeros are the end of the notes, and not five million without an owner."""
    subprocess.check_call(["cp", "--sparse=always", core, "hole.core"])
    size = os.path.getsize(core)
    with open("hole.core", "r+b") as file:
        data = file.read(1 << 16)
        first, count = int.from_bytes(data[32:40], "little"), int.from_bytes(data[56:58], "little")
        entries = [first + 56 * number for number in range(count)]
        entry = next(at for at in entries if int.from_bytes(data[at:at + 4], "little") == 4)
        file.seek(entry + 8)
        file.write(size.to_bytes(8, "little"))
        file.seek(entry + 32)
        file.write((64 << 20).to_bytes(8, "little"))
        file.truncate(size + (64 << 20))
    count = read_calls("hole.core")
    # As notes they would take one each, up to this limit; the search for an interpreter takes a million.
    check(count < 1 << 22, "notes in a hole take", count, "reads")
    os.unlink("hole.core")


def main():
    allow_cores()
    core, truth = any_core("whole.core", "lock", "generator", "names")
    stacks = true_stacks(truth)
    total = sum(map(len, stacks.values()))
    check(check_answer("whole", run_core("--json", core), stacks) == total, "the whole core has not all", total)
    shown = truncate(core, stacks)
    check(shown[-1] == 0 and max(shown) > 0, "of truncated ones", shown)
    packed = truncate_packed(core, stacks)
    notes_in_a_hole(core)
    miss_notes(core)
    answered = flip(core, stacks, 200)
    check(answered > 20, "only", answered, "of 200 damaged cores were read")
    return finish("cut at %d lengths: up to %d of %d frames, none wrong; %d cut or damaged while compressed; 200 with "
                  "wrong headers or notes: %d read, no crash%s" %
                  (len(shown), max(shown), total, packed, answered, kernel_cores_note()))


sys.exit(main())
