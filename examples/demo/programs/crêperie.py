"""
A crêperie at noon: four threads, each in the middle of its work.

Usage: crêperie.py NATIVE READY RELEASE. NATIVE is the library made of native.c. A thread that stands where it should
writes a byte to the descriptor READY, and stays until RELEASE is closed.

The comments `# THREAD N` mark what is on the threads' stacks, 0 being the innermost frame.
"""

import asyncio
import ctypes
import json
import sys
import threading

NATIVE = ctypes.CDLL(sys.argv[1])
READY, RELEASE = int(sys.argv[2]), int(sys.argv[3])
LIBC = ctypes.CDLL(None)


def stand_still():
    NATIVE.stand_still(READY, RELEASE)  # every 0


# A function, under a generator, under sum(), which is C.


def knead_pâte():
    def ingredients():
        for grams in (250, 500, 3):
            stand_still()  # dough 1
            yield grams

    return sum(ingredients())  # dough 2


# A method, under the scanner of json, which is C.


class Orders:
    def read(self, text):
        return json.loads(text, object_hook=self.注文)  # orders 2

    def 注文(self, order):
        stand_still()  # orders 1
        return order["crêpe"]


# A function that libc's qsort() calls, which ctypes called without the GIL.


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
def by_price(left, right):
    stand_still()  # till 1
    return left[0] - right[0]


def sort_receipts():
    prices = (ctypes.c_int * 3)(12, 9, 15)
    LIBC.qsort(prices, len(prices), ctypes.sizeof(ctypes.c_int), by_price)  # till 2


# A function, under coroutines, under asyncio.


async def flambé(crêpe):
    stand_still()  # main 1
    return crêpe


async def serve():
    return await flambé("Suzette")  # main 2


def start(name, work, *arguments):
    def run():
        NATIVE.name_thread(name.encode())
        work(*arguments)  # dough 3, orders 3, till 3

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread


def main():
    threads = [
        start("dough", knead_pâte),
        start("orders", Orders().read, '{"crêpe": "Suzette"}'),
        start("till", sort_receipts),
    ]
    asyncio.run(serve())  # main 3
    for thread in threads:
        thread.join()


main()  # main 4
