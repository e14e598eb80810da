"""A program that runs: what its variables may be at any one moment, its source says."""

import os
import threading


def step(first, second, text):
    third = (first, second)
    fourth = [third, text]
    return fourth


def count():
    a = b = 0
    while True:
        a = b + 1
        b = a
        step(a, a, str(a))


if __name__ == "__main__":
    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    os.write(1, b"running\n")
    os.read(0, 1)
    os._exit(0)
