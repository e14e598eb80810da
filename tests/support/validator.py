"""
A JSON Schema validator that is not pyunwind's: the package jsonschema, taken from this Python, else installed by pip
into an environment of its own in the build folder.
"""

import os
import subprocess
import sys

ENVIRONMENT = os.path.join(os.environ["PYUNWIND_BUILD"], "tests-cache", "jsonschema")
PACKAGE = "jsonschema>=4,<5"
SKIPPED = 77


def run_with_jsonschema():
    """Run the program that asks under a Python that has the package; return its status."""
    python = os.path.join(ENVIRONMENT, "bin", "python")
    if not has_jsonschema(python):
        for command in (
            [sys.executable, "-m", "venv", "--clear", ENVIRONMENT],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
        ):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                print(done.stdout.decode(errors="replace"))
                print("NOT VALIDATED: this Python has no jsonschema, and `%s` failed" % " ".join(command))
                return SKIPPED
    return subprocess.call([python, os.path.abspath(sys.argv[0])])


def has_jsonschema(python):
    command = [python, "-c", "from jsonschema import Draft202012Validator"]
    return os.path.exists(python) and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
