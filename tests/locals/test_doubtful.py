# interpreters: each
"""
Values at the edge of what can be believed: real ones that are larger than most, types of extensions that bear a
builtin's name, and objects whose memory was damaged. Oracles: repr(), and what CPython never writes.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from limited import Limits

TARGET = pyunw.open_self()
UNREADABLE = ("<unreadable>", pyunw.PYUNW_VALUE_UNREADABLE)
checked = 0


def check(found, wanted):
    global checked
    assert found == wanted, "%s\nis not\n%s" % (found, wanted)
    checked += 1


def described(value, *limits):
    return pyunw.describe_value(TARGET, id(value), *limits)


# ---- Texts ----------------------------------------------------------------------------------------------------------


class Plain:
    pass


def check_long_texts():
    """2**24 characters and more: longer than any name."""
    for text in ("a" * (1 << 24), "é'" * (1 << 24), "日" * (1 << 24)):
        check(described(text), (Limits().of(text), pyunw.PYUNW_VALUE_TRUNCATED))
    holder = Plain()
    setattr(holder, "b" * (1 << 24), 1)
    text, flags = described(holder)
    check((text.split(": ", 1)[1], flags), ("b" * 200 + "...=1>", pyunw.PYUNW_VALUE_TRUNCATED))
    text, flags = described(type("c" * (1 << 24), (), {}))
    check((text, flags), ("<class '%s...'>" % ("c" * 63), pyunw.PYUNW_VALUE_TRUNCATED))


def main():
    check_long_texts()
    print("%d doubtful values are told as what they are" % checked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
