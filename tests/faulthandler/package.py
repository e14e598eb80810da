"""
A Python of its own for a test: a virtual environment of the interpreter that runs the test, in which the package
pyunwind is found, with the .pth file that it is installed with. So also a program that ignores PYTHON* has it.
"""

import os
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
PACKAGES = os.path.join(SOURCE, "python")


def make_environment(folder):
    """The path of its interpreter."""
    version = "python%d.%d" % sys.version_info[:2]
    if hasattr(sys, "abiflags"):
        version += "".join(flag for flag in sys.abiflags if flag == "t")
    bin_folder = os.path.join(folder, "bin")
    site_packages = os.path.join(folder, "lib", version, "site-packages")
    os.makedirs(bin_folder)
    os.makedirs(site_packages)
    executable = os.path.realpath(sys.executable)
    link = os.path.join(bin_folder, os.path.basename(executable))
    os.symlink(executable, link)
    with open(os.path.join(folder, "pyvenv.cfg"), "w") as file:
        file.write("home = %s\ninclude-system-site-packages = false\n" % os.path.dirname(executable))
    with open(os.path.join(PACKAGES, "pyunwind.pth")) as file:
        installed = file.read()
    with open(os.path.join(site_packages, "pyunwind.pth"), "w") as file:
        file.write(PACKAGES + "\n" + installed)
    return link


def environment(**variables):
    """The environment for a program: that of the test, the library of the build, and what is given."""
    library = os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind.so")
    return dict(os.environ, PYUNWIND_LIBRARY=library, PYTHONDONTWRITEBYTECODE="1", **variables)
