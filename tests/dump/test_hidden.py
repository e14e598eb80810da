# interpreters: each
"""
An interpreter that exports its functions, and whose runtime no symbol, section or name tells of: it is found while it
runs, and else it is said why it is not; never that its version were not supported. The oracle is what subject.py says in
it, and what such a program is.
"""

import os
import struct
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "open"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from compile import compile_program
from dumping import SUBJECT, Program, Subject, check, compare_subject, finish, run_dump
from linking import MINOR, Linking, python_home

HOME = {"PYTHONHOME": python_home()}
STV_HIDDEN = 2
FROM_COOKIE = 13  # from here on the runtime tells of itself

HOST = r"""
#include <Python.h>
#include <pyunwind.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static pyunw_target target;
    char message[256] = "";
    char byte;
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    if (argc == 1) {
        printf("%d %.3s ", pyunw_open_self(&target, &options), Py_GetVersion());
        puts(message);
        fflush(stdout);
        return read(0, &byte, 1) != 1;
    }
    Py_InitializeEx(0);
    return PyRun_SimpleString(argv[1]) != 0;
}
"""


def symbols_of(path):
    """(place in the file, name) of each dynamic symbol."""
    with open(path, "rb") as file:
        data = file.read()
    sections, = struct.unpack_from("<Q", data, 0x28)
    count, = struct.unpack_from("<H", data, 0x3c)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, sections + 64 * number) for number in range(count)]
    for head in heads:
        if head[1] == 11:  # SHT_DYNSYM
            strings = heads[head[6]][4]
            for place in range(head[4], head[4] + head[5], 24):
                at = strings + struct.unpack_from("<I", data, place)[0]
                yield place, data[at:data.index(b"\0", at)]


def hide(path, to):
    """A copy of which nobody but itself uses the runtime, which has another name. References to it need no name then."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    for place, name in symbols_of(path):
        if name == b"_PyRuntime":
            data[place + 5] = STV_HIDDEN
    with open(to, "wb") as file:
        file.write(data.replace(b"PyRuntime\0", b"PyRuntimx\0"))
    os.chmod(to, 0o755)
    return to


def make_host(linking):
    """(program, environment)."""
    flags = linking.compile_flags()
    if linking.shared:
        program = compile_program("hidden_host_shared", HOST, pyunwind=True, flags=flags + linking.shared_flags())
        return program, dict(HOME, LD_PRELOAD=hide(linking.shared, os.path.abspath(os.path.basename(linking.shared))))
    with open("exported", "w", encoding="ascii") as file:
        file.write("{ Py_GetVersion; };\n")
    program = compile_program("hidden_host_static", HOST, linking.missing_hashes(), pyunwind=True, flags=flags + [
        "-pie", "-Wl,--no-export-dynamic", "-Wl,--dynamic-list=" + os.path.abspath("exported")] + linking.static_flags())
    stripped = os.path.abspath("host-stripped")
    subprocess.check_call(["strip", "-o", stripped, program])
    return hide(stripped, os.path.abspath("host")), HOME


def check_refusal(program, environment):
    """Before it is initialized."""
    told = "no symbol of its runtime"
    with Program([program], environment=environment) as started:
        own = started.line.decode()
        status, output, errors = run_dump(started.pid)
    version = "%d.%d.%d" % sys.version_info[:3]
    if MINOR >= FROM_COOKIE:
        check(own.startswith("0 "), "the own process:", own)
        check((status, output) == (1, "") and "is not initialized yet" in errors, status, output, errors)
        return
    check(("CPython %s has %s" % (version, told)) in own, "the own process:", own)
    check((status, output) == (1, "") and told in errors and ("has the functions of %s" % version) in errors, status, output,
          errors)


def main():
    linking = Linking()
    if not linking.shared and not linking.static:
        print("this interpreter has no library")
        return 77
    program, environment = make_host(linking)
    with open(SUBJECT, encoding="utf-8") as file:
        source = file.read()
    with Subject("lock", "method", command=[program, source], environment=environment) as subject:
        frames = compare_subject("hidden", subject)
    check_refusal(program, environment)
    return finish("%d frames of an interpreter whose runtime is hidden" % frames)


if __name__ == "__main__":
    sys.exit(main())
