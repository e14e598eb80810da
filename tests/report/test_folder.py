# interpreters: host
"""
A folder of reports: --list tells of all of them by fingerprint, and --prune removes those it is to remove, and nothing
else, whatever else lies there. The oracle is what the test has put into the folder.
"""

import json
import os
import sys
import time

from reports import PARTIAL, REPORTS, check, encode, finish, report, run_text, thread, write

DAY = 24 * 60 * 60
NOW = int(time.time())


def name(seconds, pid=4711, number=1, ending=".json"):
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    return "pyunwind-%s-%d%s%s" % (stamp, pid, "-%d" % number if number > 1 else "", ending)


def rfc3339(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Folder:
    made = 0

    def __init__(self):
        Folder.made += 1
        self.path = os.path.join(os.getcwd(), "folder-%d" % Folder.made)
        os.mkdir(self.path, 0o700)

    def put(self, file, data=None, age=DAY):
        path = write(os.path.join(self.path, file), data or REPORTS["whole"])
        os.utime(path, (NOW - age, NOW - age))
        return file

    def files(self):
        return sorted(os.listdir(self.path))


# ---- List -----------------------------------------------------------------------------------------------------------


def crash(fingerprint, sentence="It crashed.", **more):
    diagnosis = {"cause": "null_read", "sentence": sentence, "evidence": []}
    return report(fingerprint=fingerprint, diagnosis=diagnosis, **more)


def check_list():
    folder = Folder()
    times = [NOW - DAY * number for number in range(1, 8)]  # newest first
    prints = ["a" * 16, "b" * 16, "a" * 16, None, "b" * 16, "a" * 16, None]
    files = [folder.put(name(when), crash(fingerprint, "Crash %d." % number))
             for number, (when, fingerprint) in enumerate(zip(times, prints))]
    partials = [folder.put(name(times[3], 5, ending=".partial"), PARTIAL),
                folder.put(name(times[5], 5, 2, ".partial"), PARTIAL)]
    folder.put("." + name(times[0]) + ".tmp", b"half")
    folder.put("notes.json", b"not ours")
    status, output, errors = run_text("--list", "--json", folder.path)
    check((status, errors) == (0, ""), status, errors)
    document = json.loads(output)
    check((document["schema"], document["folder"], document["unreadable"]) == ("pyunwind.crashes/1", folder.path, []),
          output)
    found = [(entry["fingerprint"], entry["count"], entry["unfinished"], entry["first_seen"], entry["last_seen"],
              entry["reports"], entry["sentence"]) for entry in document["crashes"]]

    def expected(fingerprint, indexes):
        return (fingerprint, len(indexes), 0, rfc3339(times[indexes[-1]]), rfc3339(times[indexes[0]]),
                [files[index] for index in indexes], "Crash %d." % indexes[0])

    wanted = [expected("a" * 16, [0, 2, 5]), expected("b" * 16, [1, 4]), expected(None, [3, 6])]
    check([entry for entry in found if entry[2] == 0] == wanted, found, "not", wanted)
    unfinished = [entry for entry in found if entry[2]]
    check(len(unfinished) == 1 and unfinished[0][1:3] == (2, 2) and unfinished[0][5] == partials, unfinished)
    first = document["crashes"][0]
    check(first["cause"] == "null_read" and first["frame"]["function"] == "parse_row", first)
    check(first["python_frame"]["name"] == "parse", first)
    check_list_text(folder, times)


def check_list_text(folder, times):
    status, output, errors = run_text("--list", folder.path)
    check((status, errors) == (0, ""), status, errors)
    paragraphs = output.split("\n\n")
    check(paragraphs[0] == "%s: 9 reports of 4 crashes" % folder.path, paragraphs[0])
    check(paragraphs[1] == "\n".join((
        "%s: 3 times, %s to %s" % ("a" * 16, rfc3339(times[5]), rfc3339(times[0])), "    Crash 0.",
        "    parse_row (fast.so+0x1545)", "    Parser.parse (/srv/app/parser.py:31)", "    " + name(times[0]))),
          paragraphs[1])
    check(any(", 2 unfinished\n" in paragraph for paragraph in paragraphs), output)


def check_damaged_list():
    """What cannot be read is said, and the others are told."""
    folder = Folder()
    folder.put(name(NOW - 1000), crash("c" * 16))
    broken = folder.put(name(NOW - 2000), encode(report())[:-10])
    empty = folder.put(name(NOW - 3000, ending=".partial"), b"\n")
    os.symlink("/etc/passwd", os.path.join(folder.path, name(NOW - 4000)))
    os.mkdir(os.path.join(folder.path, name(NOW - 5000)))
    status, output, errors = run_text("--list", "--json", folder.path)
    document = json.loads(output)
    check(status == 1 and len(document["crashes"]) == 1, status, document)
    reasons = {entry["file"]: entry["reason"] for entry in document["unreadable"]}
    check(set(reasons) == {broken, empty, name(NOW - 4000), name(NOW - 5000)}, reasons)
    check("cut: " in reasons[broken] and "no record" in reasons[empty], reasons)
    check(all(file in errors for file in reasons), errors)
    check(run_text("--list", folder.path)[0] == 1, "as text")


def check_default_folder():
    """PYUNWIND_REPORT_DIR, else below XDG_STATE_HOME where that is absolute, else below HOME."""
    folder = Folder()
    home = os.path.join(os.getcwd(), "home")
    state = os.path.join(home, ".local", "state")
    os.makedirs(os.path.join(state, "pyunwind"))
    os.mkdir(os.path.join(folder.path, "pyunwind"))
    write(os.path.join(state, "pyunwind", name(NOW)), crash("d" * 16))
    write(os.path.join(folder.path, "pyunwind", name(NOW)), crash("e" * 16))
    write(os.path.join(folder.path, name(NOW)), crash("f" * 16))
    for environment, letter in (({}, "d"), ({"XDG_STATE_HOME": ""}, "d"), ({"XDG_STATE_HOME": "a/b"}, "d"),
                                ({"XDG_STATE_HOME": folder.path}, "e"), ({"PYUNWIND_REPORT_DIR": ""}, "d"),
                                ({"XDG_STATE_HOME": folder.path, "PYUNWIND_REPORT_DIR": folder.path}, "f")):
        status, output, errors = run_text("--list", "--json", HOME=home, **environment)
        found = [entry["fingerprint"] for entry in json.loads(output)["crashes"]]
        check((status, errors, found) == (0, "", [letter * 16]), environment, status, errors, found)
    absent = os.path.join(os.getcwd(), "absent")
    check(run_text("--list", PYUNWIND_REPORT_DIR=absent) == (0, absent + ": 0 reports\n", ""), "nothing crashed yet")
    status, output, errors = run_text("--list", absent)
    check((status, output) == (1, "") and "No such file" in errors, status, output, errors)
    status, output, errors = run_text("--list", write("file", b"a"))
    check((status, output) == (1, "") and "Not a directory" in errors, status, output, errors)


# ---- Prune ----------------------------------------------------------------------------------------------------------

STRANGERS = [
    "notes.json", "pyunwind.json", "pyunwind-20261125T074049Z-4711.json.bak", "pyunwind-20261125T074049Z-4711",
    "pyunwind-20261125T074049Z-4711-1.json", "pyunwind-20261125T074049Z-04711.json", "pyunwind-20261125T074049Z-.json",
    "pyunwind-20261325T074049Z-4711.json", "pyunwind-20260231T074049Z-4711.json", "pyunwind-2026112T074049Z-4711.json",
    "pyunwind-20261125T074049Z-4711.txt", ".pyunwind-20261125T074049Z-4711.json", "pyunwind-20261125T074049-4711.json",
    "pyunwind-20261125T074049Z-4711-2-3.json", "pyunwind-20261125T074049Z-12345678901.json",
    ".pyunwind-20261125T074049Z-4711.partial.tmp", "xpyunwind-20261125T074049Z-4711.json",
    "pyunwind-20261125T246049Z-4711.json", "pyunwind-20261125T074049Z--2.json",
]


def prune(folder, *arguments):
    """The names of those that it says it has removed; that it has is checked."""
    before = folder.files()
    status, output, errors = run_text("--prune", *arguments, folder.path)
    check((status, errors) == (0, ""), arguments, status, errors)
    removed = [line.split("removed ", 1)[1] for line in output.splitlines()]
    check(folder.files() == sorted(set(before) - set(removed)), arguments, "left", folder.files(), "said", removed)
    return removed


def check_prune():
    folder = Folder()
    for stranger in STRANGERS:
        folder.put(stranger, b"keep me", age=1000 * DAY)
    files = [folder.put(name(NOW - number * DAY, 100 + number)) for number in range(10)]
    partial = folder.put(name(NOW - 20 * DAY, ending=".partial"), PARTIAL)
    fresh = folder.put(name(NOW - 21 * DAY, ending=".partial"), PARTIAL, age=0)
    half = folder.put("." + name(NOW - 3 * DAY) + ".tmp", b"half")
    writing = folder.put("." + name(NOW) + ".tmp", b"half", age=0)
    os.mkdir(os.path.join(folder.path, name(NOW - 30 * DAY)))
    os.symlink(files[0], os.path.join(folder.path, name(NOW - 31 * DAY)))
    os.mkfifo(os.path.join(folder.path, name(NOW - 32 * DAY)))
    check(sorted(prune(folder, "--keep", "100")) == [half], "what was left half written")
    check(prune(folder, "--keep", "100", "--older-than", "10.5") == [partial], "--older-than")
    check(prune(folder, "--older-than", "8.5") == files[9:], "--older-than")
    check(prune(folder, "--keep", "7") == files[7:9], "--keep")
    check(prune(folder, "--keep", "7", "--older-than", "4.5") == files[5:7], "both")
    check(prune(folder, "--keep", "0") == files[:5], "--keep 0")
    left = {fresh, writing, *STRANGERS, *(name(NOW - number * DAY) for number in (30, 31, 32))}
    check(set(folder.files()) == left, set(folder.files()) ^ left)


def check_order():
    """Of one second the larger pid, and of one process the larger number, is the newer."""
    folder = Folder()
    files = [folder.put(name(NOW - DAY, *key)) for key in ((12, 1), (9, 10), (9, 2), (9, 1))]
    check(prune(folder, "--keep", "2") == files[2:], "order")


def check_refused():
    """What cannot be removed is said; another's file is left. Root may remove all, and is not refused."""
    folder = Folder()
    kept = folder.put(name(NOW - DAY))
    if os.geteuid() == 0:
        os.chown(os.path.join(folder.path, kept), 12345, 12345)
        check(prune(folder, "--keep", "0") == [], "another user's")
        return
    os.chmod(folder.path, 0o500)
    status, output, errors = run_text("--prune", "--keep", "0", folder.path)
    os.chmod(folder.path, 0o700)
    check((status, output) == (1, "") and kept in errors and folder.files() == [kept], status, output, errors)


def main():
    check_list()
    check_damaged_list()
    check_default_folder()
    check_prune()
    check_order()
    check_refused()
    return finish("lists tell of all reports by fingerprint; --prune leaves %d strangers" % len(STRANGERS))


if __name__ == "__main__":
    sys.exit(main())
