"""Keeps the memory that one line allocates, among much that is given back, and prints how many bytes it kept.

Arguments: the sizes of the blocks, separated by commas, and the bytes to be kept.
"""

import ctypes
import sys
import sysconfig
import threading

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    # Objects come from mimalloc there, which has its memory from mmap() and never calls malloc().
    libc = ctypes.CDLL(None)
    allocate, release = libc.malloc, libc.free
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
    release.argtypes, release.restype = [ctypes.c_void_p], None
    overhead = 0
else:
    allocate, release = bytes, id
    overhead = sys.getsizeof(b"")


def leak(sizes, total):
    kept = []
    bytes_kept = 0
    while bytes_kept < total:
        for size in sizes:
            kept.append(allocate(size))  # the leak
            bytes_kept += size + overhead
            release(allocate(size))
    return kept, bytes_kept


def cache(size, total):
    return [allocate(size) for _ in range(total // (size + overhead))]  # the cache


def churn(sizes, total):
    """Allocates in the same sizes as leak(), grows blocks in place and by moving them, and keeps nothing."""
    growing = bytearray()
    for number in range(total // sum(sizes)):
        blocks = [allocate(size) for size in sizes]
        growing += b"x" * sizes[number % len(sizes)]
        if len(growing) > 1000000:
            growing = bytearray()
        for block in blocks:
            release(block)


def main():
    sizes = [int(word) for word in sys.argv[1].split(",")]
    total = int(sys.argv[2])
    threads = [threading.Thread(target=churn, args=(sizes, total)) for _ in range(2)]
    for thread in threads:
        thread.start()
    kept, bytes_kept = leak(sizes, total)
    cached = cache(sizes[0], total // 6)
    # The half of it is no leak after all: every second block of each size.
    for number in range(0, len(kept), 2 * len(sizes)):
        for index in range(number, number + len(sizes)):
            release(kept[index])
            kept[index] = None
            bytes_kept -= sizes[index % len(sizes)] + overhead
    for thread in threads:
        thread.join()
    churn(sizes, total)
    # The list's own memory comes from the same line.
    print(bytes_kept + (sys.getsizeof(kept) if overhead else 0))
    return kept, cached


# Kept until the interpreter ends.
memory = main()
