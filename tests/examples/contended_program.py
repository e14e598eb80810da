"""Four threads wait for a lock for as long as everything else here takes: nothing else can be waited for longer."""

import sys
import threading
import time

contended = threading.Lock()
other = threading.Lock()


def wait_for_contended():
    with contended:  # contended
        pass


def wait_for_other():
    with other:  # other
        pass


def wait_for_event(event):
    event.wait(0.1)  # event


def spin(stop):
    """Computes, so that threads wait for the GIL too."""
    while not stop.is_set():
        sum(range(1000))


def start(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def await_waiting(threads, function):
    """Return when the threads are at the line on which the function waits, its first."""
    line = function.__code__.co_firstlineno + 1
    while True:
        frames = sys._current_frames()
        at = [frames.get(thread.ident) for thread in threads]
        if all(frame is not None and frame.f_code is function.__code__ and frame.f_lineno == line for frame in at):
            return
        time.sleep(0)


def main():
    stop = threading.Event()
    contended.acquire()
    waiting = [start(wait_for_contended) for _ in range(4)]
    await_waiting(waiting, wait_for_contended)
    began = time.monotonic()
    others = [start(spin, stop) for _ in range(2)]
    other.acquire()
    short = start(wait_for_other)
    await_waiting([short], wait_for_other)
    time.sleep(0.05)
    other.release()
    short.join()
    start(wait_for_event, threading.Event()).join()
    time.sleep(0.25)
    held = time.monotonic() - began
    contended.release()
    stop.set()
    for thread in waiting + others:
        thread.join()
    print(held)


main()
