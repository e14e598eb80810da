# interpreters: each
"""
A program of C that is built with `pkg-config pyunwind-remote` alone reads a core file by pyunw_load_core(),
pyunw_core_describe(), pyunw_open_core() and the writers of pyunwind.h: the facts are those that `pyunwind core --json`
tells, and the stacks what the program said of itself; what no function may take is refused.
"""

import json
import os
import re
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from compile import compile_program
from cores import HAS_KERNEL_CORES, allow_cores, any_core, check, core_one, kernel_cores_note
from dumping import BUILD, finish


def compile_client():
    environment = dict(os.environ, PKG_CONFIG_PATH=BUILD)
    command = ["pkg-config", "--cflags", "--libs", "pyunwind-remote"]
    flags = subprocess.check_output(command, env=environment).decode().split()
    with open(os.path.join(SOURCE, "tests", "core", "client.c"), encoding="utf-8") as file:
        return compile_program("core_client", file.read(), flags=flags)


def run_client(client, *arguments):
    done = subprocess.run([client, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def compare_facts(line, process):
    signal = process["signal"] or {"number": 0, "code": None, "address": None}
    facts = re.match(r"pid (\d+) parent (\d+) signal (\d+) code (\d) (-?\d+) address (\d) (\S+) crashed (\d+) "
                     r"executable (.*) missing 0 packed no$", line)
    if facts is None:
        return check(False, "the facts are", line)
    pid, parent, number, has_code, code, has_address, address, crashed, executable = facts.groups()
    check((int(pid), int(parent), executable) == (process["pid"], process["ppid"], process["executable"]), line)
    check(int(number) == signal["number"], line, "the signal is", signal)
    check((int(code) if has_code == "1" else None) == signal["code"], line, "the code is", signal)
    check((has_address == "1") == (signal["address"] is not None), line, "the address is", signal)
    check(has_address == "0" or int(address, 16) == int(signal["address"], 16), line, "the address is", signal)
    tasks = [thread["native_id"] for thread in process["threads"] if thread["crashed"]]
    check([int(crashed)] == (tasks or [0]), line, "crashed:", tasks)


def compare_threads(lines, process, truth):
    """How many frames were compared."""
    told = {thread["thread_id"]: thread["stack"] for thread in truth["threads"]}
    tasks = {int(line.split()[1]) for line in lines if line.startswith("thread ")}
    check(tasks == {thread["native_id"] for thread in process["threads"]}, "tasks", tasks)
    pointers = {int(line.split()[6], 16) for line in lines if line.startswith("thread ")}
    check(os.uname().machine != "x86_64" or pointers == set(told), "thread pointers", pointers)
    stacks = [json.loads(line) for line in lines if line.startswith("{")]
    check({stack["thread_id"] for stack in stacks} == set(told), "threads", len(stacks))
    frames = 0
    for stack in stacks:
        got = [[frame["filename"], frame["name"], frame["lineno"]] for frame in stack["frames"]]
        wanted = [[filename, name, lineno] for filename, name, _, lineno in told[stack["thread_id"]]]
        check(got == wanted and stack["status"] == "complete", "a stack is", got[:3], "expected", wanted[:3])
        frames += len(got)
    return frames


def main():
    allow_cores()
    client = compile_client()
    core, truth = any_core("client.core", "lock", "generator", "method")
    process = core_one("the command", core)
    status, output, errors = run_client(client, core)
    lines = output.splitlines()
    check((status, errors) == (0, ""), "exit status", status, errors)
    check(not any("is taken" in line for line in lines), [line for line in lines if "is taken" in line])
    compare_facts(lines[0], process)
    frames = compare_threads(lines, process, truth)
    files = [line for line in lines if line.startswith("file ")]
    check(sum(" executable 1 " in line for line in files) == 1, "executables", files)
    status, output, errors = run_client(client, core, "/bin/sleep")
    check(status != 0 and output == "" and "build id" in errors, "another executable:", status, errors)
    return finish("%d frames, %d mapped files and the facts of a core are what the command tells%s" % (
        frames, len(files), kernel_cores_note() if not HAS_KERNEL_CORES else ""))


if __name__ == "__main__":
    sys.exit(main())
