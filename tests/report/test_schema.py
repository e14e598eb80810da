# interpreters: host
# weight: heavy
"""
Reports against docs/crash.schema.json with the package jsonschema: those made by hand, and what `pyunwind report --json`
makes of unfinished ones, whole, cut and damaged; that the schema refuses what is wrong; and that docs/crash.md tells of
each of its fields.
"""

import copy
import json
import os
import random
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
DOCS = os.path.join(SOURCE, "docs")
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from reports import (PARTIAL, PARTIALS, REPORTS, check, finish, finished, native_frame, python_frame, report, run, thread,
                     write)
from validator import run_with_jsonschema

WRONG = {  # by path: values that no report may hold there
    ("schema",): ["pyunwind.crash/2", "", None],
    ("time",): ["2026-11-25", "2026-11-25T07:40:49+00:00", 1, ""],
    ("status",): ["torn", "", None],
    ("notes",): [None, [1], "a"],
    ("pid",): [0, -1, "1", 1.5],
    ("ppid",): [-1, "1"],
    ("command",): ["python3", [1]],
    ("executable",): [1, []],
    ("working_directory",): [1],
    ("cgroup",): [1],
    ("container_id",): ["", "Docker", 1],
    ("uptime",): [-1, "1"],
    ("signal",): [9, "SIGKILL"],
    ("signal", "number"): [0, "9", None],
    ("signal", "name"): ["SEGV", 1],
    ("signal", "code"): ["1", 1.5],
    ("signal", "code_name"): ["", 1],
    ("signal", "address"): ["", "0", 0, "0xG"],
    ("signal", "sender"): [1, {}, {"pid": 1}, {"pid": -1, "uid": 0}, {"pid": 1, "uid": "root"}],
    ("native_id",): [0, "1"],
    ("registers",): [[], {"rip": 1}, {"rip": "1"}, {"": "0x1"}],
    ("diagnosis",): [None, "crash"],
    ("diagnosis", "cause"): ["bad_luck", None],
    ("diagnosis", "sentence"): ["", None],
    ("diagnosis", "evidence"): [None, [1]],
    ("fatal_error",): ["a", {}, {"message": 1}],
    ("exception",): ["a", {"type": "A"}, {"type": None, "message": None}, {"type": "A", "message": 1}],
    ("fingerprint",): ["", "0123456789ABCDEF", "0123", 1],
    ("python",): ["3.12", {"version": "3.12.1"}, {"version": "2.7", "free_threaded": False}],
    ("finalizing",): [0, "no"],
    ("limits", "core"): [-1, "infinite", 1.5],
    ("memory", "resident"): [-1, "1 MB"],
    ("threads",): [None, {}, [1], [thread(0), thread(1, True)], [thread(0, True), thread(1, True)]],
    ("threads", 0, "crashed"): [None, 1],
    ("threads", 0, "state"): ["", "sleeping"],
    ("threads", 0, "status"): ["", None],
    ("threads", 0, "unconfirmed"): [-1, None],
    ("threads", 0, "native_status"): ["", "torn"],
    ("threads", 0, "native_frames"): [{}, [1]],
    ("threads", 0, "frames"): [None, [1], [{}], [{"kind": "dream"}], [{"kind": "python"}], [{"kind": "native"}],
                               [{"kind": "repeated"}], [{"kind": "repeated", "frames": 0, "count": 1}],
                               [{"kind": "repeated", "frames": 1, "count": 0}], [{"kind": "repeated", "count": 1}],
                               [{"kind": "elided"}], [{"kind": "elided", "count": 0}], [python_frame(lineno="1")],
                               [python_frame(colno=-1)], [native_frame("")], [native_frame(address=None)],
                               [native_frame(build_id="abc")], [python_frame(locals=[1])]],
    ("libraries",): [{}, [1]],
    ("libraries", 0, "path"): ["", None],
    ("libraries", 0, "begin"): [None, 1, "1"],
}
OBJECTS = [(), ("signal",), ("diagnosis",), ("exception",), ("python",), ("limits",), ("memory",), ("threads", 0),
           ("threads", 0, "frames", 0), ("threads", 0, "frames", 1), ("libraries", 0)]


def at(document, path):
    for key in path:
        document = document[key]
    return document


def wrong_documents(good):
    """(what is wrong, document) of documents that differ from a good one in one thing."""
    for path in OBJECTS:
        for key in at(good, path):
            document = copy.deepcopy(good)
            del at(document, path)[key]
            yield "%s without %s" % (list(path), key), document
    for path, values in WRONG.items():
        for value in values:
            document = copy.deepcopy(good)
            at(document, path[:-1])[path[-1]] = value
            yield "%s: %r" % (list(path), value), document


def check_schema(validator):
    count = 0
    for what, document in wrong_documents(report()):
        check(not validator.is_valid(document), "the schema allows a report", what)
        count += 1
    return count


def rows_of(section):
    return sorted(re.findall(r"^\| `(\w+)` \|", section, flags=re.M))


def check_page(validator, schema):
    """Each field has a row in its table of the page, and each row is a field of the schema; the example is valid."""
    with open(os.path.join(DOCS, "crash.md"), encoding="utf-8") as file:
        page = file.read()
    sections = dict(re.findall(r"^##+ (.*?)\n(.*?)(?=^##+ |\Z)", page, flags=re.M | re.S))
    check(rows_of(sections["The report"]) == sorted(schema["properties"]), rows_of(sections["The report"]))
    for title, name in (("The signal", "signal"), ("The thread", "thread")):
        check(rows_of(sections[title]) == sorted(schema["$defs"][name]["properties"]), title)
    causes, fields = (sections["The diagnosis"].split("| cause |")[number] for number in (1, 0))
    check(rows_of(fields) == sorted(schema["$defs"]["diagnosis"]["properties"]), fields)
    told = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?`) \|", causes, flags=re.M)))
    check(sorted(told) == sorted(schema["$defs"]["diagnosis"]["properties"]["cause"]["enum"]), told)
    more = [*schema["properties"]["limits"]["properties"], *schema["properties"]["memory"]["properties"],
            *schema["$defs"]["library"]["properties"]]
    check(rows_of(sections["Limits, memory and libraries"]) == sorted(more), more)
    example = json.loads(re.search(r"```json\n(.*?)```", page, flags=re.S).group(1))
    check(validator.is_valid(example), next(validator.iter_errors(example), None))


def complain(validator, what, document):
    error = next(validator.iter_errors(document), None)
    check(error is None, what, error)


def check_reports(validator):
    """What the tests take for reports are reports, or the tests say nothing of the command."""
    for name in REPORTS:
        if not name.startswith("odd-long"):  # of a text of 200,000 bytes it says no more, and takes long
            complain(validator, name, finished(name))


def damaged_partials():
    random.seed(7)
    yield from PARTIALS.values()
    yield from (PARTIAL[:size] for size in range(40, len(PARTIAL), 23))
    for data in [PARTIAL, PARTIALS["rows"], PARTIALS["wrong-types"]] * 100:
        changed = bytearray(data)
        for _ in range(random.choice((1, 3, 10))):
            position = random.randrange(len(changed))
            changed[position:position + 1] = bytes([random.choice(b'0123456789"\\{}[],:x-\x00\xff')])
        yield bytes(changed)


def check_partials(validator, schema):
    paths = [write("%d.partial" % number, data) for number, data in enumerate(damaged_partials())]
    count = 0
    for begin in range(0, len(paths), 100):
        for line in run("--json", *paths[begin:begin + 100])[1].decode().splitlines():
            document = json.loads(line)
            complain(validator, line, document)
            check(set(document) == set(schema["properties"]), sorted(document))
            for told in document["threads"]:
                check(set(told) == set(schema["$defs"]["thread"]["properties"]), sorted(told))
            count += 1
    check(count > len(paths) * 0.9, count, "of", len(paths))
    return count


def main():
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        return run_with_jsonschema()
    with open(os.path.join(DOCS, "crash.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    refused = check_schema(validator)
    check_page(validator, schema)
    check_reports(validator)
    count = check_partials(validator, schema)
    return finish("%d reports and %d made of unfinished ones are valid; %d wrong ones are refused" % (
        len(REPORTS), count, refused))


if __name__ == "__main__":
    sys.exit(main())
