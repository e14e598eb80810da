"""A program whose threads stand with exceptions: what sys.exc_info() tells of each, as JSON, then it waits."""

import json
import os
import sys
import threading

stands = threading.Semaphore(0)
told = []


class Failure(LookupError):
    pass


def stand():
    kind, error, _ = sys.exc_info()
    told.append([threading.get_ident(), error and kind.__module__, error and kind.__qualname__, error and str(error)])
    stands.release()
    threading.Event().wait()


def generator():
    try:
        raise Failure("a", 1)
    except Failure:
        stand()
        yield


class Context:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        stand()


def nothing():
    stand()


def in_except():
    try:
        open("/no such file")
    except OSError:
        stand()


def in_generator():
    try:
        raise ValueError("outer")
    except ValueError:
        list(generator())


def in_generator_of_handler():
    try:
        {}["größe"]
    except KeyError:
        sorted([1], key=lambda _: stand())


def in_exit():
    with Context():
        raise RuntimeError("in with")


def main():
    places = (nothing, in_except, in_generator, in_generator_of_handler, in_exit)
    for place in places:
        threading.Thread(target=place, daemon=True).start()
    for _ in places:
        stands.acquire()
    os.write(1, json.dumps(told).encode() + b"\n")
    try:
        raise Failure("of the main thread")
    except Failure:
        os.read(0, 1)
    os._exit(0)


main()
