"""
Programs linked with the interpreter that runs this: where its libraries are, and what else a program needs. For tests.
"""

import glob
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig

from compile import compile_program

MINOR = sys.version_info[1]
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
VERSION = "3.%d%s" % (MINOR, "t" if FREE_THREADED else "")
ABI = VERSION + ("d" if hasattr(sys, "gettotalrefcount") else "")


def python_home():
    """PYTHONHOME for a program that embeds this interpreter."""
    if sys.base_exec_prefix == sys.base_prefix:
        return sys.base_prefix
    return sys.base_prefix + ":" + sys.base_exec_prefix


class Linking:
    """Where this interpreter's libraries are, and what a program needs that is linked with them."""

    def __init__(self):
        self.include = sysconfig.get_paths()["include"]
        self.shared = self.find("libpython%s.so*" % ABI)
        self.static = self.find("libpython%s-pic.a" % ABI) or self.find("libpython%s.a" % ABI)
        self.loader = read_loader(sys.executable)
        self.foreign = self.loader != read_loader(compile_program("empty", "int main(void)\n{\n    return 0;\n}\n"))

    def find(self, name):
        variable = sysconfig.get_config_var
        folders = [os.path.join(sys.base_prefix, "lib", variable("MULTIARCH") or "."),
                   os.path.join(sys.base_prefix, "lib"),
                   os.path.join(sysconfig.get_paths()["stdlib"], os.path.basename(variable("LIBPL")))]
        for folder in folders:
            found = sorted(glob.glob(os.path.join(folder, name)))
            if found:
                return found[0]
        return None

    def compile_flags(self):
        return ["-isystem", self.include, "-isystem", os.path.dirname(self.include)]

    def libc_flags(self):
        """An interpreter with a C library of its own needs that one, and its loader."""
        if not self.foreign:
            return ["-lm", "-ldl", "-lutil", "-lpthread"]
        folder = os.path.dirname(os.path.realpath(self.loader))
        return ["-nodefaultlibs", "-L" + folder, "-Wl,--dynamic-linker=" + self.loader, "-Wl,-rpath," + folder,
                "-Wl,--disable-new-dtags", "-l:libm.so.6", "-l:libc.so.6", "-l:libc_nonshared.a",
                "-l:" + os.path.basename(self.loader), "-lgcc"]

    def shared_flags(self):
        folder = os.path.dirname(self.shared)
        return ["-L" + folder, "-Wl,-rpath," + folder, "-l:" + os.path.basename(self.shared)] + self.libc_flags()

    def static_flags(self):
        """The interpreter and the libraries that its own executable is linked with."""
        like = self.shared or sys.executable
        own = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
        needed = [name for name in read_needed(like) if name not in own and not name.startswith("libpython")]
        # A compiler newer than this one's linker may have made the archive: its intermediate code is left alone, and
        # its instructions are not made shorter (linkers of 2023 take a push for a call there).
        return (["-fno-lto", "-fno-use-linker-plugin", "-Wl,--no-relax", "-Wl,--strip-debug", self.static]
                + ["-l:" + name for name in needed] + self.libc_flags())

    def missing_hashes(self):
        """Distributions leave the functions of Modules/_hacl out of the archive (3.14+). The host calls none."""
        symbols = run_tool("nm", "-A", "--quiet", self.static)
        defined = set(re.findall(r" [TWDBRV] (_Py_LibHacl_\w+)$", symbols, re.M))
        missing = set(re.findall(r" U (_Py_LibHacl_\w+)$", symbols, re.M)) - defined
        return "#include <stdlib.h>\n" + "".join("void %s(void)\n{\n    abort();\n}\n" % name
                                                for name in sorted(missing))


def run_tool(*command):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
    return subprocess.check_output(command, env=environment, stdin=subprocess.DEVNULL).decode(errors="replace")


def read_loader(path):
    return re.search(r"program interpreter: (\S+)\]", run_tool("readelf", "-lW", path)).group(1)


def read_needed(path):
    return re.findall(r"\(NEEDED\).*\[(\S+)\]", run_tool("readelf", "-dW", path))


def stripped(program, folder):
    path = os.path.join(folder, os.path.basename(program) + "-stripped")
    run_tool("strip", "-o", path, program)
    return path


def without_sections(program, folder):
    """e_shoff, e_shnum and e_shstrndx of the ELF header are 0: what sstrip(1) and packers leave."""
    path = os.path.join(folder, os.path.basename(program) + "-without-sections")
    shutil.copy(program, path)
    with open(path, "r+b") as file:
        file.seek(0x28)
        file.write(struct.pack("<Q", 0))
        file.seek(0x3c)
        file.write(struct.pack("<HH", 0, 0))
    return path
