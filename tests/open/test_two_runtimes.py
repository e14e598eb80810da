# interpreters: each
"""
A process with two CPython runtimes: options.runtime chooses, and captures of either are of that one.

First a program into which this interpreter is linked, unexported, and which loads a libpython, of this version or of
another (two_runtimes.c); then, if this interpreter is no libpython, this process with its libpython loaded beside it.
The oracle is the programs' own source.
"""

import ctypes
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_program
from linking import VERSION, Linking, python_home, read_loader


def other_libraries(linking):
    """[(version, libpython, home)] of this and other interpreters that live with the same C library."""
    found = []
    if linking.shared:
        found.append((VERSION, linking.shared, python_home()))
    if "PYUNWIND_PYTHONS" in os.environ:
        with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
            for python in json.load(file):
                if python["libpython"] and read_loader(python["executable"]) == linking.loader:
                    found.append((python["name"], python["libpython"], python["prefix"]))
    versions = {}
    for version, path, home in found:
        versions.setdefault(version, (version, path, home))
    return list(versions.values())


def expected_lines(version, any_is):
    names = ("the linked one", "the loaded one")
    lines = ["open the linked one: %s, linked" % VERSION.rstrip("t"),
             "open the loaded one: %s, loaded" % version.rstrip("t"),
             "open any: %s, %s" % ((VERSION if any_is == 0 else version).rstrip("t"), ("linked", "loaded")[any_is])]
    not_initialized, finalized = "the interpreter is not initialized", "the interpreter is finalized"
    for stage, states in (("one runs", ("no frame", not_initialized)),
                          ("both run", ("complete caller:2 outer:4 <module>:6", "complete callee:2 <module>:3")),
                          ("the other runs", (finalized, "no frame")),
                          ("none runs", (finalized, finalized))):
        for name, state in zip(names + ("any",), states + (states[any_is],)):
            lines.append("%s, %s: %s" % (stage, name, state))
    return lines


def check_program(linking, program, version, path, home):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
    done = subprocess.run([program, python_home(), path, home], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment)
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.returncode == 0 and lines in (expected_lines(version, 0), expected_lines(version, 1)):
        return True
    print("%s linked, %s loaded: exit status %d" % (VERSION, version, done.returncode))
    print("\n".join(lines))
    print("expected:")
    print("\n".join(expected_lines(version, 1)))
    return False


def check_own_process(linking):
    """This interpreter's runtime is in its executable; its libpython, loaded beside it, brings a second one."""
    # RTLD_DEEPBIND: the library means its own symbols, and not the executable's.
    library = ctypes.CDLL(linking.shared, mode=os.RTLD_LOCAL | os.RTLD_NOW | os.RTLD_DEEPBIND)
    second = ctypes.addressof(ctypes.c_char.in_dll(library, "_PyRuntime"))
    own = pyunw.open_self()
    runtime = pyunw.describe_target(own).runtime
    assert runtime != second, "the library's runtime is the executable's"
    frames, status = pyunw.capture(own)
    assert status.end == pyunw.PYUNW_COMPLETE and frames[1].text("name") == "check_own_process"
    frames, status = pyunw.capture(pyunw.open_self(runtime=runtime))
    assert status.end == pyunw.PYUNW_COMPLETE and frames[1].text("name") == "check_own_process"
    target = pyunw.open_self(runtime=second)
    assert pyunw.describe_target(target).runtime == second
    error = pyunw.lib.pyunw_capture_current(target, None, 0, None)
    assert error == pyunw.PYUNW_ERR_NOT_INITIALIZED, error


def main():
    linking = Linking()
    done, failed = [], []
    if linking.static:
        program = compile_program("two_runtimes", os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                  "two_runtimes.c"), linking.missing_hashes(), pyunwind=True,
                                  flags=["-Wl,--no-export-dynamic"] + linking.static_flags())
        for version, path, home in other_libraries(linking):
            good = check_program(linking, program, version, path, home)
            (done if good else failed).append("libpython%s in a program with %s" % (version, VERSION))
    may_bind_deeply = "PYUNWIND_SANITIZED" not in os.environ  # its runtime ends the process
    if linking.shared and not is_in_library() and may_bind_deeply:
        check_own_process(linking)
        done.append("libpython%s in the executable's process" % VERSION)
    if failed:
        print("failed: " + "; ".join(failed))
        return 1
    if not done:
        print("skipped: this interpreter comes neither with a static library nor with a second libpython")
        return 77
    print("two runtimes: " + "; ".join(done))
    return 0


def is_in_library():
    with open("/proc/self/maps") as maps:
        return "/libpython3" in maps.read()


if __name__ == "__main__":
    sys.exit(main())
