# interpreters: host
# weight: heavy
"""
Lines that corpus.py writes under every interpreter, validated against docs/json-lines.schema.json with the package
jsonschema; that the schema refuses what is wrong; and that docs/json-lines.md tells of each of its fields.
"""

import copy
import json
import os
import re
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(SOURCE, "docs")
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from validator import run_with_jsonschema


# ---- The schema itself ----------------------------------------------------------------------------------------------


def wrong_documents(good):
    """(what is wrong, document) of documents that differ from a good one in one thing."""
    for key in good:
        yield "without %s" % key, {name: value for name, value in good.items() if name != key}
    for key in good["frames"][0]:
        document = copy.deepcopy(good)
        del document["frames"][0][key]
        yield "a frame without %s" % key, document
    for key, values in {
        "schema": ["pyunwind.thread/2", "", None],
        "pid": [0, -1, "1", 1.5],
        "thread_id": [0, -1, "0x7f", 1.5],
        "native_id": [0, -1, "1", 1.5],
        "interpreter_id": [-1, "0", 0.5],
        "name": ["", 1],
        "state": ["", "sleeping", 1],
        "holds_gil": [0, "true"],
        "collecting_garbage": [0, "true"],
        "frames": [None, {}, "", [1], [[]]],
        "status": [None, "no frame", "truncated", ""],
    }.items():
        for value in values:
            yield "%s: %r" % (key, value), {**good, key: value}
    for key, values in {
        "kind": ["native", None, ""],
        "name": [1, []],
        "qualname": [1, []],
        "filename": [1, []],
        "lineno": [-1, "1", 1.5],
        "end_lineno": [-1, "1", 1.5],
        "colno": [-1, "1", 1.5],
        "end_colno": [-1, "1", 1.5],
    }.items():
        for value in values:
            document = copy.deepcopy(good)
            document["frames"][0][key] = value
            yield "a frame's %s: %r" % (key, value), document


def check_schema(validator, good):
    assert validator.is_valid(good)
    count = 0
    for what, document in wrong_documents(good):
        assert not validator.is_valid(document), "the schema allows a document %s" % what
        count += 1
    return count


def check_page(schema):
    """Each field has a row in its table of the page, and each row is a field of the schema."""
    with open(os.path.join(DOCS, "json-lines.md"), encoding="utf-8") as file:
        page = file.read()
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, flags=re.M | re.S))
    for title, described in (("The thread", schema), ("The frame", schema["$defs"]["frame"])):
        properties = described["properties"]
        rows = re.findall(r"^\| `(\w+)` \|", sections[title], flags=re.M)
        assert sorted(rows) == sorted(properties), (title, rows, sorted(properties))
    values = re.findall(r"^\| `(\w+)` \|", sections["The status"], flags=re.M)
    assert sorted(values) == sorted(schema["properties"]["status"]["enum"]), values
    example = re.search(r"```json\n(.*?)```", page, flags=re.S).group(1)
    return json.loads(example)


# ---- The lines ------------------------------------------------------------------------------------------------------


def written_by(executable):
    """The lines that corpus.py writes under an interpreter."""
    done = subprocess.run([executable, os.path.join(HERE, "corpus.py")], stdout=subprocess.PIPE)
    assert done.returncode == 0, "%s: exit status %d" % (executable, done.returncode)
    return done.stdout


def check_lines(validator, schema, data):
    """(number of lines, set of statuses)"""
    lines = data.split(b"\n")
    assert lines.pop() == b"", "the last line does not end"
    frame_keys = set(schema["$defs"]["frame"]["properties"])
    statuses = set()
    for line in lines:
        thread = json.loads(line.decode("utf-8"))
        error = next(validator.iter_errors(thread), None)
        assert error is None, "%s\n%r" % (error, line)
        # The schema allows fields that it does not know yet; today there are none.
        assert set(thread) == set(schema["properties"]), line
        assert all(set(frame) == frame_keys for frame in thread["frames"]), line
        statuses.add(thread["status"])
    return len(lines), statuses


def main():
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return run_with_jsonschema()
    with open(os.path.join(DOCS, "json-lines.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    example = check_page(schema)
    refused = check_schema(validator, example)
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    total = 0
    for python in pythons:
        count, statuses = check_lines(validator, schema, written_by(python["executable"]))
        assert statuses == set(schema["properties"]["status"]["enum"]), statuses
        print("%s: %d lines, %s" % (python["label"], count, ", ".join(sorted(statuses))))
        total += count
    assert total > 0, "no interpreter"
    print("%d lines of %d interpreters are valid; %d wrong documents are refused" % (total, len(pythons), refused))
    return 0


if __name__ == "__main__":
    sys.exit(main())
