# interpreters: each
"""
That _Py_GetTracebackFrames() needs no call before it, however libpyunwind comes into the process: loaded by ctypes,
preloaded, preloaded and called before main(); and with pyunw_init() also where the interpreter comes later, by
dlopen(), and through three lives of it.
"""

import glob
import os
import re
import subprocess
import sys
import sysconfig

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_program, compile_shared, preloading

HERE = os.path.dirname(os.path.abspath(__file__))
PRELOADED = os.path.join(HERE, "preloaded.py")


def run(command, **environment):
    environment = {**os.environ, **environment}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, "%s: %d\n%s" % (command, done.returncode, output)
    return output


def lines_of(path, *parts):
    """The numbers of the lines that hold these parts."""
    with open(path) as file:
        lines = file.read().splitlines()
    return tuple(number for part in parts for number, line in enumerate(lines, 1) if part in line)


def check_python():
    """Under a python executable."""
    frames = "3 inner:%d main:%d <module>:%d\n" % lines_of(PRELOADED, "return collect(", "= inner(", "    main()")
    constructor = compile_shared("constructor", os.path.join(HERE, "constructor.c"), pyunwind=True)
    programs = (
        ("", [pyunw.PATH], frames),
        (pyunw.PATH, [""], frames),
        (pyunw.PATH, [pyunw.PATH], frames),
        (constructor, ["", "early"], frames + "-1 -1 1\n"),
        (constructor + " " + pyunw.PATH, ["", "early"], frames + "-1 -1 1\n"),
        (pyunw.PATH + " " + constructor, ["", "early"], frames + "-1 -1 1\n"),
    )
    for preloaded, arguments, expected in programs:
        output = run([sys.executable, PRELOADED] + arguments, LD_PRELOAD=preloading(preloaded))
        assert output == expected, (preloaded, arguments, output)
    return len(programs)


# ---- An interpreter that comes later --------------------------------------------------------------------------------


def find_library():
    """This interpreter's libpython, or None: most distributions' executables have none."""
    name = "libpython%s.so.1.0" % sysconfig.get_config_var("LDVERSION")
    folders = [sysconfig.get_config_var("LIBDIR") or "", os.path.join(sys.base_prefix, "lib")]
    folders += glob.glob(os.path.join(sys.base_prefix, "lib", "*-linux-gnu"))
    for folder in folders:
        path = os.path.join(folder, name)
        # Of one that is unpacked elsewhere than it was built for, LIBDIR is another's.
        if os.path.exists(path) and os.path.realpath(path).startswith(os.path.realpath(sys.base_prefix)):
            return path
    return None


def loader_command():
    """An interpreter with a C library of its own needs that one, and its loader."""
    output = run(["readelf", "-lW", os.path.realpath(sys.executable)], LD_PRELOAD="")
    loader = re.search(r"program interpreter: (\S+)\]", output).group(1)
    return [] if loader.startswith("/lib") else [loader, "--library-path", os.path.dirname(loader)]


IN_HANDLER = """\
in a signal handler: 3 <string>:3:inner <string>:5:outer <string>:6:<module>, 3
Stack (most recent call first):
  File "<string>", line 3 in inner
  File "<string>", line 5 in outer
  File "<string>", line 6 in <module>
"""
# Before pyunw_init() finds it, the interpreter is not there.
BLIND_HANDLER = """\
in a signal handler: -1, -1
Stack (most recent call first):
  <freed thread state>
"""
NO_INTERPRETER = "no interpreter: -1, -1\npyunw_init: no CPython interpreter in this process\nloaded: -1, -1\n"
SUCCESS = "pyunw_init: success\n"
FINALIZED = "pyunw_init: the interpreter is finalized\n"
BEGINNING, AGAIN = "initialized: 0, -1\n", "after pyunw_init: 0, -1\n"
REST = IN_HANDLER + "after the program: 0, -1\nfinalized: -1, -1\n"
BLIND = "initialized: -1, -1\n"
BLIND_REST = BLIND_HANDLER + "after the program: -1, -1\nfinalized: -1, -1\n"

FIRST_LIVES = {
    "loaded": SUCCESS + "not initialized: -1, -1\nfirst life\n" + BEGINNING + REST,
    "initialized": "first life\n" + BLIND + SUCCESS + AGAIN + REST,
    "finalized": "first life\n" + BLIND + BLIND_REST + FINALIZED,
}
LATER_LIVES = "second life\n" + BEGINNING + REST + FINALIZED + "third life\n" + BEGINNING + SUCCESS + AGAIN + REST


def check_host(library):
    host = compile_program("python_api_host", os.path.join(HERE, "host.c"), pyunwind=True, flags=["-ldl"])
    for stage, first_life in FIRST_LIVES.items():
        command = loader_command() + [host, library, stage]
        output = run(command, PYTHONHOME=sys.base_prefix, PYTHONNOUSERSITE="1")
        expected = NO_INTERPRETER + first_life + LATER_LIVES
        assert output == expected, "%s\n%s\nexpected\n%s" % (command, output, expected)
    return len(FIRST_LIVES)


def main():
    count = check_python()
    library = find_library()
    if library is None:
        print("%d programs answer as they should; this interpreter has no libpython to load later" % count)
    else:
        count += check_host(library)
        print("%d programs answer as they should, with %s loaded later" % (count, os.path.basename(library)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
