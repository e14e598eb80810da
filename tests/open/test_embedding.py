# interpreters: each
# weight: heavy
"""
A target in a program that embeds CPython (host.c): opened before Py_Initialize and between two lives of the
interpreter, and asked before, in, between and after them. The oracle for stacks is sys._getframe(), asked by lives.py
at the same moment; that for everything else is what such a program must print.

The program in all the ways it can hold an interpreter: linked with libpython; with libpython loaded by dlopen() and
RTLD_LOCAL; the interpreter linked into it, with its symbols exported, only in the symbol table, stripped, and without
section headers; and the python executable itself, with the program preloaded into it.
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_program, compile_shared, preloading
from linking import MINOR, VERSION, Linking, python_home, stripped, without_sections

HERE = os.path.dirname(os.path.abspath(__file__))

NOT_INITIALIZED = "the interpreter is not initialized"
FINALIZED = "the interpreter is finalized"
NO_PYTHON = "no CPython interpreter in this process"


# ---- What such a program prints -------------------------------------------------------------------------------------


def opened(number):
    return "  target %d: CPython %s" % (number, VERSION)


def no_python(stage):
    return [
        "open %s: %s: no CPython interpreter is loaded in this process" % (stage, NO_PYTHON),
        "  no target: target or cursor is not open",
    ]


def life(targets):
    def checks(stage, frames):
        return ["%s, target %d: right, %d frames" % (stage, target, frames) for target in range(targets)]

    lines = checks("in a callback from C", 4) + checks("in a generator called from C", 4)
    lines += checks("in a thread of C", 2)
    lines.append("a thread of C: no such Python thread state, no frame, no such Python thread state")
    for kind in ["sharing the GIL"] + (["with its own GIL"] if MINOR >= 12 else []):
        lines += checks("in a sub-interpreter", 3) + ["around an interpreter %s: right" % kind]
    return lines + checks("at exit", 1) + 2 * checks("while modules are torn down", 2)


def captures(stage, targets, words):
    return ["%s, target %d: %s" % (stage, target, words) for target in range(targets)]


def lives(preloaded=False):
    """The lines of both lives. python's own main() says nothing of its own beginning and end."""
    lines = ["open before Py_Initialize: success", opened(0)]
    lines += captures("before Py_Initialize", 1, NOT_INITIALIZED)
    if preloaded:
        lines += life(1)
    else:
        lines += captures("after Py_Initialize", 1, "no frame") + life(1) + ["Py_Finalize: 0"]
    lines += ["audit events: many"] + captures("after Py_Finalize", 1, FINALIZED)
    if preloaded and MINOR == 8:
        return lines  # after python's own main() this version cannot begin again
    lines += ["open after Py_Finalize: %s: %s; the target answers once it is initialized again" % (FINALIZED, "the "
              "interpreter is finalized"), opened(1)]
    lines += captures("after Py_Initialize", 2, "no frame") + life(2) + ["Py_Finalize: 0"]
    lines += ["audit events: many"] + captures("after Py_Finalize", 2, FINALIZED)
    return lines


# ---- The variants ---------------------------------------------------------------------------------------------------


def run(command, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
    environment.update(more, PYTHONPATH=HERE, PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment)
    return done.returncode, done.stdout.decode(errors="replace").splitlines(), done.stderr.decode(errors="replace")


class Checker:
    def __init__(self):
        self.passed = []
        self.failed = []

    def check(self, variant, command, expected, **environment):
        status, lines, errors = run(command, **environment)
        if status == 0 and lines == expected:
            self.passed.append(variant)
            return
        self.failed.append(variant)
        print("%s: exit status %d" % (variant, status))
        for number in range(max(len(lines), len(expected))):
            line, wanted = (part[number] if number < len(part) else "(nothing)" for part in (lines, expected))
            print("  %s %s" % ("  " if line == wanted else "!!", line))
            if line != wanted:
                print("     expected: " + wanted)
        print(errors)


def main():
    linking = Linking()
    checker = Checker()
    absent = []
    home = {"PYTHONHOME": python_home()}
    source = os.path.join(HERE, "host.c")
    with tempfile.TemporaryDirectory() as folder:
        library = compile_shared("host_preloaded", source, pyunwind=True,
                                 flags=linking.compile_flags() + ["-DHOST_IS_PRELOADED"])
        checker.check("preloaded", [sys.executable, "-c", "import lives; lives.main()"], lives(preloaded=True),
                      LD_PRELOAD=preloading(library), **home)

        if linking.shared:
            program = compile_program("host_shared", source, pyunwind=True,
                                      flags=linking.compile_flags() + linking.shared_flags())
            checker.check("libpython", [program], lives(), **home)
            program = compile_program("host_loading", source, pyunwind=True, flags=linking.compile_flags()
                                      + ["-DHOST_LOADS_PYTHON"] + linking.libc_flags())
            checker.check("libpython by dlopen", [program, linking.shared], no_python("before dlopen") + lives(),
                          **home)
            # Where the sections are gone, the symbols of a library that was loaded locally are not.
            library = without_sections(linking.shared, folder)
            checker.check("libpython by dlopen, without sections", [program, library],
                          no_python("before dlopen") + lives(), **home)
        else:
            absent.append("libpython")

        if linking.static:
            def link(name, *flags):
                return compile_program(name, source, linking.missing_hashes(), pyunwind=True,
                                       flags=linking.compile_flags() + list(flags) + linking.static_flags())

            hidden = "-Wl,--no-export-dynamic"
            exported = link("host_static", "-pie")
            checker.check("static", [exported], lives(), **home)
            checker.check("static, stripped", [stripped(exported, folder)], lives(), **home)
            for kind in ("-pie", "-no-pie"):
                program = link("host_static_hidden" + kind, kind, hidden)
                checker.check("static %s, not exported" % kind, [program], lives(), **home)
                program = stripped(program, folder)
                # 3.8 and 3.9 leave nothing to be found there: no symbol, no section, no cookie.
                expected = lives() if MINOR >= 10 else no_python("before Py_Initialize")
                checker.check("static %s, not exported, stripped" % kind, [program], expected, **home)
                program = without_sections(program, folder)
                expected = lives() if MINOR >= 13 else no_python("before Py_Initialize")
                checker.check("static %s, not exported, without sections" % kind, [program], expected, **home)
        else:
            absent.append("a static library")
    if checker.failed:
        print("failed: " + "; ".join(checker.failed))
        return 1
    print("%d programs right: %s%s" % (len(checker.passed), "; ".join(checker.passed),
                                       ". NOT TRIED, THIS INTERPRETER HAS NO: " + ", ".join(absent) if absent else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
