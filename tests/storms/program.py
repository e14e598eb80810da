"""The program in the storm: runs a workload in many threads while storm.so interrupts and reads it.

Run by tests/storms/run, under each interpreter: prints one line of JSON, its counters, as the last of its output.
"""

import _signal
import argparse
import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import warnings

import _weakrefset
import legality
import workload

MODES = {"own": 0, "all": 1, "dump": 2}
NESTED, TIMERS, FOREIGN, GOES_ON = 1, 2, 4, 8  # enum shape of storm.c
HANDLERS, PATIENCE = 20, 60
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


def run_rest(lock):
    lock.acquire()
    lock.release()


def start_resting(count):
    """Threads that wait until the lock that is returned is let go."""
    lock = threading.Lock()
    lock.acquire()
    threads = [threading.Thread(target=run_rest, args=(lock,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    return lock, threads


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


def wait_for_enough(has_enough):
    deadline = time.monotonic() + PATIENCE
    while not has_enough(HANDLERS) and time.monotonic() < deadline:
        time.sleep(0.02)


def storm(library, arguments):
    start = library.storm_start
    stop = library.storm_stop
    has_enough = library.storm_has_enough
    workload.resident = library.storm_resident
    workload.alternate_stack = library.storm_alternate_stack
    workload.in_child = library.storm_in_child
    workload.raise_signal = library.storm_raise
    workload.prepare_made()
    workload.prepare_imports(os.path.dirname(arguments.counters))
    if arguments.mode == "dump":
        null = open(os.devnull, "wb")
        faulthandler.register(signal.SIGUSR1, file=null, all_threads=True)
    sys.setswitchinterval(0.0002)
    threading.stack_size(1 << 20)
    lock, resting = start_resting(1000 if arguments.variant == "thousand" else 0)
    threads = start_workers(arguments.variant)
    wait_for_rounds(len(threads))
    rounds_before = sum(list(workload.progress.values()))
    library.storm_resident()  # the main thread, too
    began = time.monotonic()
    print("storm", flush=True)
    if arguments.waits:
        print(os.getpid(), flush=True)
        sys.stdin.readline()
    storms = not arguments.waits or arguments.then_storm
    error = start(arguments.sabotage) if storms else 0
    if error != 0:
        print("cannot start the storm: %s" % os.strerror(error), flush=True)
        os._exit(1)  # the threads go on
    _signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])  # signal's own is a function that nobody knows
    if arguments.executes > 0:
        time.sleep(arguments.seconds / (arguments.executes + 1))
        execute_again(arguments)
    if storms:
        time.sleep(arguments.seconds)
        wait_for_enough(has_enough)
        stop()
    seconds = time.monotonic() - began
    rounds = sum(list(workload.progress.values())) - rounds_before
    workload.stopping = True
    lock.release()
    for thread in threads + resting:
        thread.join()
    return seconds, rounds


def execute_again(arguments):
    """In the midst of the storm: which ends with the threads of this program, but for a signal that is on its way."""
    _signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    sys.stdout.flush()
    again = [sys.executable, *sys.argv, "--executes", str(arguments.executes - 1), "--goes-on"]
    again += ["--seconds", str(arguments.seconds * arguments.executes / (arguments.executes + 1))]
    os.execv(sys.executable, again)


def read_other(library, arguments):
    """The storm of a sidecar: another process, which runs the same program, is read all the time."""
    message = ctypes.create_string_buffer(300)
    began = time.monotonic()
    error = library.storm_read(arguments.read, ctypes.c_double(arguments.seconds), os.fsencode(arguments.counters),
                               message, ctypes.c_size_t(300))
    if error != 0:
        sys.exit("cannot read process %d: error %d: %s" % (arguments.read, error, message.value.decode()))
    return time.monotonic() - began, 0


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
    parser.add_argument("--shape", type=int, default=0, help="bits of enum shape")
    parser.add_argument("--executes", type=int, default=0, metavar="N", help="execute itself so often")
    parser.add_argument("--goes-on", action="store_true", help="the counters go on")
    parser.add_argument("--waits", action="store_true", help="tell the number of the process, and wait; no storm")
    parser.add_argument("--then-storm", action="store_true", help="and then there is one")
    parser.add_argument("--read", type=int, metavar="PID", help="read that one, which waits")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
    library = open_library(arguments.library)
    if arguments.mode != "dump":
        table = make_table()
        legality.load(table, library)
    library.storm_shape(arguments.shape | (GOES_ON if arguments.goes_on else 0))
    if arguments.read is None:
        open_storm(library, arguments)
    seconds, rounds = (storm if arguments.read is None else read_other)(library, arguments)
    for failure in workload.failures:
        print(failure)
    if workload.failures:
        sys.exit(1)
    sys.stdout.flush()
    library.storm_print(1, 0)
    if arguments.marked:
        library.storm_print(1, 1)
    gil = getattr(sys, "_is_gil_enabled", bool)
    result = dict(counters(library), seconds=seconds, rounds=rounds, gil=bool(gil()) or gil is bool)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
