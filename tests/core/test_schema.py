# interpreters: host
"""
Documents of `pyunwind core --json`, of cores under every interpreter, validated against docs/dump.schema.json with the
package jsonschema; that the schema refuses what is wrong; and that docs/core.md tells of what a core file adds.
"""

import copy
import json
import os
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
DOCS = os.path.join(SOURCE, "docs")
sys.path[:0] = [os.path.join(SOURCE, "tests", folder) for folder in ("support", "dump")]

from cores import HAS_KERNEL_CORES, SMALL, allow_cores, gdb_core, kernel_core, kernel_cores_note, run_core
from dumping import SUBJECT, Subject
from documents import OF_A_CORE, WITH_LOCALS, check_document
from validator import run_with_jsonschema

WRONG = {  # by the field of a signal: values that no document may hold there
    "number": [0, "11", None],
    "name": ["", "Segmentation fault", 1],
    "code": ["1", 1.5],
    "code_name": ["", 1],
    "address": ["", "0", 0, "0xG"],
}


def check_signals(validator, document):
    """How many wrong signals are refused in a good document."""
    count = 0
    for key, values in WRONG.items():
        for value in values:
            wrong = copy.deepcopy(document)
            wrong["processes"][0]["signal"][key] = value
            assert not validator.is_valid(wrong), "the schema allows the signal's %s %r" % (key, value)
            count += 1
        wrong = copy.deepcopy(document)
        del wrong["processes"][0]["signal"][key]
        assert not validator.is_valid(wrong), "the schema allows a signal without its " + key
    return count


def check_page(schema):
    with open(os.path.join(DOCS, "core.md"), encoding="utf-8") as file:
        page = file.read()
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, flags=re.M | re.S))
    rows = re.findall(r"^\| `(\w+)` \|", sections["The document"], flags=re.M)
    assert set(rows) == OF_A_CORE, rows
    rows = re.findall(r"^\| `(\w+)` \|", sections["The signal"], flags=re.M)
    assert sorted(rows) == sorted(schema["$defs"]["process"]["properties"]["signal"]["properties"]), rows


def check_core(validator, schema, name):
    status, output, errors = run_core("-jln", name)
    assert status == 0 or errors, (status, errors)
    frames = check_document(validator, schema, output, set())
    status, output, errors = run_core("--json", name)
    assert status == 0 or errors, (status, errors)
    return frames + check_document(validator, schema, output, WITH_LOCALS), json.loads(output)


def main():
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return run_with_jsonschema()
    with open(os.path.join(DOCS, "dump.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    validator = Draft202012Validator(schema)
    check_page(schema)
    allow_cores()
    frames = refused = 0
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    for python in pythons:
        with Subject("names", command=[python["executable"], SUBJECT], environment=SMALL) as subject:
            core = gdb_core(subject.pid, "running.core")[0]
            count, document = check_core(validator, schema, core)
            assert not any(thread["crashed"] for thread in document["processes"][0]["threads"]), "nothing crashed"
            frames += count
            if HAS_KERNEL_CORES:
                count, document = check_core(validator, schema, kernel_core(subject, "ended.core", 6))
                frames += count
                refused += check_signals(validator, document)
    assert frames > 0, "no interpreter"
    print("documents of core files of %d interpreters, %d frames, are valid; %d wrong signals are refused%s" % (
        len(pythons), frames, refused, kernel_cores_note()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
