"""Programs that pretend to be a Python that is not read, for the tests of what is said of them and of their cores."""

import os

STANDS_STILL = r"""
#include <unistd.h>
int main(void)
{
    char byte;
    return write(1, "\n", 1) != 1 || read(0, &byte, 1) != 1;
}
"""

FAKES = (  # what it pretends to be, flags of tests/errors/fake_runtime.c, what is said of it
    ("CPython 2.7", ['-DFAKE_VERSION="2.7.18"'], r"CPython 2\.7\.18, which is not supported: 3\.8 to 3\.15"),
    ("CPython 3.6", ['-DFAKE_VERSION="3.6.15"'], r"CPython 3\.6\.15, which is not supported"),
    ("CPython 3.7", ['-DFAKE_VERSION="3.7.17"', "-DFAKE_RUNTIME"], r"CPython 3\.7\.17, which is not supported"),
    ("an unknown CPython", ['-DFAKE_VERSION="x"', "-DFAKE_RUNTIME"], "version that could not be found out"),
    ("CPython 3.99", ["-DFAKE_COOKIE=0x036300f0", "-DFAKE_FLAG=0", "-DFAKE_OFFSETS=0"], r"CPython 3\.99\.0"),
    ("CPython 3.99, hidden", ["-DFAKE_COOKIE=0x036300f0", "-DFAKE_FLAG=0", "-DFAKE_OFFSETS=0", "-DFAKE_HIDDEN",
                              "-s"], r"CPython 3\.99\.0"),
)


def fake_source():
    with open(os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "errors", "fake_runtime.c"), encoding="utf-8") as file:
        return file.read()
