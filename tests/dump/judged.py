"""
The program that judge.c reads while it runs: tests/storms/workload.py in one thread or in four that make and end others
all the time. It writes the table of its legal stacks to a file, starts, and stands still in its main thread until its
standard input ends.

    judged.py one|four TABLE
"""

import ctypes
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "storms"))

import _weakrefset
import legality
import workload


def run_everything():
    """What the workers of workload.py do, in one thread: code objects come and go here too."""
    workload.resident()
    number = 0
    while True:
        number += 1
        workload.short_calls()
        workload.fib(7)
        workload.down_even(workload.DEPTHS[number % len(workload.DEPTHS)])
        workload.down_wide(workload.DEPTHS[number % len(workload.DEPTHS)] // 2)
        workload.make_objects()
        workload.make_closure(number)
        workload.short_callbacks()
        workload.long_callbacks()
        workload.drive_by_for()
        workload.drive_by_c()
        workload.drive_by_hand()
        workload.drive_coroutine()
        workload.throw_all()
        workload.run_made_once(number)
        if number % 12 == 0:
            workload.compile_made_once(number % workload.MADE_COUNT)
        workload.count_round("everything")


WORKERS = {
    "one": [(run_everything, ())],
    "four": [
        (workload.run_calls, (0,)),
        (workload.run_callbacks, ()),
        (workload.run_generators, ()),
        (workload.run_made, (5,)),
    ]
    + workload.CHURN,
}


class TableFile:
    """What legality.load() hands a table to."""

    def __init__(self, file):
        self.file = file
        self.functions = 0

    def storm_table_begin(self, functions, spots):
        self.file.write(b"table\t%d\t%d\n" % (functions, spots))
        return 0

    def storm_add_function(self, filename, name, qualname, flags):
        self.file.write(b"function\t%d\t%s\t%s\t%s\n" % (flags, filename, name, qualname))
        self.functions += 1
        return self.functions - 1

    def storm_add_spot(self, function, line, bitmap):
        self.file.write(b"spot\t%d\t%d\t%s\n" % (function, line, bitmap.hex().encode()))
        return 0


def make_table():
    table = legality.Table()
    for filename in (__file__, workload.__file__):
        with open(filename, encoding="utf-8") as file:
            table.add_source(file.read(), filename)
    for number in range(workload.MADE_COUNT):
        table.add_source(workload.made_source(number), workload.made_filename(number))
    for module in (threading, _weakrefset):
        table.add_library_module(module)
    table.finish()
    return table


def main():
    variant, path = sys.argv[1:]
    residents = []
    own_state = ctypes.pythonapi.PyThreadState_Get
    own_state.restype = ctypes.c_void_p
    workload.resident = lambda: residents.append(own_state())
    workload.prepare_made()
    with open(path, "wb") as file:
        legality.load(make_table(), TableFile(file))
        sys.setswitchinterval(0.0002)
        for function, arguments in WORKERS[variant]:
            threading.Thread(target=function, args=arguments, daemon=True).start()
        # Each has made a round: then all of them are there to be read.
        while len(workload.progress) < len(WORKERS[variant]):
            os.sched_yield()
        for address in residents:
            file.write(b"resident\t%x\n" % address)
    os.write(1, b"running\n")
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
