"""
CPython's structures in the own process: where their fields lie, as an open target has it, and words in them.

Runs on CPython 3.8 to 3.15.
"""

import ctypes
import os
import re

HEADER = os.path.join(os.environ["PYUNWIND_SOURCE"], "src", "core", "layout.h")


def layout_offsets_type():
    """struct layout_offsets of src/core/layout.h for ctypes."""
    with open(HEADER, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    groups = {}
    for name, body in re.findall(r"struct layout_(\w+) \{(.*?)\};", text, flags=re.S):
        fields = re.findall(r"(uint32_t|uint8_t|struct layout_\w+) (\w+);", body)
        members = []
        for kind, field in fields:
            if kind.startswith("struct"):
                members.append((field, groups[kind[len("struct layout_") :]]))
            else:
                members.append((field, ctypes.c_uint32 if kind == "uint32_t" else ctypes.c_uint8))
        groups[name] = type("layout_" + name, (ctypes.Structure,), {"_fields_": members})
        if name == "offsets":
            return groups[name]
    raise AssertionError("struct layout_offsets was not found")


def word(address):
    return ctypes.c_uint64.from_address(address).value


def word32(address):
    return ctypes.c_int32.from_address(address).value


def readable(address, size):
    """The bytes at an address; None where not all of them can be read."""
    if address + size > 1 << 47:  # what the system lets a process have
        return None
    with open("/proc/self/mem", "rb", 0) as memory:
        try:
            found = os.pread(memory.fileno(), size, address)
        except OSError:
            return None
    return found if len(found) == size else None
