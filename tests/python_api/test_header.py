# interpreters: host
# weight: heavy
"""
The same source (api.c) compiles with pyunwind_python.h and the Python.h of every interpreter, before or after it, and
without any; as C and as C++, without a warning; links with libpyunwind alone; and runs
in a process that has no interpreter.
"""

import json
import os
import re
import shutil
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
BUILD = os.environ["PYUNWIND_BUILD"]
API = os.path.join(SOURCE, "tests", "python_api", "api.c")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
NEEDED = ["gcc", "g++"]
COMPILERS = {  # what it is called, how it takes api.c
    "gcc": ["-x", "c", "-std=c11"],
    "g++": ["-x", "c++", "-std=c++11"],
    "clang-14": ["-x", "c", "-std=c11"],
    "clang++-14": ["-x", "c++", "-std=c++11"],
}
STANDARDS = {  # beside the oldest that the header asks for
    "gcc": ["gnu17", "gnu2x"],
    "g++": ["c++17", "c++20"],
}

PYUNW_ERR_NO_PYTHON = -3
EXPECTED = "256 256 516 256 260 501 501 %d -1 -1 1 1 Stack (most recent call first):\n  File ???, line ??? in ???\n"


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, "%s\n%s" % (" ".join(command), output)
    return output


def compile_api(compiler, words, python=None, where=None):
    """Compile and link a program; return its path. Of the headers only pyunwind's own are held to the warnings."""
    program = os.path.abspath("api")
    flags = ["-I", os.path.join(SOURCE, "include")]
    if python is not None:
        flags.append("-DPYTHON_" + where)
        for folder in python["include"]:
            flags += ["-isystem", folder]
    link = ["-x", "none", "-L" + BUILD, "-lpyunwind", "-Wl,-rpath," + BUILD]
    run([compiler] + words + WARNINGS + flags + [API, "-o", program] + link)
    return program


def needed_libraries(program):
    return set(re.findall(r"\(NEEDED\).*\[(\S+?)\]", run(["readelf", "-dW", program])))


def main():
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    headers = [python for python in pythons if any(map(has_header, python["include"]))]
    assert headers, "no interpreter has a Python.h"
    compilers = [name for name in COMPILERS if shutil.which(name)]
    assert set(NEEDED) <= set(compilers), compilers
    count = 0
    for compiler in compilers:
        words = COMPILERS[compiler]
        variants = [words] + [words[:-1] + ["-std=" + standard] for standard in STANDARDS.get(compiler, [])]
        for variant in variants:
            program = compile_api(compiler, variant)
            libraries = needed_libraries(program) - {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"}
            assert libraries == {"libpyunwind.so.0"}, libraries
            output = run([program])
            assert output == EXPECTED % PYUNW_ERR_NO_PYTHON, output
            count += 1
        for python in headers if compiler in NEEDED else []:
            for where in ("BEFORE", "AFTER"):
                output = run([compile_api(compiler, newest(words), python, where)])
                assert output == EXPECTED % PYUNW_ERR_NO_PYTHON, output
                count += 1
    labels = ", ".join(python["label"] for python in headers)
    print("%d programs compiled with %s and Python.h of %s, and run" % (count, ", ".join(compilers), labels))
    return 0


def has_header(folder):
    return os.path.exists(os.path.join(folder, "Python.h"))


def newest(words):
    """Python's own headers ask for GNU C, and newer ones for a newer C++."""
    return words[:-1] + [{"c": "-std=gnu11", "c++": "-std=gnu++17"}[words[1]]]


if __name__ == "__main__":
    sys.exit(main())
