"""Whether two documents of `pyunwind dump` tell the same."""

import json
import re

# What differs from run to run.
VARYING = {"uptime", "time", "fingerprint"}
EARLY = {"cut", "torn", "truncated"}  # ends of a native stack that say that it is not whole


def different(wanted, got, is_json, whole):
    """
    Where what was got tells something else than what was wanted. null is nothing told. Where it is not whole, processes,
    threads and ends may be missing, but what is there has to be right.
    """
    if not is_json:
        wanted, got = (re.sub(r"up [^\n]*", "up", text.decode("utf-8", "replace")) for text in (wanted, got))
        if got == wanted or not whole:
            return []
        frames = [line for line in wanted.splitlines() if line.startswith("    ")]
        missing = [line for line in frames if line not in got.splitlines()]
        return ["there is no line %r" % line for line in missing]
    if got == b"" and not whole:
        return []
    try:
        got = json.loads(got.decode("utf-8"))
    except ValueError as error:
        return [] if not whole else ["no JSON: %s" % error]
    problems = []
    compare(json.loads(wanted.decode("utf-8")), got, whole, "", problems)
    return problems


def compare(wanted, got, whole, where, problems):
    if got is None and wanted is not None:
        return
    if isinstance(wanted, dict) and isinstance(got, dict):
        ends_early = got.get("native_status") in EARLY and wanted.get("native_status") == "complete"
        if wanted.get("frames") is not None and got.get("status") not in (None, "complete"):
            whole = False
        if ends_early:
            compare_python(wanted, got, whole, where, problems)
            return
        if wanted.get("frames") is not None and wanted.get("native_frames") is None and "native_frames" in got:
            wanted, got = without_native(wanted, got)
        if not whole and "thread_id" in got and got["thread_id"] is None and wanted["thread_id"] is not None:
            compare_native(wanted, got, where, problems)  # Python's list of threads could not be read
            return
        for key in sorted(set(wanted) | set(got)):
            if key in VARYING or (key == "status" and "frames" in got):
                continue
            compare(wanted.get(key), got.get(key), whole, "%s.%s" % (where, key), problems)
        return
    if isinstance(wanted, list) and isinstance(got, list):
        compare_lists(wanted, got, whole, where, problems)
        return
    if isinstance(got, str) and ("<unreadable>" in got or got == "unreadable"):
        return  # a part of a value, or the status of variables
    if not whole and got == "unconfirmed" and where.endswith(".locals_status"):
        return  # the second look at them failed
    if wanted != got:
        problems.append("%s is %.200r, not %.200r" % (where, got, wanted))


def compare_python(wanted, got, whole, where, problems):
    """Of native frames some are not there; those of Python have to be."""
    known, told = (dict(thread, native_frames=None, native_status=None, frames=[
        frame for frame in thread["frames"] if frame["kind"] == "python"]) for thread in (wanted, got))
    compare(known, told, whole, where, problems)
    compare_native(wanted, got, where, problems)


def native_frames(thread):
    return [frame for frame in thread["frames"] + (thread["native_frames"] or []) if frame["kind"] == "native"]


def may_be_loop(frame):
    """Of the interpreter; the parts that some are built of have no names in a stripped file."""
    return frame["function"] is None or frame["function"].startswith("_PyEval_EvalFrameDefault")


def compare_native(wanted, got, where, problems):
    """
    From the innermost on the same; a stack that ends early has no others. One that stands alone has the loops, too, in
    whose place there are Python frames otherwise.
    """
    known = [frame["address"] for frame in native_frames(wanted)]
    told = [frame["address"] for frame in native_frames(got) if frame["address"] in known or not may_be_loop(frame)]
    if told != known[:len(told)] or (len(told) < len(known) and got["native_status"] == "complete"):
        problems.append("%s has native frames at %s, not %s" % (where, told, known))


def without_native(wanted, got):
    """A thread of which the native stack is not known, or stands alone, has its Python frames."""
    if got["native_frames"] is None and got.get("native_status") == wanted.get("native_status"):
        return wanted, got
    return [dict(one, frames=[frame for frame in one["frames"] if frame.get("kind") != "native"], native_frames=None,
                 native_status=None) for one in (wanted, got)]


def key_of(item, key):
    """What tells it from the others of its list."""
    if not isinstance(item, dict) or "kind" in item or (key == "name" and "argument" not in item):
        return None
    return item.get(key)


def are_apart(threads):
    """Before 3.11, where it could not be read which thread of the kernel's is which of Python's."""
    ids = [(thread["thread_id"], thread["native_id"]) for thread in threads if "thread_id" in thread]
    return ids and len(ids) == len(threads) and all((one is None) != (other is None) for one, other in ids)


def compare_apart(wanted, got, whole, where, problems):
    of_python = [dict(thread, native_id=None) for thread in got if thread["thread_id"] is not None]
    compare_lists(wanted, of_python, whole, where, problems)
    for thread in got:
        known = [other for other in wanted if other["native_id"] == thread["native_id"]]
        if known:
            compare_native(known[0], thread, where, problems)
        elif thread["thread_id"] is None:
            problems.append("%s: there is no thread %s" % (where, thread["native_id"]))


def compare_lists(wanted, got, whole, where, problems):
    if len(wanted) != len(got) and all(isinstance(item, dict) for item in got) and are_apart(got):
        compare_apart(wanted, got, whole, where, problems)
        return
    if whole and len(wanted) != len(got):
        problems.append("%s has %d items, not %d" % (where, len(got), len(wanted)))
        return
    for number, item in enumerate(got):
        keys = [key for key in ("thread_id", "native_id", "pid", "name") if key_of(item, key) is not None]
        if keys:
            others = [other for other in wanted if other.get(keys[0]) == item[keys[0]]]
        else:
            others = wanted[number:number + 1]
        # A variable that may have no value.
        is_unknown = not whole and isinstance(item, dict) and item.get("value", 0) is None
        if not others and not is_unknown:
            problems.append("%s[%d] is not among what was wanted: %.200r" % (where, number, item))
        elif others:
            compare(others[0], item, whole, "%s[%d]" % (where, number), problems)
