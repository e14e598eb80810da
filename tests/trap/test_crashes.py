# interpreters: each
"""
Programs that crash (crash.py) die and report the same with pyunwind's fault handler as without it: the wait status,
and what faulthandler writes, whichever of the two was enabled first, and with pyunwind's installed again after it. The
oracle is the same program under the same interpreter without pyunwind's handler.
"""

import os
import re
import resource
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WAYS = ["read", "raise_segv", "raise_segv_without_gil", "raise_bus", "kill", "overflow", "call_nothing",
        "call_nothing_without_gil", "abort", "keep_segv", "keep_bus", "ignore_segv"]
# What is enabled, and the same without pyunwind.
ORDERS = {"pyunwind": "nothing", "pyunwind,faulthandler": "faulthandler", "faulthandler,pyunwind": "faulthandler"}
AGAIN = {"pyunwind,faulthandler,pyunwind": "faulthandler"}


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(way, order, beside):
    done = subprocess.run([sys.executable, os.path.join(HERE, "crash.py"), way, order, beside], preexec_fn=no_core,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    # 3.14 adds C frames, with addresses, and pyunwind's handler among them.
    text = re.sub(r"\nCurrent thread's C stack trace.*\n(  .*\n)*", "", text)
    return done.returncode, re.sub(r"0x[0-9a-f]+", "0x", text)


def main():
    failed, compared = [], 0
    for way in WAYS:
        beside = "behind" if way in ("read", "raise_segv_without_gil") else "alone"
        without = {order: run(way, order, beside) for order in set(ORDERS.values())}
        if way.startswith(("keep", "ignore")):
            assert without["nothing"][0] == 0, (way, without)
        else:
            assert without["nothing"][0] in (-11, -7, -6) and without["nothing"][1] == "", (way, without)
            assert "Fatal Python error" in without["faulthandler"][1], (way, without)
            assert way.startswith("overflow") or "in outer\n" in without["faulthandler"][1], (way, without)
        for order, same_as in dict(ORDERS, **(AGAIN if way in ("read", "kill") else {})).items():
            status, text = run(way, order, beside)
            compared += 1
            if (status, text) != without[same_as]:
                failed.append("%s with %s" % (way, order))
                print("%s with %s: status %d\n%s\nwith %s: status %d\n%s"
                      % ((way, order, status, text, same_as) + without[same_as]))
    if failed:
        print("different: " + "; ".join(failed))
        return 1
    print("%d crashes and signals, the same with pyunwind's handler as without" % compared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
