# interpreters: host
"""
Separate debug information beside a library, as debuggers look for it: by the name that the library links to, or its own,
in its folder or in .debug there; taken where its build id is the library's, or its checksum the one that the library
tells, and else not. The oracle is the library before it was stripped.
"""

import os
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "dump"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from compile import compile_shared
from dumping import Subject, check, dump_one, finish

HERE = os.path.dirname(os.path.abspath(__file__))
CHAIN = os.path.join(HERE, "chain.py")
TOLD = ("function", "filename", "lineno")

# name, with a build id, where its debug information lies, whether the library links to it, whether it is the right one
CASES = (
    ("by its own name", True, "chain.so.debug", False, True),
    ("linked, build id", True, "other.debug", True, True),
    ("linked, checksum", False, "other.debug", True, True),
    ("in .debug", False, ".debug/other.debug", True, True),
    ("of another build id", True, "chain.so.debug", False, False),
    ("of another checksum", False, "other.debug", True, False),
    ("without a checksum", False, "chain.so.debug", False, True),
)


def tell(process, library):
    """What is told of the frames in the library."""
    return [[tuple(frame[key] for key in TOLD) for frame in thread["frames"] if frame.get("module") == library]
            for thread in process["threads"]]


def dump(what, library):
    command = [sys.executable, CHAIN]
    with Subject("chain", "foreign", command=command, environment={"CHAIN": library, "PYUNWIND_SOURCE": SOURCE}) as subject:
        return tell(dump_one(what, subject.pid, "--native"), library)


def make(folder, original, other, place, links, right):
    """The library without its debug information, and that."""
    os.makedirs(os.path.join(folder, ".debug"))
    library, told = os.path.join(folder, "chain.so"), os.path.join(folder, place)
    subprocess.check_call(["objcopy", "--only-keep-debug", original, told])
    subprocess.check_call(["objcopy", "--strip-all", original, library])
    if links:
        subprocess.check_call(["objcopy", "--add-gnu-debuglink=" + told, library])
    if not right:
        subprocess.check_call(["objcopy", "--only-keep-debug", other, told])
    return os.path.realpath(library)


def main():
    source = os.path.join(HERE, "chain.c")
    with open(source, encoding="utf-8") as file:
        text = file.read()
    builds = {}
    for has_id in (True, False):
        flags = ["-Wl,--build-id" if has_id else "-Wl,--build-id=none"]
        # The text is given, so that both name the same source: none.
        builds[has_id] = [compile_shared("chain", text, flags=flags), compile_shared("chain", "\n\n" + text, flags=flags)]
    for number, (what, has_id, place, links, right) in enumerate(CASES):
        folder = os.path.abspath(str(number))
        os.mkdir(folder)
        original, other = builds[has_id]
        whole = os.path.realpath(shutil.copy(original, os.path.join(folder, "chain.so")))
        wanted = dump(what, whole)
        check(any(line is not None for frames in wanted for _, _, line in frames), what, "the oracle tells no line", wanted)
        os.unlink(whole)
        told = dump(what, make(folder, original, other, place, links, right))
        is_used = right and (links or has_id)
        if is_used:
            check(told == wanted, what, told, "expected", wanted)
        else:
            check(all(line is None for frames in told for _, _, line in frames), what, "is used:", told)
    return finish("%d ways in which debug information may lie beside a library" % len(CASES))


sys.exit(main())
