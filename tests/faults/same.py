"""Whether two documents of `pyunwind dump` tell the same."""

import json
import re

# What differs from run to run.
VARYING = {"uptime", "time", "fingerprint"}


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
        if wanted.get("frames") is not None and got.get("status") not in (None, "complete"):
            whole = False
        if wanted.get("frames") is not None and wanted.get("native_frames") is None and "native_frames" in got:
            wanted, got = without_native(wanted, got)
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
    if wanted != got:
        problems.append("%s is %.200r, not %.200r" % (where, got, wanted))


def without_native(wanted, got):
    """A thread of which the native stack is not known, or stands alone, has its Python frames."""
    if got["native_frames"] is None and got.get("native_status") == wanted.get("native_status"):
        return wanted, got
    return [dict(one, frames=[frame for frame in one["frames"] if frame.get("kind") != "native"], native_frames=None,
                 native_status=None) for one in (wanted, got)]


def key_of(item, key):
    return item.get(key) if isinstance(item, dict) and "kind" not in item else None


def compare_lists(wanted, got, whole, where, problems):
    if whole and len(wanted) != len(got):
        problems.append("%s has %d items, not %d" % (where, len(got), len(wanted)))
        return
    for number, item in enumerate(got):
        keys = [key for key in ("thread_id", "native_id", "pid") if key_of(item, key) is not None]
        if keys:
            others = [other for other in wanted if other.get(keys[0]) == item[keys[0]]]
        else:
            others = wanted[number:number + 1]
        if not others:
            problems.append("%s[%d] is not among what was wanted: %.200r" % (where, number, item))
        else:
            compare(others[0], item, whole, "%s[%d]" % (where, number), problems)
