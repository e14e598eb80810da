# interpreters: host
"""
tests/support/pyunw.py against include/pyunwind.h, and crash.py against pyunwind_crash.h, as the C compiler sees them:
every constant, every structure's size and every member's offset and size; that each declared function has a prototype
there with that many parameters; and that the library exports it.
"""

import ctypes
import os
import re
import subprocess
import sys

SUPPORT = os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support")
sys.path.insert(0, SUPPORT)

import crash
import pyunw
from compile import compile_program

INCLUDE = os.path.join(os.environ["PYUNWIND_SOURCE"], "include")


def header_code(header):
    with open(os.path.join(INCLUDE, header), encoding="utf-8") as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)


def constants_of(code):
    enumerators = re.findall(r"^\s+(PYUNW_\w+) = -?\d+,", code, flags=re.M)
    return enumerators + re.findall(r"^#define (PYUNW_\w+) \d+$", code, flags=re.M)


def structures_of(code):
    """{name: members} of every typedef struct."""
    found = {}
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", code, flags=re.S):
        found[name] = re.findall(r"(\w+)(?:\[\w+\])?;", body)
    return found


def functions_of(code):
    """{name: number of parameters} of everything declared with PYUNW_API."""
    found = {}
    for name, parameters in re.findall(r"^PYUNW_API [^;]*?(\w+)\(([^;]*)\);", code, flags=re.M | re.S):
        found[name] = 0 if parameters == "void" else parameters.count(",") + 1
    return found


def numbers_of_compiler(header, constants, structures):
    lines = ["#include <stdio.h>", "#include <%s>" % header, "int main(void)", "{"]
    for name in constants:
        lines.append('    printf("%s %%d\\n", (int)%s);' % (name, name))
    for name, members in structures.items():
        lines.append('    printf("%s %%d\\n", (int)sizeof(%s));' % (name, name))
        for member in members:
            lines.append(
                '    printf("%s.%s %%d %%d\\n", (int)offsetof(%s, %s), (int)sizeof(((%s *)0)->%s));'
                % (name, member, name, member, name, member)
            )
    lines += ["    return 0;", "}", ""]
    output = subprocess.check_output([compile_program("header_numbers", "\n".join(lines), pyunwind=True)])
    return [line.split() for line in output.decode().splitlines()]


def number_of_binding(binding, name):
    if "." in name:
        structure, member = name.split(".")
        field = getattr(getattr(binding, structure), member)
        return [field.offset, field.size]
    value = getattr(binding, name)
    return [value if isinstance(value, int) else ctypes.sizeof(value)]


def compare(header, binding):
    """(what is wrong, numbers compared, functions compared)"""
    code = header_code(header)
    constants, structures, functions = constants_of(code), structures_of(code), functions_of(code)
    wrong = []
    compared = numbers_of_compiler(header, constants, structures)
    for name, *numbers in compared:
        if number_of_binding(binding, name) != [int(number) for number in numbers]:
            wrong.append("%s: header %s, binding %s" % (name, numbers, number_of_binding(binding, name)))
    for name, members in structures.items():
        bound = [field[0] for field in getattr(binding, name)._fields_]
        if bound != members:
            wrong.append("%s: header has the members %s, binding %s" % (name, members, bound))
    for name, count in functions.items():
        if name not in binding.PROTOTYPES or len(binding.PROTOTYPES[name][1]) != count:
            wrong.append("%s: not bound with its %d parameters" % (name, count))
        elif not hasattr(pyunw.lib.dll, name):
            wrong.append("%s: declared, but not exported" % name)
    wrong += ["%s: bound, but not declared" % name for name in sorted(set(binding.PROTOTYPES) - set(functions))]
    wrong += [
        "%s: bound, but not in the header" % name
        for name in sorted(vars(binding))
        if name.startswith("PYUNW_") and name not in constants
    ]
    return wrong, len(compared), len(functions)


def main():
    wrong, numbers, functions = compare("pyunwind.h", pyunw)
    assert numbers > 100 and functions > 20, "the header was not understood"
    wrong_of_crash, numbers_of_crash, functions_of_crash = compare("pyunwind_crash.h", crash)
    assert numbers_of_crash > 15 and functions_of_crash >= 5, "the header of the crash tracker was not understood"
    wrong += wrong_of_crash
    print("\n".join(wrong))
    print(
        "%d numbers and %d functions of the headers compared, %d wrong"
        % (numbers + numbers_of_crash, functions + functions_of_crash, len(wrong))
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
