# interpreters: host
"""
The checked-in rows of layout_tables.h against the headers of every interpreter found, by tools/layouts --check; that
this check sees a wrong number; and that what a reader takes of a frame or code object at once holds all its fields.
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["PYUNWIND_SOURCE"])
# What lies behind the part that is read at once.
BEHIND = ["frame.size", "frame.localsplus", "code.size", "code.bytecode"]


def load_tool():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("layouts", str(SOURCE / "tools" / "layouts"))
    tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("layouts", loader))
    loader.exec_module(tool)
    return tool


def check_with(tool, text):
    """Run its check on another text of the tables: (exit status, output)."""
    with tempfile.TemporaryDirectory() as folder:
        tool.TABLES = pathlib.Path(folder) / "layout_tables.h"
        tool.TABLES.write_text(text)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = tool.check()
    return status, output.getvalue()


def check_sees_wrong_numbers(tool):
    """One number of each row falsified, a different field each time: the check names row and field."""
    text = tool.TABLES.read_text()
    rows, failures = tool.header_rows()
    tool.header_rows = lambda: (rows, failures)
    seen = 0
    for number, flavour in enumerate(sorted({row.flavour for row in rows})):
        begin = text.index("/* %s:" % tool.flavour_name(flavour))
        fields = [field for field in re.finditer(r"\.(\w+) = (\d+)[, ]", text[begin:text.index("\n    },", begin)])
                  if field.group(1) not in ("minor", "free_threaded", "size")]
        field = fields[number * 7 % len(fields)]
        start, end = begin + field.start(2), begin + field.end(2)
        status, output = check_with(tool, text[:start] + "%d" % (int(field.group(2)) + 8) + text[end:])
        named = re.search(r"^%s .*\.%s is %s, in the file %d$" % (
            re.escape(tool.flavour_name(flavour)), field.group(1), field.group(2), int(field.group(2)) + 8),
            output, flags=re.M)
        assert status == 1 and named, "a wrong .%s of %s passed:\n%s" % (field.group(1), flavour, output)
        seen += 1
    status, output = check_with(tool, text.replace(".minor = 8", ".minor =  8"))
    assert status == 1 and "not as tools/layouts writes it" in output, output
    return seen


def check_reading_sizes(tool):
    """Every field that a reader takes from a frame or code object lies within the bytes that it reads."""
    compared = 0
    for flavour, row in tool.parse_tables().items():
        for name, offset in row.fields.items():
            group = name.split(".")[0]
            if group in ("frame", "code") and name not in BEHIND:
                assert offset < row.fields[group + ".size"], "%s of %s" % (name, tool.flavour_name(flavour))
                compared += 1
    return compared


def main():
    done = subprocess.run([sys.executable, str(SOURCE / "tools" / "layouts"), "--check"], stdout=subprocess.PIPE,
                          universal_newlines=True)
    print(done.stdout, end="")
    if done.returncode == 2:
        print("skipped: no interpreter has its headers here")
        return 77
    if done.returncode != 0:
        return 1
    tool = load_tool()
    within = check_reading_sizes(tool)
    falsified = check_sees_wrong_numbers(tool)
    print("rows equal to the headers; %d falsified rows found out; %d fields within the bytes read at once; %s"
          % (falsified, within, done.stdout.splitlines()[-1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
