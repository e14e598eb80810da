# interpreters: host
# weight: heavy
# alone: yes
# timeout: 900
"""Programs in a storm of signals, under every interpreter: 7 seconds of each mode and memory (tests/storms/run).

First the test tests itself: wrong stacks are found out, and a run in which stacks are damaged on purpose fails.
"""

import os
import subprocess
import sys

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run")


def run(*arguments, **keywords):
    return subprocess.run([sys.executable, RUN, *arguments], stdin=subprocess.DEVNULL, **keywords)


def damage_is_told(mode):
    """Whether a run fails, and says why, when a stack is damaged in each twentieth handler."""
    damaged = run("--mode", mode, "--variant", "mixed", "--seconds", "2", "--sabotage", "20", stdout=subprocess.PIPE)
    rows = [line.split() for line in damaged.stdout.decode().splitlines() if not line.startswith(" ")]
    results = [words[-1] for words in rows if words[1:2] == [mode]]
    told = b"stacks are wrong" in damaged.stdout
    return damaged.returncode == 1 and told and len(results) > 1 and set(results) == {"FAILED"}


def main():
    print("Wrong stacks on purpose:", flush=True)
    if run("--self-test").returncode != 0:
        sys.exit("the checker does not find out what is wrong")
    if not damage_is_told("own"):
        sys.exit("damaged stacks do not make each run fail")
    print("The storm:", flush=True)
    # AddressSanitizer finds what docs/SAFETY.md says of the end of a thread, in plain loads.
    memories = ["--memory", "trapped", "--memory", "guarded"] if "PYUNWIND_SANITIZED" in os.environ else []
    sys.exit(run("--seconds", "7", "--jobs", "2", *memories).returncode)


if __name__ == "__main__":
    main()
