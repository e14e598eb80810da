"""
The own process as an image for pyunwind that somebody else reads: through a Python function that may refuse, or move
a thread on while it is read. Runs on CPython 3.8 to 3.15.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

memory = os.open("/proc/self/mem", os.O_RDONLY)


class OwnImage:
    """
    .target: an open image of this process, for as long as this lives. before_read(address, size) is asked first: a
    true answer refuses.
    """

    def __init__(self, before_read):
        self.before_read = before_read
        self.function = pyunw.pyunw_read_function(self.read)  # kept: the target holds on to it
        info = pyunw.describe_target(pyunw.open_self())
        self.image = pyunw.pyunw_image(
            size=ctypes.sizeof(pyunw.pyunw_image),
            read=self.function,
            may_change=1,
            runtime=info.runtime,
            version=info.version,
            free_threaded=info.free_threaded,
            code_type=info.code_type,
        )
        self.target = pyunw.pyunw_target()
        pyunw.check(pyunw.lib_holding_gil.pyunw_open_image(self.target, self.image, None))

    def read(self, context, address, buffer, size):
        try:
            if self.before_read(address, size):
                return pyunw.PYUNW_ERR_FAULT
            data = os.pread(memory, size, address)
        except OSError:
            return pyunw.PYUNW_ERR_FAULT
        ctypes.memmove(buffer, data, len(data))
        return 0 if len(data) == size else pyunw.PYUNW_ERR_FAULT
