"""
For the tests of `pyunwind report`: reports and unfinished ones made by hand, each with an oddity, and the command.
"""

import copy
import json
import os
import subprocess

BUILD = os.environ["PYUNWIND_BUILD"]
COMMAND = os.path.join(BUILD, "pyunwind")
SOURCE = os.environ["PYUNWIND_SOURCE"]

failures = []


def check(condition, *words):
    if not condition:
        failures.append(" ".join(map(str, words))[:4000])
        print("WRONG:", failures[-1])


def finish(summary):
    print("%d were wrong" % len(failures) if failures else summary)
    return 1 if failures else 0


def run(*arguments, **environment):
    """(exit status, standard output, standard error): bytes, which may be anything."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYUNWIND_REPORT", "XDG_"))}
    done = subprocess.run([COMMAND, "report", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={**inherited, **environment})
    return done.returncode, done.stdout, done.stderr


def run_text(*arguments, **environment):
    status, output, errors = run(*arguments, **environment)
    return status, output.decode("utf-8"), errors.decode("utf-8")


# ---- Reports --------------------------------------------------------------------------------------------------------


def python_frame(name="parse", filename="/srv/app/parser.py", lineno=31, **more):
    return {"kind": "python", "name": name, "qualname": "Parser.%s" % name, "filename": filename, "lineno": lineno,
            "end_lineno": lineno, "colno": 4, "end_colno": 17, **more}


def native_frame(function="parse_row", **more):
    return {"kind": "native", "function": function, "filename": None, "lineno": None, "module": "/srv/app/fast.so",
            "build_id": "6196744a", "address": "0x7f144e8a3545", "module_offset": "0x1545", **more}


def thread(number=0, crashed=False, frames=None, **more):
    return {"thread_id": 139999000000000 + number, "native_id": 4711 + number, "interpreter_id": 0,
            "name": "worker-%d" % number, "state": "idle", "crashed": crashed, "holds_gil": crashed,
            "collecting_garbage": False, "frames": [python_frame()] if frames is None else frames, "unconfirmed": 0,
            "status": "complete", "native_status": None, "native_frames": None, **more}


def report(**more):
    """A whole one; more: fields in place of its own."""
    return {
        "schema": "pyunwind.crash/1", "time": "2026-11-25T07:40:49.123456Z", "status": "complete", "notes": [],
        "pid": 4711, "ppid": 1, "command": ["python3", "-m", "app", ""], "executable": "/usr/bin/python3.12",
        "working_directory": "/srv/app", "cgroup": "/system.slice/app.service", "container_id": None, "uptime": 86400.25,
        "signal": {"number": 11, "name": "SIGSEGV", "code": 1, "code_name": "SEGV_MAPERR", "address": "0x0",
                   "sender": None},
        "native_id": 4711, "registers": {"rip": "0x7f144e8a3545", "rsp": "0x7ffd00000000", "err": "0x4"},
        "diagnosis": {"cause": "null_read", "sentence": "parse_row (fast.so) read through a null pointer.",
                      "evidence": ["the fault was at 0x0, in the first page"]},
        "fatal_error": None, "exception": {"type": "ValueError", "message": "row 12"}, "fingerprint": "0123456789abcdef",
        "python": {"version": "3.12.1", "free_threaded": False}, "finalizing": False,
        "limits": {"core": 0, "address_space": "unlimited", "stack": 8388608, "open_files": 1024, "processes": None},
        "memory": {"resident": 31457280, "peak": 52428800, "virtual": 1073741824, "swap": 0, "cgroup_current": None,
                   "cgroup_limit": None, "oom_kills": None},
        "threads": [thread(0, True, [native_frame(), python_frame(), python_frame("main", lineno=7)]),
                    thread(1), thread(2), thread(3, frames=[python_frame("wait", lineno=99)])],
        "libraries": [{"path": "/srv/app/fast.so", "build_id": "6196744a", "begin": "0x7f144e8a2000",
                       "end": "0x7f144e8a9000"}],
        **more,
    }


def deep(count, **more):
    """Its stack has so many different frames."""
    frames = [python_frame("level_%d" % number, lineno=number + 1) for number in range(count)]
    return report(threads=[thread(0, True, frames), *(thread(number) for number in range(1, 4))], **more)


ODD_TEXTS = {
    "control": "a\x00b\x1b[31mc\x07\r\n\x7f\x9b d\u2028e\u202e\u2066\u200f",
    "surrogate": "\\udcff and \\ud800",
    "markup": "`*_<script>@all #12 [x](y) |~ ```\n# no",
    "astral": "\U0001f40d" * 300,
    "long": "é" * 100000,
    "empty": "",
}


def odd_report(text):
    """The text wherever there can be one."""
    locals_ = [{"name": text, "argument": True, "value": text}, {"name": None, "argument": False, "value": None}]
    frames = [
        python_frame(name=text, qualname=text, filename=text, locals=locals_, locals_status="truncated"),
        python_frame(qualname=None, name=None, filename=None, lineno=None, locals=None, locals_status="unreadable"),
        native_frame(text or None, filename=text, lineno=3),
        native_frame(None, module=text, build_id=None),
        native_frame(None, module=None, module_offset=None),
        {"kind": "repeated", "frames": 2, "count": 998}, {"kind": "repeated", "frames": 1, "count": 2**63 - 1},
        {"kind": "elided", "count": 40000},
    ]
    return report(
        notes=[text], command=[text, "", text], executable=text, working_directory=text, cgroup=text,
        diagnosis={"cause": "unknown", "sentence": text or " ", "evidence": [text]}, fatal_error={"message": text},
        exception={"type": text, "message": text}, fingerprint=None,
        threads=[thread(0, True, frames, name=text or None, native_status="cut", status="corrupt", unconfirmed=3),
                 thread(1, name=text or None, frames=frames, native_frames=frames[2:4], native_status="truncated",
                        status="torn")],
        libraries=[{"path": text or "/", "build_id": None, "begin": "0x1", "end": "0x2"}])


def nothing_known():
    """All that may be null is."""
    empty = report(time=None, status="partial", notes=["nothing"], threads=[])
    keep = ("schema", "time", "status", "notes", "diagnosis", "threads")
    empty.update({key: None for key in empty if key not in keep})
    empty["diagnosis"] = {"cause": "unknown", "sentence": "Nothing is known.", "evidence": []}
    return empty


def null_thread():
    return {**{key: None for key in thread()}, "crashed": True, "frames": [], "unconfirmed": 0, "status": "truncated"}


REPORTS = {
    "whole": report(),
    "nothing": nothing_known(),
    "unknown-thread": report(threads=[null_thread()]),
    "killed": report(native_id=None, registers=None, libraries=None, limits=None, exception=None,
                     signal={"number": 9, "name": "SIGKILL", "code": 0, "code_name": "SI_USER", "address": None,
                             "sender": {"pid": 1, "uid": 0}},
                     diagnosis={"cause": "killed", "sentence": "It was killed.", "evidence": []},
                     threads=[thread(), thread(1, thread_id=None, interpreter_id=None, frames=[native_frame()])]),
    "on-demand": report(signal=None, native_id=None,
                        diagnosis={"cause": "on_demand", "sentence": "It was asked for.", "evidence": []},
                        threads=[thread(), thread(1)]),
    "no-python": report(python=None, finalizing=None, threads=[thread(0, True, [], thread_id=None,
                                                                       interpreter_id=None)]),
    "real-time-signal": report(signal={"number": 64, "name": None, "code": -77, "code_name": None, "address": None,
                                       "sender": {"pid": 0, "uid": 4294967295}}),
    "deep": deep(2000),
    "many": report(threads=[thread(0, True), *(thread(number, frames=[python_frame("wait%d" % (number % 7))])
                                               for number in range(1, 1000))]),
    **{"odd-" + name: odd_report(text) for name, text in ODD_TEXTS.items()},
}


# ---- Unfinished ones ------------------------------------------------------------------------------------------------


def fault_record(**more):
    return {"schema": "pyunwind.fault/1", "time": "2026-11-25T07:40:49.123456Z", "pid": 4711, "native_id": 4713,
            "thread_id": 139999000000002,
            "signal": {"number": 11, "name": "SIGSEGV", "code": 1, "code_name": None, "address": "0x0", "sender": None},
            "recovered": False, "registers": {"rip": "0x7f144e8a3545", "rsp": "0x7ffd00000000"},
            "context": "0x7ffd00000010", **more}


def thread_record(number=2, frames=None, **more):
    record = {"schema": "pyunwind.thread/1", "pid": 4711, **thread(number, frames=frames)}
    for key in ("crashed", "unconfirmed", "status", "native_status", "native_frames"):
        del record[key]
    return {**record, "status": "complete", **more}  # which comes last


def note_record(note="the helper could not be started"):
    return {"schema": "pyunwind.note/1", "note": note}


def encode(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def lines(*records):
    return b"".join(encode(record) + b"\n" for record in records)


STACK = [python_frame("level_%d" % number, lineno=number + 1) for number in range(5)]
PARTIAL = lines(fault_record(), thread_record(frames=STACK), note_record(), thread_record(1), thread_record(3))
HUGE = encode(fault_record()).replace(b"139999000000002", b"9" * 400).replace(b'"pid":4711', b'"pid":1e999')


def damaged(data, at, byte):
    return data[:at] + bytes([byte]) + data[at + 1:]


PARTIALS = {
    "whole": PARTIAL,
    "fault-only": lines(fault_record()),
    "no-fault": lines(thread_record(), note_record()),
    "note-only": lines(note_record("odd \x1b[31m\x00 note")),
    "on-demand": lines(fault_record(signal=None, registers=None), thread_record()),
    "two-faults": lines(fault_record(), fault_record(native_id=4714), thread_record()),
    "same-thread-twice": lines(fault_record(), thread_record(status="corrupt", frames=STACK[:1]),
                               thread_record(frames=STACK, native_id=9999)),
    "another-thread": lines(fault_record(native_id=77, thread_id=78), thread_record()),
    "glued": encode(fault_record())[:-40] + lines(thread_record(frames=STACK)),
    "unknown-record": lines(fault_record(), {"schema": "pyunwind.weather/1"}, {"a": 1}),
    "not-utf-8": damaged(PARTIAL, PARTIAL.index(b"level_3"), 0xff),
    "nul": damaged(PARTIAL, PARTIAL.index(b"level_3") + 2, 0),
    "huge-numbers": HUGE + b"\n",
    "wrong-types": lines(
        fault_record(time="yesterday", pid=-1, native_id="4713", thread_id=1.5, registers={"rip": 1, "Q Q": "0x1"},
                     signal={"number": 11, "name": 11, "code": "1", "address": "everywhere", "sender": {"pid": 1}}),
        thread_record(frames=[1, None, [], {}, {"kind": "spaghetti"}, {"kind": "native"}, {"kind": "elided"},
                              {"kind": "repeated", "frames": 0, "count": 1}, python_frame(lineno="1", name=5, colno=-1),
                              {"kind": "python", "locals": [1, {"name": "a", "argument": True}], "locals_status": 3}],
                      state="sleepy", status="fine", name="", holds_gil=1),
        thread_record(3, frames={}), {"schema": "pyunwind.note/1", "note": 3}),
    "rows": lines(fault_record(), thread_record(frames=[native_frame(), python_frame(),
                                                        {"kind": "repeated", "frames": 1, "count": 99},
                                                        {"kind": "elided", "count": 5}, python_frame("main")])),
    "finalizing": lines(fault_record(), thread_record(state="finalizing")),
    "sent": lines(fault_record(signal={"number": 6, "name": "SIGABRT", "code": 0, "code_name": None, "address": None,
                                       "sender": {"pid": 1, "uid": 0}})),
}


def finished(name):
    return copy.deepcopy(REPORTS[name])


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else encode(data))
    return path
