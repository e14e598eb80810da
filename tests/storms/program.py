"""The program in the storm: runs a workload in many threads while storm.so interrupts and reads it.

Run by tests/storms/run, under each interpreter: prints one line of JSON, its counters, as the last of its output.
"""

import argparse
import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time

import _weakrefset
import legality
import workload

MODES = {"own": 0, "all": 1, "dump": 2}
MEMORIES = {"default": 0, "direct": 1, "trapped": 2, "guarded": 3}


def open_library(path):
    library = ctypes.CDLL(path)
    library.storm_counter_name.restype = ctypes.c_char_p
    library.storm_counter.restype = ctypes.c_uint64
    library.storm_frame_size.restype = ctypes.c_size_t
    return library


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


def open_storm(library, arguments):
    message = ctypes.create_string_buffer(300)
    error = library.storm_open(
        MODES[arguments.mode],
        MEMORIES[arguments.memory],
        arguments.rate,
        os.fsencode(arguments.counters),
        message,
        ctypes.c_size_t(300),
    )
    if error != 0:
        sys.exit("cannot open the interpreter: error %d: %s" % (error, message.value.decode()))


def start_workers(variant):
    threads = []
    for function, arguments in workload.VARIANTS[variant]:
        threads.append(threading.Thread(target=function, args=arguments))
        threads[-1].start()
    return threads


def wait_for_rounds(count):
    """Until each worker has made a round: then all of them are there to be read."""
    while len(workload.progress) < count:
        time.sleep(0.01)


def storm(library, arguments):
    start = library.storm_start
    stop = library.storm_stop
    workload.resident = library.storm_resident
    workload.alternate_stack = library.storm_alternate_stack
    workload.prepare_made()
    if arguments.mode == "dump":
        null = open(os.devnull, "wb")
        faulthandler.register(signal.SIGUSR1, file=null, all_threads=True)
    sys.setswitchinterval(0.0002)
    threads = start_workers(arguments.variant)
    wait_for_rounds(len(threads))
    rounds_before = sum(list(workload.progress.values()))
    library.storm_resident()  # the main thread, too
    began = time.monotonic()
    print("storm", flush=True)
    if start(arguments.sabotage) != 0:
        sys.exit("cannot start the storm")
    time.sleep(arguments.seconds)
    stop()
    seconds = time.monotonic() - began
    rounds = sum(list(workload.progress.values())) - rounds_before
    workload.stopping = True
    for thread in threads:
        thread.join()
    return seconds, rounds


def counters(library):
    return {
        library.storm_counter_name(n).decode(): library.storm_counter(n) for n in range(library.storm_counter_count())
    }


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--counters", required=True, help="file for the counters: it outlives a crash")
    parser.add_argument("--mode", choices=MODES, default="own")
    parser.add_argument("--memory", choices=MEMORIES, default="default")
    parser.add_argument("--variant", choices=workload.VARIANTS, default="mixed")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=int, default=5000, help="signals a second")
    parser.add_argument("--sabotage", type=int, default=0, help="damage a stack in so many handlers")
    parser.add_argument("--marked", action="store_true", help="print stacks that were torn or corrupt, too")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    library = open_library(arguments.library)
    if arguments.mode != "dump":
        table = make_table()
        legality.load(table, library)
    open_storm(library, arguments)
    seconds, rounds = storm(library, arguments)
    sys.stdout.flush()
    library.storm_print(1, 0)
    if arguments.marked:
        library.storm_print(1, 1)
    gil = getattr(sys, "_is_gil_enabled", bool)
    result = dict(counters(library), seconds=seconds, rounds=rounds, gil=bool(gil()) or gil is bool)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
