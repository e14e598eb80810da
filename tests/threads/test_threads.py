# interpreters: host
# weight: heavy
"""The library's own state, where threads call at once what the headers allow them to: ThreadSanitizer finds no race.

The library is built once more, with ThreadSanitizer, and loaded by each interpreter, which is not built with it: what
the sanitizer watches are the library's loads and stores, of its own state and of the interpreter's memory. No file and
no function of the library is exempt. There are no signals: the sanitizer would put them off.
"""

import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE, BUILD = os.environ["PYUNWIND_SOURCE"], os.environ["PYUNWIND_BUILD"]
FOLDER = os.path.join(BUILD, "threads")
LIBRARY = os.path.join(FOLDER, "libpyunwind.so")
CALLS = os.path.join(FOLDER, "libcalls.so")

OPTIONS = {
    "exitcode": 0,  # of a process with reports, which are read
    "handle_segv": 0,  # handlers are the library's matter
    "handle_sigbus": 0,
    "handle_abort": 0,
    "allow_user_segv_handler": 1,
    "report_signal_unsafe": 0,
}
# Without randomized addresses: up to gcc 13 the runtime knows few places where the kernel may put things.
PLAIN = ["setarch", "-R"]


def run(*command, **environment):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
    inherited.update(environment)
    return subprocess.run(command, env=inherited, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def build():
    commands = [
        ["ninja", "-C", FOLDER, "libpyunwind.so.0"],
        ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread", "-D_GNU_SOURCE",
         "-fsanitize=thread", "-I" + os.path.join(SOURCE, "include"), os.path.join(HERE, "calls.c"), "-o", CALLS,
         LIBRARY, "-Wl,-rpath," + FOLDER],
    ]
    if not os.path.exists(os.path.join(FOLDER, "build.ninja")):
        commands.insert(0, ["meson", "setup", "-Db_sanitize=thread", "-Db_lundef=false", "-Dtests=false",
                            "-Dremote=false", "-Doptimization=1", FOLDER, SOURCE])
    for command in commands:
        done = run(*command, CC="gcc")
        assert done.returncode == 0, "%s\n%s" % (" ".join(command), done.stdout.decode(errors="replace"))


def runtime():
    printed = subprocess.check_output(["gcc", "-print-file-name=libtsan.so"]).decode().strip()
    return os.path.realpath(printed)


def split_reports(text):
    return [part for part in re.split(r"^={18}$", text, flags=re.M) if "WARNING: ThreadSanitizer" in part]


def is_ours(report):
    """A race between two places of the interpreter or of libc, none of them in the library, is not the library's."""
    accesses = re.findall(r"^  (?:Previous )?(?:atomic )?(?:write|read|Write|Read|Atomic)[^\n]*\n((?:    #[^\n]*\n)+)", report,
                          flags=re.M)
    return not accesses or any("libpyunwind.so" in stack or "libcalls.so" in stack for stack in accesses)


def check(python):
    folder = os.path.abspath("reports-%s" % python["label"])
    os.mkdir(folder)
    options = ":".join("%s=%s" % option for option in OPTIONS.items())
    done = run(*PLAIN, python["executable"], "-S", os.path.join(HERE, "program.py"), CALLS, TSAN_OPTIONS=options,
               LD_PRELOAD=runtime(), PYUNWIND_REPORT_DIR=folder,
               PYUNWIND_HELPER=os.path.join(BUILD, "pyunwind"))
    output = done.stdout.decode(errors="replace")
    reports = split_reports(output)
    ours = [report for report in reports if is_ours(report)]
    for report in ours:
        print(report)
    assert done.returncode == 0 and not ours, "%s: %d races; exit status %d\n%s" % (
        python["label"], len(ours), done.returncode, "" if ours else output[-4000:])
    return int(output.strip().splitlines()[-1] if not reports else re.findall(r"^(\d+)$", output, flags=re.M)[-1])


def main():
    build()
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    calls = [check(python) for python in pythons]
    print("0 races in %d interpreters; %d calls" % (len(calls), sum(calls)))


if __name__ == "__main__":
    sys.exit(main())
