# interpreters: host
# weight: heavy
"""
Markdown within every budget from 200 to 5,000 bytes: never more, valid UTF-8, the cause first, then the thread that
crashed, and nothing of the process outside a block of code. Larger budgets tell no less, up to all there is.
"""

import concurrent.futures
import os
import re
import sys

from reports import ODD_TEXTS, REPORTS, check, deep, encode, finish, odd_report, report, run, write

LEAST, MOST = 200, 5000
LARGE = 1 << 30
# Short, for 4,800 processes read each of them.
SWEPT = {
    "whole": report(),
    "deep": deep(60, command=["python3", "x" * 300]),
    "astral": odd_report("\U0001f40d" * 40 + "é"),
    "markup": odd_report(ODD_TEXTS["markup"]),
}


def sections(output):
    """The texts of the reports: each begins with the only lines that begin with "# "."""
    return [b"# " + part for part in re.split(rb"(?:^|\n)# ", output)[1:]]


def is_told(text):
    """Outside of what is indented there are headings, the last line and empty lines."""
    outside = [line for line in text.split("\n") if line and not line.startswith("    ")]
    return all(re.match(r"#{1,2} |\*Cut to fit\.\*$", line) for line in outside) and outside[0].startswith("# ")


def has_plain_markup(line):
    return re.search(r"(?<!\\)[<>`*_#|~\[\]]|@", re.sub(r"^#+ |^\*Cut.*|&#64;", "", line))


def check_one(name, budget, data):
    check(len(data) <= budget, name, budget, "took", len(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        check(False, name, budget, error)
        return ""
    check(is_told(text), name, budget, text)
    for line in text.split("\n"):
        check(line.startswith("    ") or not has_plain_markup(line), name, budget, line)
    check(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), name, budget, "control characters")
    return text


def sweep(budget):
    status, output, errors = run("--markdown", "--budget", budget, *("swept-%s.json" % name for name in SWEPT))
    check((status, errors) == (0, b""), budget, status, errors)
    # An empty line, which is not counted, is between two reports.
    parts = sections(output)
    check(len(parts) == len(SWEPT), budget, len(parts), "reports")
    return {name: check_one(name, budget, part) for name, part in zip(SWEPT, parts)}


def check_sweep():
    for name, document in SWEPT.items():
        write("swept-%s.json" % name, document)
    lengths = {name: [] for name in SWEPT}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for budget, texts in zip(range(LEAST, MOST + 1), pool.map(sweep, range(LEAST, MOST + 1))):
            for name, text in texts.items():
                lengths[name].append(len(text))
                if budget >= 400 and name == "whole":
                    check("parse_row (fast.so+0x1545)" in text, budget, text)
                if budget >= 600 and name == "deep":
                    check("Parser.level_0 " in text and "Parser.level_59 " in text, budget, text)
    for name, found in lengths.items():
        # What is made better use of: of a budget that does not hold all at least two thirds are used, from 600 on.
        for budget, length in zip(range(LEAST, MOST + 1), found):
            used = length * (4 if name == "astral" else 1)
            check(budget < 600 or length == found[-1] or used >= budget / 2, name, budget, "used only", length)
    return len(lengths) * (MOST - LEAST + 1)


def check_all_there():
    """With room enough nothing is cut, but long lines."""
    for name in ("whole", "deep", "many", "odd-markup"):
        path = write("all-%s.json" % name, REPORTS[name])
        text = run("-m", "--budget", LARGE, path)[1].decode()
        check("Cut to fit" not in text and is_told(text), name, text[-300:])
        exact = len(text.encode())
        check(run("-m", "--budget", exact, path)[1].decode() == text, name, "with just the room that it takes")
        check("Cut to fit" in run("-m", "--budget", exact - 1, path)[1].decode(), name, "with a byte less")
    text = run("-m", "--budget", LARGE, "all-deep.json")[1].decode()
    check(all("level_%d " % number in text for number in range(2000)), "a frame is missing")
    text = run("-m", "--budget", LARGE, write("long.json", REPORTS["odd-long"]))[1].decode()
    check(max(map(len, text.split("\n"))) <= 700, "a line is too long")


def check_default():
    """Without --budget 16,000 bytes, for each report; a deep stack leaves room for the other threads."""
    paths = [write("deep.json", REPORTS["deep"]), write("many.json", REPORTS["many"])]
    parts = sections(run("-m", *paths)[1])
    check(len(parts) == 2 and all(len(part) <= 16000 for part in parts), list(map(len, parts)))
    text = parts[0].decode()
    check("## Other threads" in text and "level_0 " in text and "level_1999 " in text and len(text) > 14000, text)
    check(re.search(r"\n    \(\d+ lines are left out here\)\n", text), text)
    left_out = int(re.search(r"\((\d+) lines", text).group(1))
    check(text.count("level_") + left_out == 2000, text.count("level_"), left_out)


def main():
    count = check_sweep()
    check_all_there()
    check_default()
    return finish("%d texts within their budgets" % count)


if __name__ == "__main__":
    sys.exit(main())
