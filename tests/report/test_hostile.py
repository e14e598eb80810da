# interpreters: host
# weight: heavy
"""
Files that are damaged or made to do harm: cut after any of their bytes, with any byte changed, deep, long, with huge
numbers, NULs and control characters. The command ends by itself, says what is wrong in one line of text, never writes a
control character, and never takes a report that is cut for a whole one.
"""

import json
import os
import random
import re
import resource
import subprocess
import sys

from reports import COMMAND, PARTIAL, check, encode, finish, python_frame, report, thread, write

CONTROL = re.compile(b"[\x00-\x09\x0b-\x1f\x7f]")
SOME = 150  # files of one run
MEMORY = 3 << 30
LARGE = 4 << 20  # is shown in one form only


def limit():
    if "PYUNWIND_SANITIZED" in os.environ:  # the sanitizers' shadow alone is larger
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def show(paths, *arguments):
    """How many could not be read, and the output; what no file may bring about is checked."""
    done = subprocess.run([COMMAND, "report", *arguments, *paths], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, preexec_fn=limit)
    complaints = done.stderr.count(b"\n")
    what = (arguments, paths[0], done.returncode, done.stderr[:500])
    check(done.returncode == (1 if complaints else 0), *what)
    check(complaints <= len(paths), *what)
    check(not CONTROL.search(done.stderr), *what)
    check(arguments == ("--json",) or not CONTROL.search(done.stdout), *what)
    try:
        (done.stdout + done.stderr).decode("utf-8")
    except UnicodeDecodeError as error:
        check(False, error, *what)
    return complaints, done.stdout, done.stderr


def in_runs(files):
    """(paths) of the (name, bytes), some at a time."""
    files = list(files)
    for begin in range(0, len(files), SOME):
        yield [write(name, data) for name, data in files[begin:begin + SOME]]


def check_cuts():
    data = encode(report())
    files = (("cut-%d.json" % size, data[:size]) for size in range(1, len(data)))
    count = 0
    for paths in in_runs(files):
        complaints, output, errors = show(paths)
        check(complaints == len(paths) and output == b"", "a cut report was shown:", output[:300])
        check(all(b": cut: the file ends" in line or b": not a report: " in line for line in errors.splitlines()), errors)
        count += len(paths)
    return count


def check_changed_bytes():
    random.seed(5)
    count = 0
    for kind, data in (("json", encode(report())), ("partial", PARTIAL)):
        files = []
        for number in range(1500):
            changed = bytearray(data)
            for _ in range(random.choice((1, 1, 1, 2, 10))):
                at = random.randrange(len(changed))
                byte = random.choice((0, 0x1b, 0x22, 0x5c, 0x7b, 0x5d, 0x2c, 0xff, 0x80, 0x39, random.randrange(256)))
                changed[at:at + random.choice((0, 1, 1, 3))] = bytes([byte])
            files.append(("changed-%d.%s" % (number, kind), bytes(changed)))
        for paths in in_runs(files):
            show(paths)
            show(paths, "--markdown", "--budget", "700")
            _, output, _ = show(paths, "--json")
            if kind == "partial":  # what is written was made here: it is whole, each in a line
                for line in output.decode().splitlines():
                    json.loads(line)
            count += len(paths)
    return count


def nested(depth, inner="1"):
    return b"[" * depth + inner.encode() + b"]" * depth


def made_files():
    head = b'{"schema":"pyunwind.crash/1","threads":'
    yield "deep-array.json", head + nested(1000000) + b"}"
    yield "deep-open.json", head + b"[" * 5000000
    yield "deep-objects.json", head + b'{"a":' * 300000 + b"1" + b"}" * 300000 + b"}"
    yield "deep-but-read.json", head + nested(1000) + b"}"
    yield "deep.partial", b'{"schema":"pyunwind.thread/1","frames":' + nested(1000000) + b"}\n"
    yield "brackets.partial", b"{" * 3000000
    yield "wrong-brackets.partial", b'{"schema":"pyunwind.note/1","note":"a","b":[{]}}' * 3 + b"\n"
    yield "beginnings.partial", b'{"schema":"pyunwind.' * 200000
    yield "quotes.partial", b'{"schema":"pyunwind.note/1","note":"' + b"\\" * 1000001
    yield "newlines.partial", b"\n" * 5000000
    yield "same-threads.partial", b'{"schema":"pyunwind.thread/1","thread_id":1,"interpreter_id":0}\n' * 20000
    yield "many-threads.partial", b"".join(b'{"schema":"pyunwind.thread/1","thread_id":%d}\n' % number
                                           for number in range(1, 60000))
    yield "notes.partial", b'{"schema":"pyunwind.note/1","note":"x"}\n' * 100000
    yield "empty-objects.json", head + b"[" + b"{}," * 6000000 + b"{}]}"
    yield "empty-arrays.partial", b'{"schema":"pyunwind.note/1","note":"a","b":[' + b"[]," * 10000000 + b"[]]}\n"
    yield "numbers.json", head + b"[" + b"1e999," * 100000 + b"9" * 1000000 + b"]}"
    yield "long-text.json", encode(report(executable="\u202e" * 2000000))
    yield "nul-text.json", encode(report(executable="\x00" * 1000000, diagnosis={"sentence": "\x00\x1b[2J"}))
    yield "nuls.json", b"\x00" * 100000
    yield "nul-key.json", b'{"schema":"pyunwind.crash/1","a\\u0000b":1}'
    yield "surrogate.json", b'{"schema":"pyunwind.crash/1","executable":"\\ud800"}'
    yield "twice.json", b'{"schema":"pyunwind.crash/1","pid":1,"pid":"two","threads":1,"threads":{}}'
    yield "threads.json", encode(report(threads=[thread(0, frames=[]) for _ in range(50000)]))
    yield "crashed.json", encode(report(threads=[thread(0, True) for _ in range(20000)]))
    yield "frames.json", encode(report(threads=[thread(0, True, [python_frame()] * 100000)]))
    wrong = [None, 1, -1, 1.5, 1e300, -(2**63), 2**63 - 1, True, "", "x", [], {}, [None], {"": None}, [[]]]
    for number, value in enumerate(wrong):
        yield "wrong-%d.json" % number, encode({**{key: value for key in report()}, "schema": "pyunwind.crash/1"})
        inner = {key: value for key in (*thread(), *python_frame(), "function", "module", "address", "locals", "count")}
        document = {key: {inside: value for inside in ("number", "code", "name", "cause", "sentence", "evidence", "pid",
                                                       "resident", "stack", "version", "type", "message", "sender")}
                    for key in report()}
        frames = [{**inner, "kind": kind} for kind in ("python", "native", "repeated", "elided")]
        threads = [{**inner, "crashed": True, "frames": frames}, {**inner, "frames": frames, "native_frames": frames},
                   {**inner, "crashed": False}, value]
        yield "inner-%d.json" % number, encode({**document, "schema": "pyunwind.crash/1", "threads": threads,
                                                "libraries": [inner, value], "notes": [value], "command": [value]})


def check_made():
    count = 0
    for name, data in made_files():
        path = write(name, data)
        for arguments in ((), ("--verbose",), ("--markdown",), ("--json",))[:4 if len(data) < LARGE else 1]:
            _, _, errors = show([path], *arguments)
            check(not name.startswith("empty-") or b"memory is short" in errors or b"no record" in errors, name, errors)
        count += 1
    return count


def main():
    cuts = check_cuts()
    changed = check_changed_bytes()
    made = check_made()
    return finish("%d cuts are said to be cut; %d changed files and %d made to do harm did none" % (cuts, changed, made))


if __name__ == "__main__":
    sys.exit(main())
