# interpreters: each
"""
examples/minimal.c: compiled by the very command that its head shows, pkg-config finding the build, and preloaded into
a Python program that knows itself which of its lines send.
"""

import os
import re
import shutil
import subprocess
import sys

SOURCE = os.path.join(os.environ["PYUNWIND_SOURCE"], "examples", "minimal.c")

PROGRAM = """\
import socket
import sys
import threading


def frames():
    frame = sys._getframe(1)
    while frame:
        code = frame.f_code
        print("%s:%d: %s" % (code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name)))
        frame = frame.f_back


class Wählscheibe:
    def __init__(self, line):
        self.line = line

    def send(self, data):
        frames(); self.line.send(data)

    def send_all(self, pieces):
        frames(); self.line.sendall(pieces)


ours, theirs = socket.socketpair()
dial = Wählscheibe(ours)
dial.send(b"one")
thread = threading.Thread(target=dial.send_all, args=(b"two",))
thread.start()
thread.join()
print(theirs.recv(6, socket.MSG_WAITALL), file=sys.stderr)
sys.stdout.flush()
"""


def command(number):
    """A line of the two that the head shows."""
    with open("minimal.c", encoding="utf-8") as file:
        head = file.read().partition("*/")[0]
    return re.findall(r"^ \*     (.*)$", head, re.M)[number]


def main():
    shutil.copy(SOURCE, "minimal.c")
    with open("program.py", "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    with open("minimal.c", encoding="utf-8") as file:
        code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15, "the README calls it 15 lines"

    build = dict(os.environ, PKG_CONFIG_PATH=os.environ["PYUNWIND_BUILD"])
    done = subprocess.run(["sh", "-c", command(0)], env=build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0 and done.stdout == b"", done.stdout.decode()

    os.mkdir("bin")
    os.symlink(sys.executable, os.path.join("bin", "python3"))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_"))}
    environment.update(PATH=os.path.abspath("bin") + os.pathsep + os.environ["PATH"], PYTHONUTF8="1")
    done = subprocess.run(["sh", "-c", command(1)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    expected = done.stdout.decode().splitlines()
    *found, received = done.stderr.decode().splitlines()
    assert received == "b'onetwo'", received
    assert len(expected) >= 6 and found == expected, "\n".join(found + ["but it was"] + expected)
    print("%d frames in 2 sends" % len(found))


if __name__ == "__main__":
    main()
