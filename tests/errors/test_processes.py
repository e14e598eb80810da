# interpreters: host
"""
Opening where there is no interpreter, or one that pyunwind does not know: the named error, and a message that names
the version or what does not fit. In programs without Python, under CPython 2.7, 3.6 and 3.7 where they are installed,
and in programs that hold a pretended interpreter, their own (preloaded) or one that they load: a version too old, one
too new, offsets that are nonsense.
"""

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import BUILD, compile_program, compile_shared, preloading

NO_PYTHON = "-3: no CPython interpreter is loaded in this process"
SUPPORTED = "3.8 to 3.15 are"

# Any Python runs this: ctypes alone, no library of ours.
SCRIPT = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("memory", ctypes.c_int), ("guard", ctypes.c_int),
                ("runtime", ctypes.c_uint64), ("message", ctypes.c_void_p), ("message_size", ctypes.c_size_t)]
message = ctypes.create_string_buffer(256)
options = Options(size=ctypes.sizeof(Options), message=ctypes.addressof(message), message_size=256)
target = (ctypes.c_uint64 * 128)()
code = library.pyunw_open_self(ctypes.byref(target), ctypes.byref(options))
print("%d: %s" % (code, message.value.decode()))
print("%d.%d.%d" % sys.version_info[:3])
"""


def run(command, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
    environment.update(more)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment)
    text = done.stdout.decode(errors="replace").strip()
    return text if done.returncode == 0 else "exit status %d: %s" % (done.returncode, text)


class Checker:
    def __init__(self):
        self.passed, self.failed = [], []

    def check(self, what, found, pattern):
        good = re.fullmatch(pattern, found)
        (self.passed if good else self.failed).append(what)
        if not good:
            print("%s: %s\n  expected: %s" % (what, found, pattern))


def unsupported(version):
    return re.escape("-4: CPython %s is not supported: %s" % (version, SUPPORTED))


def find_old_pythons():
    """Interpreters of before 3.8, by PATH and pyenv; {path}"""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    roots = [os.environ.get("PYENV_ROOT"), os.path.expanduser("~/.pyenv")]
    for root in filter(None, roots):
        folders += glob.glob(os.path.join(root, "versions", "*", "bin"))
    found = {}
    for folder in folders:
        if os.path.basename(folder) == "shims":
            continue
        for name in ("python2.7", "python3.5", "python3.6", "python3.7"):
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


# What a program pretends to be: flags, and what is to be said of it.
PRETENDERS = {
    "3.7.2 with a _PyRuntime": (["-DFAKE_VERSION=\"3.7.2 (default)\"", "-DFAKE_RUNTIME"], unsupported("3.7.2")),
    "3.6.15 without": (["-DFAKE_VERSION=\"3.6.15 (default)\""], unsupported("3.6.15")),
    "2.7.18": (["-DFAKE_VERSION=\"2.7.18+ (default)\""], unsupported("2.7.18")),
    "4.0.0": (["-DFAKE_VERSION=\"4.0.0a1+ (main)\"", "-DFAKE_COOKIE=0x040000a1"], unsupported("4.0.0")),
    "3.16.0a0": (["-DFAKE_COOKIE=0x031000a0", "-DFAKE_OFFSETS=8"], unsupported("3.16.0")),
    "3.16.0a0 with a name": (["-DFAKE_VERSION=\"3.16.0a0 (main)\"", "-DFAKE_COOKIE=0x031000a0"],
                             unsupported("3.16.0")),
    "3.16.0a0, free-threaded": (["-DFAKE_COOKIE=0x031000a0", "-DFAKE_FLAG=1"], unsupported("3.16.0")),
    "3.16.0a0, not exported": (["-DFAKE_COOKIE=0x031000a0", "-DFAKE_HIDDEN"], unsupported("3.16.0")),
    "3.14.0 with zeroes for offsets": (["-DFAKE_COOKIE=0x030e00f0"], "-5: .*runtime_state.*3\\.14.*"),
    "3.14.0 with nonsense for offsets": (["-DFAKE_COOKIE=0x030e00f0", "-DFAKE_OFFSETS=0x123456789abcdef"],
                                         "-5: .*runtime_state.*3\\.14.*"),
    "3.13.0 with one number for all offsets": (["-DFAKE_COOKIE=0x030d00f0", "-DFAKE_OFFSETS=64"], "-5: .*3\\.13.*"),
    "3.15.0, free-threaded, with zeroes": (["-DFAKE_COOKIE=0x030f00f0", "-DFAKE_FLAG=1"], "-5: .*3\\.15.*"),
    "3.14.0 with an unknown build flag": (["-DFAKE_COOKIE=0x030e00f0", "-DFAKE_FLAG=2"], "-5: .+"),
    "3.12 with the cookie of later ones": (["-DFAKE_COOKIE=0x030c01f0"], "-4: .*3\\.12\\.1.*"),
    "a _PyRuntime of zeroes and no version": (["-DFAKE_RUNTIME"], "-5: .+"),
    "3.13.0 without its cookie": (["-DFAKE_VERSION=\"3.13.0 (main)\"", "-DFAKE_RUNTIME"], "-5: .+3\\.13.*"),
    "a version that is no number": (["-DFAKE_VERSION=\"next\"", "-DFAKE_RUNTIME"], "-[45]: .+"),
}


def main():
    checker = Checker()
    program = compile_program("open_and_say", "open_and_say.c", flags=["-ldl"], pyunwind=True)
    checker.check("no Python", run([program]), re.escape(NO_PYTHON))
    for name, (flags, pattern) in PRETENDERS.items():
        defaults = ["-DFAKE_FLAG=0"] if not any("FAKE_FLAG" in flag for flag in flags) else []
        defaults += ["-DFAKE_OFFSETS=0"] if not any("FAKE_OFFSETS" in flag for flag in flags) else []
        library = compile_shared("pretender", "fake_runtime.c", flags=flags + defaults + ["-O0", "-g0"])
        checker.check("a program that is " + name, run([program], LD_PRELOAD=preloading(library)), pattern)
        # Of a library that is loaded locally only what brings a _PyRuntime is looked at.
        alone = not any("COOKIE" in flag or "RUNTIME" in flag for flag in flags)
        checker.check("a library that is " + name, run([program, library]), re.escape(NO_PYTHON) if alone else pattern)
    old = find_old_pythons()
    for python in old:
        code, version = (run([python, "-c", SCRIPT, os.path.join(BUILD, "libpyunwind.so")]) + "\n?").split("\n")[:2]
        checker.check("%s under %s" % (version, os.path.basename(python)), code, unsupported(version))
    if checker.failed:
        print("failed: " + "; ".join(checker.failed))
        return 1
    print("%d processes refused as documented%s" % (len(checker.passed), "" if old else "; NO PYTHON BEFORE 3.8 HERE"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
