"""
What the programs of the corpus begin with:

    from program import *

held and released are the library of crasher.c, called with the GIL held, and released. install() installs the crash
tracker where the program runs with it, and does nothing where it runs bare. Runs on CPython 3.8 to 3.15.
"""

import ctypes
import os
import sys

__all__ = ["ctypes", "os", "sys", "held", "released", "install", "is_tracked"]

held = ctypes.PyDLL(os.environ["CORPUS_CRASHER"])
released = ctypes.CDLL(os.environ["CORPUS_CRASHER"])
is_tracked = "CORPUS_TRACKED" in os.environ


def install(**options):
    """The library of the tracker, or None."""
    if not is_tracked:
        return None
    sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
    import crash

    # A machine that is slow makes no report fail.
    return crash.install(**{"time_limit": 120000, **options})
