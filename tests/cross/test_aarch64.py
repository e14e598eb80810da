# interpreters: host
"""pyunwind compiles for aarch64 without a warning, and core asks for nothing but memcpy, memset and memcmp there too.

The oracle of the second part is the cross compiler's nm: gcc for aarch64 would make atomics calls into libgcc.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ["PYUNWIND_SOURCE"])
FOLDER = Path(os.environ["PYUNWIND_BUILD"]) / "aarch64"
ALLOWED = {"memcpy", "memset", "memcmp"}


def run(*command):
    process = subprocess.run(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if process.returncode != 0:
        sys.stdout.buffer.write(process.stdout)
        sys.exit("%s failed" % command[0])
    return process.stdout.decode()


def build():
    if not (FOLDER / "build.ninja").exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        cross_file = SOURCE / "tools" / "cross" / "aarch64-linux-gnu.ini"
        options = ["-Dwerror=true", "-Dtests=false", "-Dremote=false"]
        run("meson", "setup", *options, "--cross-file", cross_file, FOLDER, SOURCE)
    run("ninja", "-C", FOLDER)


def check_remote():
    """No libelf for aarch64 is at hand to link with; its headers are the same, so that the compiler can judge."""
    folders = [SOURCE / "src" / name for name in ("target", "native", "cli", "monitor")]
    sources = sorted(source for folder in folders for source in folder.glob("*.c"))
    flags = ["-std=gnu11", "-D_GNU_SOURCE", '-DPYUNWIND_VERSION="0"', "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    includes = ["-I", SOURCE / "include", "-I", SOURCE / "src" / "core", "-I", SOURCE / "src" / "target",
                "-I", SOURCE / "src" / "cli", "-I", SOURCE / "src" / "monitor", "-idirafter", "/usr/include"]
    for source in sources:
        run("aarch64-linux-gnu-gcc", "-fsyntax-only", *flags, *includes, source)
    return len(sources)


def foreign_symbols(archive):
    """What the objects of an archive ask for and none of them has."""
    asked, given = set(), set()
    for line in run("aarch64-linux-gnu-nm", "--format=posix", archive).splitlines():
        words = line.split()
        if len(words) >= 2:
            (asked if words[1] == "U" else given).add(words[0])
    return asked - given, len(given)


def main():
    build()
    remote = check_remote()
    asked, given = foreign_symbols(FOLDER / "src" / "core" / "libcore.a")
    # The linker itself makes the global offset table and the bounds of a section, __start_NAME and __stop_NAME.
    asked = {name for name in asked if name != "_GLOBAL_OFFSET_TABLE_" and not name.startswith(("__start_", "__stop_"))}
    if asked - ALLOWED:
        sys.exit("core asks for %s on aarch64" % ", ".join(sorted(asked - ALLOWED)))
    if not given:
        sys.exit("core has no symbol at all: nothing was compiled")
    print("no warning, nor in %d files of the remote library and the command; core: %d symbols of its own, and of "
          "others only %s" % (remote, given, ", ".join(sorted(asked))))


main()
