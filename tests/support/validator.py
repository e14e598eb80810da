"""
A JSON Schema validator that is not pyunwind's: the package jsonschema, taken from this Python, else installed by pip
into an environment of its own in the build folder.
"""

import fcntl
import os
import shutil
import subprocess
import sys

ENVIRONMENT = os.path.join(os.environ["PYUNWIND_BUILD"], "tests-cache", "jsonschema")
PACKAGE = "jsonschema>=4,<5"
SKIPPED = 77

# Prints the names of documents that are not as the schema says, and why.
CHECK = """
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1], encoding="utf-8"))
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    for error in validator.iter_errors(json.load(open(path, encoding="utf-8"))):
        print("%s: %s: %s" % (path, error.json_path, error.message[:300]))
"""


def run_with_jsonschema():
    """Run the program that asks under a Python that has the package; return its status."""
    python = python_with_jsonschema(sys.executable)
    return SKIPPED if python is None else subprocess.call([python, os.path.abspath(sys.argv[0])])


def violations(schema, documents):
    """
    What is wrong with the documents (paths), as text; None: it cannot be told. Under any Python: it is the host's that
    validates.
    """
    python = python_with_jsonschema(shutil.which("python3") or sys.executable)
    if python is None:
        return None
    return subprocess.check_output([python, "-c", CHECK, schema, *documents]).decode(errors="replace").strip()


def python_with_jsonschema(host):
    """Several tests may ask at once."""
    python = os.path.join(ENVIRONMENT, "bin", "python")
    os.makedirs(os.path.dirname(ENVIRONMENT), exist_ok=True)
    with open(ENVIRONMENT + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if has_jsonschema(python) or make_environment(host, python):
            return python
    return None


def make_environment(host, python):
    for command in (
        [host, "-m", "venv", "--clear", ENVIRONMENT],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            print(done.stdout.decode(errors="replace"))
            print("NOT VALIDATED: this Python has no jsonschema, and `%s` failed" % " ".join(command))
            return False
    return True


def has_jsonschema(python):
    command = [python, "-c", "from jsonschema import Draft202012Validator"]
    return os.path.exists(python) and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
