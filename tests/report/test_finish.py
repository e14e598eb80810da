# interpreters: host
"""
report_finish(), by which an unfinished report of a folder becomes a finished one: what is in the folder afterwards is
what `pyunwind report --json` says of the file before; nothing that was there is overwritten; where it fails, the folder
is as it was, and errno says why.
"""

import errno
import json
import os
import resource
import subprocess
import sys

from reports import BUILD, PARTIAL, PARTIALS, check, fault_record, finish, lines, run, write

BASE = "pyunwind-20261125T074049Z-4711"
PROGRAM = os.path.join(BUILD, "tests", "report_finish")
made = 0


def new_folder(files=None):
    """A folder of these, by what their names end with."""
    global made
    made += 1
    path = os.path.join(os.getcwd(), "folder-%d" % made)
    os.mkdir(path)
    for ending, data in (files or {}).items():
        write(os.path.join(path, BASE + ending), data)
    return path


def contents(folder):
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read()
    return found


def call(folder, name=BASE + ".partial", **options):
    """None, or the name of the error."""
    done = subprocess.run([PROGRAM, folder, name], stdout=subprocess.PIPE, check=True, **options)
    finished, error = done.stdout.decode().rstrip("\n").split(" ")
    return None if finished == "1" else error


def check_each():
    for name, data in PARTIALS.items():
        folder = new_folder({".partial": data})
        expected = json.loads(run("--json", os.path.join(folder, BASE + ".partial"))[1].decode())
        # What no record tells, the name does.
        expected["time"] = expected["time"] or "2026-11-25T07:40:49Z"
        expected["pid"] = expected["pid"] or 4711
        check(call(folder) is None, name)
        after = contents(folder)
        check(list(after) == [BASE + ".json"], name, list(after))
        check(json.loads(after[BASE + ".json"].decode()) == expected, name)
        check(os.stat(os.path.join(folder, BASE + ".json")).st_mode & 0o777 == 0o600, name, "its mode")


def check_names():
    """A name that is taken is left; what was begun is thrown away; a stranger's link is not written through."""
    folder = new_folder({".partial": PARTIAL, ".json": b"1"})
    check(call(folder) is None, "a taken name")
    check(set(contents(folder)) == {BASE + ".json", BASE + "-2.json"}, contents(folder))
    check(contents(folder)[BASE + ".json"] == b"1", "it was overwritten")
    write(os.path.join(folder, BASE + "-2.partial"), PARTIAL)
    check(call(folder, BASE + "-2.partial") is None, "the second of a name")
    check(set(contents(folder)) == {BASE + ending + ".json" for ending in ("", "-2", "-3")}, contents(folder))
    folder = new_folder({".partial": PARTIAL})
    write(os.path.join(folder, "." + BASE + ".json.tmp"), b"half")
    check(call(folder) is None and list(contents(folder)) == [BASE + ".json"], "left over", list(contents(folder)))
    folder = new_folder({".partial": PARTIAL})
    victim = write(os.path.join(os.getcwd(), "victim"), b"precious")
    os.symlink(victim, os.path.join(folder, BASE + ".json"))
    check(call(folder) is None, "a link")
    with open(victim, "rb") as file:
        check(file.read() == b"precious", "it was written through a link")
    folder = new_folder()
    os.symlink(write(os.path.join(os.getcwd(), "elsewhere"), PARTIAL), os.path.join(folder, BASE + ".partial"))
    check(call(folder) == "ELOOP", "a link for a report")


def check_errors():
    def unchanged(what, error, folder, name=BASE + ".partial", **options):
        before = contents(folder)
        got = call(folder, name, **options)
        check(got == error, what, got, "not", error)
        check(contents(folder) == before, what, "left", list(contents(folder)))

    unchanged("nothing saved", "ENODATA", new_folder({".partial": b""}))
    unchanged("nothing legible", "ENODATA", new_folder({".partial": b"\x00" * 1000}))
    unchanged("absent", "ENOENT", new_folder())
    folder = new_folder({".partial": PARTIAL, ".json": b"1"})
    for name in ("", "a.partial", BASE + ".json", "." + BASE + ".json.tmp", "../" + BASE + ".partial", BASE):
        unchanged(name, "EINVAL", folder, name)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    # SIGXFSZ, which Python lets be ignored, is inherited so: the program meets a full disk as EFBIG.
    unchanged("no room", errno.errorcode[errno.EFBIG], new_folder({".partial": PARTIAL}), preexec_fn=limit,
              restore_signals=False)
    huge = lines(fault_record()) + b"\n" * ((64 << 20) + 1)
    unchanged("too large", "EFBIG", new_folder({".partial": huge}))


def main():
    check_each()
    check_names()
    check_errors()
    return finish("%d unfinished reports are finished as they are shown; names and errors are as documented" % len(PARTIALS))


if __name__ == "__main__":
    sys.exit(main())
