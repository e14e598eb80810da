"""
The Python stack as data, for Python programs: libpyunwind, without an extension module.

    import pyunwind.crash           reports of how the process died
    import pyunwind.faulthandler    the module faulthandler, without its crashes and limits

Works with every CPython from 3.8 to 3.15. The library libpyunwind.so is loaded when one of the two is imported; where
it is not found, that is an ImportError which says where it was looked for (docs/python.md).
"""

__version__ = "0.1.0"
