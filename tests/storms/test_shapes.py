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


def damage_is_told():
    """Whether each storm fails, and says why, when stacks are damaged in it, even if functions are met that nobody knows."""
    damaged = subprocess.run([sys.executable, SHAPES, "--seconds", "0.3", "--shape", "import", "--sabotage", "3"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    lines = damaged.stdout.decode().splitlines()
    results = [line.split()[-1] for line in lines if line.split()[1:2] == ["import"]]
    told = any("stacks of other threads are wrong" in line or "own stacks are wrong" in line for line in lines)
    return damaged.returncode == 1 and told and len(results) > 0 and set(results) == {"FAILED"}


def main():
    if not damage_is_told():
        sys.exit("damaged stacks do not make each storm fail")
    listed = subprocess.run([sys.executable, SHAPES, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode()
    shapes = [name for name in listed.splitlines() if name not in ELSEWHERE]
    chosen = [word for name in shapes for word in ("--shape", name)]
    sys.exit(subprocess.run([sys.executable, SHAPES, "--seconds", "0.5", *chosen], stdin=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    main()
