# interpreters: host
# weight: heavy
"""
Documents of `pyunwind dump --json` of programs under every interpreter, validated against docs/dump.schema.json with
the package jsonschema; that the schema refuses what is wrong; and that docs/dump.md tells of each of its fields.
"""

import copy
import json
import os
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
DOCS = os.path.join(SOURCE, "docs")
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from documents import OF_A_CORE, check_document
from dumping import SUBJECT, Program, Subject, run_dump
from validator import run_with_jsonschema

# ---- The schema itself ----------------------------------------------------------------------------------------------

WRONG = {  # by path: values that no document may hold there
    ("schema",): ["pyunwind.dump/2", "", None],
    ("processes",): [None, {}, [1]],
    ("processes", 0, "pid"): [0, -1, "1"],
    ("processes", 0, "ppid"): [-1, "1"],
    ("processes", 0, "command"): [None, "python3", [1]],
    ("processes", 0, "executable"): [1, []],
    ("processes", 0, "cgroup"): [1, []],
    ("processes", 0, "container_id"): ["", 1, "Docker"],
    ("processes", 0, "uptime"): [-1, "1"],
    ("processes", 0, "python"): [None, "3.11", {"version": "3.11.2"}, {"version": "2.7.18", "free_threaded": False}],
    ("processes", 0, "threads"): [None, {}, [1]],
    ("processes", 0, "threads", 0, "thread_id"): [0, -1, "0x7f"],
    ("processes", 0, "threads", 0, "native_id"): [0, -1, "1"],
    ("processes", 0, "threads", 0, "interpreter_id"): [-1, "0"],
    ("processes", 0, "threads", 0, "name"): ["", 1],
    ("processes", 0, "threads", 0, "state"): ["", "sleeping", 1],
    ("processes", 0, "threads", 0, "holds_gil"): [0, "true", None],
    ("processes", 0, "threads", 0, "collecting_garbage"): [0, "true"],
    ("processes", 0, "threads", 0, "unconfirmed"): [-1, "0", None],
    ("processes", 0, "threads", 0, "status"): ["no frame", "", None],
    ("processes", 0, "threads", 0, "native_status"): ["", "torn", 1],
    ("processes", 0, "threads", 0, "native_frames"): [{}, [1], [{"kind": "native"}]],
    ("processes", 0, "threads", 0, "frames", 0, "kind"): ["native", None],
    ("processes", 0, "threads", 0, "frames", 0, "name"): [1, []],
    ("processes", 0, "threads", 0, "frames", 0, "lineno"): [-1, "1", 1.5],
    ("processes", 0, "threads", 0, "frames", 0, "colno"): [-1, "1", 1.5],
    ("processes", 0, "threads", 0, "frames", 0, "locals"): [1, {}, [1], [{"name": "a", "argument": True}],
                                                            [{"name": 1, "argument": True, "value": "1"}],
                                                            [{"name": "a", "argument": None, "value": "1"}],
                                                            [{"name": "a", "argument": False, "value": 1}]],
    ("processes", 0, "threads", 0, "frames", 0, "locals_status"): ["", "torn", None],
}
WRONG_NATIVE = {
    ("processes", 0, "threads", 0, "frames", 0, "kind"): ["python", None],
    ("processes", 0, "threads", 0, "frames", 0, "function"): ["", 1],
    ("processes", 0, "threads", 0, "frames", 0, "lineno"): [0, "1", 1.5],
    ("processes", 0, "threads", 0, "frames", 0, "build_id"): ["", "abc", "AB", 1],
    ("processes", 0, "threads", 0, "frames", 0, "address"): [None, 1, "1", "0xG"],
    ("processes", 0, "threads", 0, "frames", 0, "module_offset"): [1, "1"],
}
OBJECTS = [(), ("processes", 0), ("processes", 0, "python"), ("processes", 0, "threads", 0),
           ("processes", 0, "threads", 0, "frames", 0)]


def at(document, path):
    for key in path:
        document = document[key]
    return document


def wrong_documents(good, wrong):
    """(what is wrong, document) of documents that differ from a good one in one thing."""
    for path in OBJECTS:
        for key in at(good, path):
            document = copy.deepcopy(good)
            del at(document, path)[key]
            yield "%s without %s" % (list(path), key), document
    for path, values in wrong.items():
        for value in values:
            document = copy.deepcopy(good)
            at(document, path[:-1])[path[-1]] = value
            yield "%s: %r" % (list(path), value), document


def check_schema(validator, goods):
    count = 0
    for good, wrong in zip(goods, (WRONG, WRONG_NATIVE)):
        assert validator.is_valid(good)
        for what, document in wrong_documents(good, wrong):
            assert not validator.is_valid(document), "the schema allows a document %s" % what
            count += 1
    return count


def check_page(schema):
    """Each field has a row in its table of the page, and each row is a field of the schema; return the examples."""
    with open(os.path.join(DOCS, "dump.md"), encoding="utf-8") as file:
        page = file.read()
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, flags=re.M | re.S))
    for title, name in (("The process", "process"), ("The thread", "thread"), ("The frame", "frame"),
                        ("The variable", "variable"), ("The native frame", "native_frame")):
        rows = re.findall(r"^\| `(\w+)` \|", sections[title], flags=re.M)
        assert sorted(rows) == sorted(schema["$defs"][name]["properties"]), (title, rows)
    values = re.findall(r"^\| `(\w+)` \|", sections["The status"], flags=re.M)
    assert sorted(values) == sorted(schema["$defs"]["thread"]["properties"]["status"]["enum"]), values
    native = schema["$defs"]["thread"]["properties"]["native_status"]["enum"]
    values = re.findall(r"^\| `(\w+)` \|", sections["The status of the native stack"], flags=re.M)
    assert sorted(values) == sorted(value for value in native if value), values
    return [json.loads(example) for example in re.findall(r"```json\n(.*?)```", page, flags=re.S)]


# ---- Documents ------------------------------------------------------------------------------------------------------


def check_arguments(validator, schema, executable):
    """Bytes of every kind in the command line and the thread's name; no argument at all."""
    odd = bytes(range(1, 256))
    name = b'\xff"\\\x01\xc3\xa9'
    text = "import os; open('/proc/self/comm', 'wb').write(%r); os.write(1, b'\\n'); os.read(0, 1)" % name
    words = [odd, b"", b"\xed\xa0\x80"]
    with Program([executable, "-c", text, *words]) as program:
        output = run_dump("--json", program.pid)[1]
        frames = check_document(validator, schema, output)
        process = json.loads(output)["processes"][0]
        expected = [os.fsdecode(word).encode("utf-8", "backslashreplace").decode() for word in words]
        assert process["command"][3:] == expected, process["command"]
        assert process["threads"][0]["name"] == '\\udcff"\\\x01é', process["threads"][0]["name"]
    return frames


def main():
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return run_with_jsonschema()
    with open(os.path.join(DOCS, "dump.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    refused = check_schema(validator, check_page(schema))
    with open(os.environ["PYUNWIND_PYTHONS"], encoding="utf-8") as file:
        pythons = json.load(file)
    frames = check_document(validator, schema, run_dump("--json", 2**31 - 1)[1])
    for python in pythons:
        command = [python["executable"], SUBJECT]
        with Subject("names", "calls", "deep", command=command) as first, Subject(command=command) as second:
            frames += check_document(validator, schema, run_dump("--json", first.pid, second.pid)[1])
            frames += check_document(validator, schema, run_dump("--json", "--locals", first.pid)[1], OF_A_CORE)
            frames += check_document(validator, schema, run_dump("--json", "--native", first.pid, second.pid)[1])
            frames += check_document(validator, schema, run_dump("-jln", second.pid)[1], OF_A_CORE)
        frames += check_arguments(validator, schema, python["executable"])
    assert frames > 0, "no interpreter"
    print("documents of %d interpreters, %d frames, are valid; %d wrong documents are refused" % (
        len(pythons), frames, refused))
    return 0


if __name__ == "__main__":
    sys.exit(main())
