# interpreters: host
"""
Reports as a person reads them: the cause first, the thread that crashed before the others, those with the same stack
together; colour on a terminal only, and no control character but the line break, whatever the report holds; documents
that are finished pass unchanged; help, manual and wrong usage; what is said of files that are no reports.
"""

import json
import os
import pty
import re
import subprocess
import sys

from reports import (COMMAND, ODD_TEXTS, PARTIAL, PARTIALS, REPORTS, SOURCE, check, encode, finish, finished, native_frame,
                     python_frame, report, run, run_text, thread, write)

SCREEN_LINES, SCREEN_COLUMNS = 24, 80
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

WHOLE = """\
parse_row (fast.so) read through a null pointer.
SIGSEGV (SEGV_MAPERR, nothing is mapped there) at 0x0, in thread 4711
Process 4711: python3 -m app ''
CPython 3.12.1, /usr/bin/python3.12, up 1 d 0 h
Time 2026-11-25T07:40:49.123456Z
Working directory /srv/app
Parent 1
Control group /system.slice/app.service
Fingerprint 0123456789abcdef

Thread 4711 "worker-0" 0x00007f540ea9f600: crashed, holds the GIL
    parse_row (fast.so+0x1545)
    Parser.parse (/srv/app/parser.py:31)
    Parser.main (/srv/app/parser.py:7)

Exception in flight: ValueError: row 12
Evidence:
    the fault was at 0x0, in the first page
Memory: resident 30.0 MiB, at most 50.0 MiB, virtual 1.0 GiB, swapped out 0 bytes
Limits: core file 0 bytes, address space unlimited, stack 8.0 MiB, open files 1024

2 threads, 4712 "worker-1", 4713 "worker-2": idle
    Parser.parse (/srv/app/parser.py:31)

Thread 4714 "worker-3" 0x00007f540ea9f603: idle
    Parser.wait (/srv/app/parser.py:99)
"""
DETAILS = """
Registers:
    rip 0x7f144e8a3545  rsp 0x7ffd00000000  err 0x4
Libraries:
    0x7f144e8a2000-0x7f144e8a9000 /srv/app/fast.so build id 6196744a
"""


def check_text():
    path = write("whole.json", REPORTS["whole"])
    check(run_text(path) == (0, WHOLE, ""), run_text(path)[1])
    check(run_text("--verbose", path) == (0, WHOLE + DETAILS, ""), run_text("-v", path)[1])
    check(run_text(path, path) == (0, WHOLE + "\n" + WHOLE, ""), "two reports")
    check(run_text("--output", "written", path) == (0, "", ""), "--output")
    with open("written", encoding="utf-8") as file:
        check(file.read() == WHOLE, "what was written to a file")
    for target in ("/dev/full", "absent/file"):
        status, output, errors = run_text("--output", target, path)
        check((status, output) == (1, "") and target in errors, target, status, errors)


def check_threads():
    """1,000 threads, 999 of which stand at 7 places, are 8 paragraphs; a deep stack that did not crash is short."""
    text = run_text(write("many.json", REPORTS["many"]))[1]
    heads = [line for line in text.splitlines() if re.match(r"Thread \d|\d+ threads, ", line)]
    check(len(heads) == 8 and heads[0].startswith("Thread 4711 "), heads)
    check(sum(int(head.split()[0]) for head in heads[1:]) == 999, heads)
    check(all(re.search(r'"worker-\d+" and \d+ more: idle$', head) for head in heads[1:]), heads)
    frames = [native_frame("level_%d" % number) for number in range(50)]
    path = write("short.json", report(threads=[thread(0, True, frames), thread(1, frames=frames)]))
    text = run_text(path)[1]
    check(text.count("level_") == 56 and "    (and 44 more)\n" in text, text)
    check(run_text("-v", path)[1].count("level_") == 100, "verbose")
    # What it waits in, and the Python frames that led there, of which native ones may be between.
    mixed = [native_frame("outer_%d" % number) for number in range(4)]
    mixed += [python_frame("caller_%d" % number) for number in range(7)] + mixed[1:]
    path = write("mixed.json", report(threads=[thread(0, True, []), thread(1, frames=mixed)]))
    lines = run_text(path)[1].split('"worker-1"')[1].splitlines()[1:]
    wanted = ["outer_0 (fast.so+0x1545)", *("Parser.caller_%d (/srv/app/parser.py:31)" % number for number in range(5)),
              "(and 8 more)"]
    check([line.strip() for line in lines] == wanted, lines)


def check_texts():
    """No odd text moves the cursor, on any way out; each is there."""
    for name, data in list(REPORTS.items()) + list(PARTIALS.items()):
        path = write("%s.%s" % (name, "partial" if isinstance(data, bytes) else "json"), data)
        for arguments in ([], ["-v"], ["-m"], ["-m", "-v", "--budget", "1000000"]):
            status, output, errors = run_text(*arguments, path)
            check((status, errors) == (0, "") and not CONTROL.search(output), name, arguments, status, errors)
            check(output.strip() != "", name, arguments, "is empty")
    text = run_text("-v", "odd-control.json")[1]
    check(text.startswith(r"a\x00b\x1b[31mc\x07\x0d\x0a\x7f\x9b d\u2028e\u202e\u2066\u200f"), text)
    check(ODD_TEXTS["long"] in run_text("odd-long.json")[1], "the long text")
    check(ODD_TEXTS["surrogate"] in run_text("odd-surrogate.json")[1], "the escapes of bytes that are no UTF-8")


def check_documents():
    """A finished one passes as it is, blanks, numbers and unknown fields too."""
    for name, document in REPORTS.items():
        for data in (encode(document), json.dumps(document, indent=3).encode() + b"\n\n"):
            check(run("--json", write("pass.json", data)) == (0, data, b""), name)
    future = {**finished("whole"), "weather": ["rain"], "threads": [{"crashed": True, "frames": [{"kind": "dream"}]}]}
    check(run("--json", write("future.json", future)) == (0, encode(future), b""), "a field of later times")
    check(run("future.json")[0] == 0, "a field of later times, as text")
    large = encode(report()).replace(b'"pid":4711', b'"pid":' + b"9" * 30)
    check(run("--json", write("large.json", large)) == (0, large, b""), "a number that is too large")
    check("Process:" in run_text("large.json")[1], "a number that is too large, as text")
    # An unfinished one is told by what is in it, whatever its name.
    write("named.json", PARTIAL)
    write("named.partial", PARTIAL)
    check(run("named.json") == run("named.partial") and run("named.json")[0] == 0, run("named.json"))


WRONG = {
    "empty": (b"", "empty: nothing was saved"),
    "text": (b"Traceback (most recent call last):\n", "not a report: no JSON"),
    "other-json": (b'{"a":1}', "not a report: JSON, but not of pyunwind"),
    "list": (b"[1]", "not a report: JSON, but not of pyunwind"),
    "dump": (b'{"schema":"pyunwind.dump/1","processes":[]}', "not a report: its schema is pyunwind.dump/1"),
    "newer": (b'{"schema":"pyunwind.crash/2"}', "another schema, pyunwind.crash/2; this is pyunwind "),
    "odd-schema": (b'{"schema":"pyunwind.crash/\\u001b[31m"}', "another schema, pyunwind.crash/\\x1b[31m;"),
    "cut": (encode(report())[:-100], "cut: the file ends after "),
    "damaged": (encode(report()).replace(b'"pid":', b'"pid"='), "damaged: no JSON from byte "),
    "control": (encode(report()).replace(b'"pid":', b'"pid"\x1b\x07'), "damaged: no JSON from byte "),
}


def check_complaints():
    good = write("good.json", REPORTS["whole"])
    for name, (data, words) in WRONG.items():
        path = write("wrong-%s.json" % name, data)
        for arguments in ([path, good], [good, path]):
            status, output, errors = run_text(*arguments)
            check((status, output) == (1, WHOLE), name, status)
            check(errors.startswith("pyunwind report: %s: " % path) and words in errors, name, errors, "not", words)
            check(errors.count("\n") == 1 and not CONTROL.search(errors), repr(errors))
    path = write("wrong.partial", b"nothing\n")
    check("no record in it can be read" in run_text(path)[2], run_text(path))
    os.mkdir("folder")
    os.mkfifo("fifo")
    for path, words in (("absent.json", "No such file"), ("folder", "a folder: --list"), ("fifo", "not a regular file"),
                        ("a\x1b\n", "No such file")):
        status, output, errors = run_text(path)
        check((status, output) == (1, "") and words in errors, path, status, errors)
        check(not CONTROL.search(errors) and errors.count("\n") == 1, repr(errors))


def check_usage():
    for arguments in ([], ["--nonsense"], ["-m", "-j", "x"], ["--budget", "300", "x"], ["-m", "--budget", "199", "x"],
                      ["-m", "--budget", "-1", "x"], ["-m", "--budget", "1e3", "x"], ["-m", "--budget", "", "x"],
                      ["--list", "--prune"], ["--list", "a", "b"], ["--list", "-m"], ["--prune"], ["--prune", "-j"],
                      ["--prune", "--keep", "x"], ["--prune", "--keep", "1.5"], ["--prune", "--older-than", "-1"],
                      ["--prune", "--older-than", "."], ["--keep", "3", "x"], ["--list", "--keep", "3"],
                      ["--prune", "--keep", "1", "a", "b"], ["--output"], ["--older-than", "1", "x"]):
        status, output, errors = run_text(*arguments)
        check((status, output) == (2, "") and errors != "", arguments, status, output, errors)
    status, output, errors = run_text("--help")
    lines = output.splitlines()
    check((status, errors) == (0, ""), status, errors)
    check(len(lines) < SCREEN_LINES and max(map(len, lines)) <= SCREEN_COLUMNS, len(lines), "lines of help")
    with open(os.path.join(SOURCE, "docs", "man", "pyunwind-report.1"), encoding="utf-8") as file:
        manual = file.read().replace("\\-", "-")
    for option in re.findall(r"--[\w-]+", output.split("Mandatory")[0]):
        check(option in manual or option == "--usage", option, "is not in the manual")


def on_terminal(*arguments, **environment):
    """What the command writes to a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen([COMMAND, "report", *arguments], stdin=subprocess.DEVNULL, stdout=side,
                               env={"TERM": "xterm", **environment})
    os.close(side)
    output = b""
    try:
        while True:
            part = os.read(main, 1 << 16)
            if not part:
                break
            output += part
    except OSError:  # the other side is closed
        pass
    os.close(main)
    check(process.wait() == 0, "on a terminal")
    return output.decode().replace("\r\n", "\n")


def check_colour():
    path = write("whole.json", REPORTS["whole"])
    odd = write("odd.json", REPORTS["odd-control"])
    folder = os.path.join(os.getcwd(), "reports")
    os.mkdir(folder)
    write(os.path.join(folder, "pyunwind-20261125T074049Z-4711.json"), REPORTS["odd-control"])
    for arguments in ([path], ["-v", path], ["-v", odd], ["--list", folder]):
        plain = run_text(*arguments)[1]
        coloured = on_terminal(*arguments)
        check("\x1b[" not in plain and "\x1b[" in coloured, arguments, "colour")
        stripped = re.sub("\x1b\\[\\d*m", "", coloured)
        check(stripped == plain and not CONTROL.search(stripped), arguments, stripped)
        check(on_terminal(*arguments, NO_COLOR="1") == plain, "NO_COLOR")
        check(on_terminal(*arguments, TERM="dumb") == plain, "TERM=dumb")
    check(on_terminal("-m", path) == run_text("-m", path)[1], "Markdown has no colour")


def main():
    check_text()
    check_threads()
    check_texts()
    check_documents()
    check_complaints()
    check_usage()
    check_colour()
    return finish("text, %d odd reports, documents, %d files that are none, usage, manual and colour are as documented" % (
        len(REPORTS) + len(PARTIALS), len(WRONG)))


if __name__ == "__main__":
    sys.exit(main())
