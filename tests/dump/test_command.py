# interpreters: host
"""
The command as a person meets it: help that fits a screen, versions, wrong usage, --output, the text, what names that
could move the cursor become, and colour on a terminal only. The oracle is what the manual says (docs/man).
"""

import errno
import os
import pty
import re
import subprocess
import sys

from dumping import COMMAND, SUBJECT, Program, Subject, check, finish, run_dump

SOURCE = os.environ["PYUNWIND_SOURCE"]
SCREEN_LINES, SCREEN_COLUMNS = 24, 80
PROGRAM = [sys.executable, SUBJECT]


def run(*arguments):
    done = subprocess.run([COMMAND, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check_help():
    for arguments in (["--help"], ["dump", "--help"], ["core", "--help"], ["report", "--help"]):
        status, output, errors = run(*arguments)
        lines = output.splitlines()
        check((status, errors) == (0, ""), arguments, status, errors)
        check(len(lines) < SCREEN_LINES and max(map(len, lines)) <= SCREEN_COLUMNS, arguments, len(lines), "lines")
        check(lines[0].startswith("Usage: pyunwind "), lines[0])
    with open(os.path.join(SOURCE, "meson.build"), encoding="utf-8") as file:
        version = re.search(r"version: '(.*?)'", file.read()).group(1)
    for arguments in (["--version"], ["dump", "-V"], ["core", "-V"], ["report", "-V"]):
        check(run(*arguments) == (0, "pyunwind %s\n" % version, ""), run(*arguments))


def check_manual():
    """Each option of the help is in the manual, and each command in that of all."""
    with open(os.path.join(SOURCE, "docs", "man", "pyunwind.1"), encoding="utf-8") as file:
        overview = file.read().replace("\\-", "-")
    for command in ("dump", "core", "report"):
        check("pyunwind-" + command in overview, command, "is not in the manual")
        with open(os.path.join(SOURCE, "docs", "man", "pyunwind-%s.1" % command), encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for option in re.findall(r"--[\w-]+", run(command, "--help")[1].split("Mandatory")[0]):
            check(option in manual or option == "--usage", option, "is not in the manual of", command)


def check_usage():
    for arguments in ([], ["nonsense"], ["--nonsense"], ["dump"], ["dump", "--nonsense", "1"], ["dump", "x"],
                      ["dump", "0"], ["dump", "-o"], ["dump", "--", "-1"], ["dump", "1x"], ["dump", "4294967297"],
                      ["dump", ""], ["core"], ["core", "--nonsense", "x"], ["core", "a", "b", "c"], ["core", "--sysroot"]):
        status, output, errors = run(*arguments)
        check((status, output) == (2, "") and errors != "", arguments, status, output, errors)


def check_output():
    with Subject("lock", command=PROGRAM) as subject:
        expected = run_dump(subject.pid)[1]
        check(run("dump", "--output", "written", subject.pid) == (0, "", ""), "--output")
        with open("written", encoding="utf-8") as file:
            written = file.read()
        uptime = re.compile(r"up [\d.]+ s")
        check(uptime.sub("", written) == uptime.sub("", expected), written)
        for path, error in (("absent/folder", errno.ENOENT), ("/dev/full", errno.ENOSPC)):
            status, output, errors = run("dump", "--output", path, subject.pid)
            check((status, output) == (1, "") and os.strerror(error) in errors, path, status, errors)
            # Whatever fails after it, that is what it failed by.
            status, output, errors = run("dump", "--output", path, subject.pid, 2**31 - 1)
            check((status, output) == (1, "") and os.strerror(error) in errors, path, status, errors)
        check_text(expected, subject)


def check_text(text, subject):
    """Header, then each thread, whose frames are those that it told of."""
    lines = text.splitlines()
    check(lines[0] == "Process %d: %s" % (subject.pid, " ".join(PROGRAM)), lines[0])
    check(re.match(r"CPython %s.*, /.*, up \d" % re.escape(subject.truth["version"]), lines[1]), lines[1])
    for told in subject.truth["threads"]:
        head = 'Thread %d "' % told["native_id"]
        start = next(number for number, line in enumerate(lines) if line.startswith(head))
        check(re.search(r'" 0x%016x: idle$' % told["thread_id"], lines[start]), lines[start])
        for line, (filename, name, qualname, lineno) in zip(lines[start + 1:], told["stack"]):
            check(line == "    %s (%s:%d)" % (qualname or name, filename, lineno), line)


ODD = "import os\nmade = {}\nexec(compile('def f():\\n os.write(1, b\"\\\\n\"); os.read(0, 1)\\n', %r, 'exec'))\nf()\n"


def check_control_characters():
    with Program([sys.executable, "-c", ODD % "/\x1b[31m\n\x7f\x9b\udcff/a.py"]) as program:
        status, output, _ = run_dump(program.pid)
        check(status == 0 and r"f (/\x1b[31m\x0a\x7f\x9b\udcff/a.py:2)" in output, output)
        check(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", output), repr(output))


def on_terminal(pid, **environment):
    """What the command writes to a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen([COMMAND, "dump", str(pid)], stdin=subprocess.DEVNULL, stdout=side,
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
    with Subject("lock", command=PROGRAM) as subject:
        uptime = re.compile(r"up [\d.]+ s")
        plain = uptime.sub("", run_dump(subject.pid)[1])
        coloured = uptime.sub("", on_terminal(subject.pid))
        check("\x1b[" not in plain and "\x1b[" in coloured, "colour")
        check(re.sub("\x1b\\[\\d*m", "", coloured) == plain, coloured)
        check(uptime.sub("", on_terminal(subject.pid, NO_COLOR="1")) == plain, "NO_COLOR")
        check(uptime.sub("", on_terminal(subject.pid, TERM="dumb")) == plain, "TERM=dumb")


def main():
    check_help()
    check_manual()
    check_usage()
    check_output()
    check_control_characters()
    check_colour()
    return finish("help, versions, manual, usage, --output, text, control characters and colour are as documented")


if __name__ == "__main__":
    sys.exit(main())
