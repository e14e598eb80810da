# interpreters: host
# weight: heavy
# alone: yes
# timeout: 900
"""Storms of every shape (tests/storms/shapes), under every interpreter, half a second each; tests/storms/storm has those
of the first two for longer.
"""

import os
import subprocess
import sys

SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shapes")
ELSEWHERE = ("own thread", "all threads")


def main():
    listed = subprocess.run([sys.executable, SHAPES, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode()
    shapes = [name for name in listed.splitlines() if name not in ELSEWHERE]
    chosen = [word for name in shapes for word in ("--shape", name)]
    sys.exit(subprocess.run([sys.executable, SHAPES, "--seconds", "0.5", *chosen], stdin=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    main()
