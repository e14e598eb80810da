# interpreters: host
"""
The package's structures and prototypes against the headers as the C compiler sees them: each structure's size, each
member's offset and size, each function's number of parameters.
"""

import ctypes
import os
import re
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
sys.path.insert(0, os.path.join(SOURCE, "python"))
os.environ["PYUNWIND_LIBRARY"] = os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind.so")

from compile import compile_program
from pyunwind import _library

STRUCTURES = {
    "pyunw_crash_options": _library.CrashOptions,
    "pyunw_faulthandler_options": _library.FaulthandlerOptions,
    "pyunw_faulthandler_modules": _library.FaulthandlerModules,
}


def headers():
    text = ""
    for name in ("pyunwind.h", "pyunwind_crash.h", "pyunwind_faulthandler.h"):
        with open(os.path.join(SOURCE, "include", name), encoding="utf-8") as file:
            text += re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return text


def numbers_of_compiler():
    lines = ["#include <pyunwind_crash.h>", "#include <pyunwind_faulthandler.h>", "#include <stdio.h>",
             "int main(void)", "{"]
    for name, structure in STRUCTURES.items():
        lines.append('    printf("%s %%d\\n", (int)sizeof(%s));' % (name, name))
        for member, _ in structure._fields_:
            lines.append('    printf("%s.%s %%d %%d\\n", (int)offsetof(%s, %s), (int)sizeof(((%s *)0)->%s));'
                         % (name, member, name, member, name, member))
    lines += ["    return 0;", "}", ""]
    output = subprocess.check_output([compile_program("package_numbers", "\n".join(lines), pyunwind=True)])
    return [line.split() for line in output.decode().splitlines()]


def main():
    text, wrong = headers(), []
    for name, *numbers in numbers_of_compiler():
        structure = STRUCTURES[name.split(".")[0]]
        own = [ctypes.sizeof(structure)]
        if "." in name:
            field = getattr(structure, name.split(".")[1])
            own = [field.offset, field.size]
        if own != [int(number) for number in numbers]:
            wrong.append("%s: header %s, package %s" % (name, numbers, own))
    for name, structure in STRUCTURES.items():
        body = re.search(r"typedef struct \{([^{}]*)\} %s;" % name, text)[1]
        members = re.findall(r"(\w+);", body)
        if members != [field[0] for field in structure._fields_]:
            wrong.append("%s: the header has the members %s" % (name, members))
    for name, (_, parameters) in _library._PROTOTYPES.items():
        declared = re.search(r"PYUNW_API [^;]*?\b%s\(([^;]*)\);" % name, text, flags=re.S)[1]
        count = 0 if declared == "void" else declared.count(",") + 1
        if count != len(parameters):
            wrong.append("%s: the header has %d parameters" % (name, count))
    print("\n".join(wrong))
    print("%d structures and %d functions of the package compared, %d wrong"
          % (len(STRUCTURES), len(_library._PROTOTYPES), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
