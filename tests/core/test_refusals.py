# interpreters: host
"""
What `pyunwind core` says of what is no core file of a Python that it reads: each message names the cause, and where
there is one the cure. The oracle is how the file was made.
"""

import os
import re
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", folder) for folder in ("support", "dump")]

from compile import compile_program
from cores import HAS_KERNEL_CORES, allow_cores, any_core, check, gdb_core, kernel_cores_note, run_core, set_filter
from cores import take_kernel_core
from dumping import Program, finish
from refusing import FAKES, STANDS_STILL, fake_source

tried = []


def refused(what, pattern, *arguments):
    tried.append(what)
    status, output, errors = run_core(*arguments)
    check((status, output) == (1, "") and re.match("pyunwind core: .*(%s)" % pattern, errors), what, status, output[:200],
          errors)


def core_of(program, name, bits=None):
    """Of a program that stands still."""
    with Program([program]) as started:
        if bits is not None:
            set_filter(started.pid, bits)
        if not HAS_KERNEL_CORES:
            return gdb_core(started.pid, name)[0]
        started.process.send_signal(6)
        started.process.wait()
        return take_kernel_core(started.process, name)


def check_files():
    with open("text", "w", encoding="ascii") as file:
        file.write("a text\n")
    with open("empty", "w", encoding="ascii"):
        pass
    refused("a text", "text is no ELF file", "text")
    refused("an empty file", "empty is empty", "empty")
    refused("an executable", "is an executable or a shared library", "/bin/sh")
    refused("a folder", "is a folder", ".")
    refused("no file", "cannot be opened: No such file", "absent")
    if os.geteuid() != 0:
        os.chmod("text", 0)
        refused("a file that may not be read", "cannot be opened: Permission denied", "text")


def change_byte(core, name, offset, value):
    """A copy in which one byte of the ELF header is another."""
    shutil.copyfile(core, name)
    with open(name, "r+b") as file:
        file.seek(offset)
        file.write(bytes([value]))
    return name


def check_architectures():
    core, _ = any_core("python.core", "lock")
    refused("32 bits", "core of a 32-bit program", change_byte(core, "small.core", 4, 1))
    machine, name = {"x86_64": (0xb7, "aarch64"), "aarch64": (0x3e, "x86-64")}[os.uname().machine]
    refused("another architecture", "core of a program for " + name, change_byte(core, "other.core", 18, machine))
    refused("another executable", "build id", core, "/bin/sh")
    refused("no executable", "absent", core, "absent")


def check_programs():
    still = compile_program("stands_still", STANDS_STILL)
    refused("not Python", "is not Python: %s and" % re.escape(still), core_of(still, "still.core"))
    pypy = compile_program("like_pypy", STANDS_STILL, "int pypy_main_startup(void);\nint pypy_main_startup(void)\n{\n"
                           "    return 0;\n}\n")
    refused("PyPy", "runs PyPy", core_of(pypy, "pypy.core"))
    for what, flags, pattern in FAKES:
        program = compile_program("pretender", STANDS_STILL, fake_source(), flags=list(flags) + ["-O0"])
        refused(what, pattern, core_of(program, "fake.core"))
    if HAS_KERNEL_CORES:
        refused("no memory", "holds no memory of the process: .*coredump_filter", core_of(still, "bare.core", 0))


def check_room():
    """A compressed core that there is no room to unpack to: a folder that is not there is said, and a full one."""
    with open("packed", "wb") as out:
        subprocess.run(["gzip", "-1", "-c", "python.core"], stdout=out, check=True)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = os.path.abspath("nowhere")
    refused("no folder to unpack to", "nowhere", "packed")
    os.environ["TMPDIR"] = before if before is not None else "/tmp"


def main():
    allow_cores()
    check_files()
    check_architectures()
    check_programs()
    check_room()
    return finish("refused as they should be: %s%s" % (", ".join(tried), kernel_cores_note()))


if __name__ == "__main__":
    sys.exit(main())
