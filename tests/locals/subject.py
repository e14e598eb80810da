"""
The program whose variables are looked at. Frames of every kind stand one in the other; then it prints, as one line of
JSON, what the interpreter itself says of the variables of each, innermost first, and stands until its input ends.
"""

import asyncio
import json
import os
import sys
from inspect import CO_OPTIMIZED, CO_VARARGS, CO_VARKEYWORDS

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from limited import Limits

LIMITS = Limits()


class Plain:
    def __init__(self):
        self.field, self.other = 1, "two"


def variables(frame):
    """From 3.13 on, f_locals of a module tells only of its comprehension, while that is a part of it (PEP 709)."""
    found = dict(frame.f_locals)
    if not frame.f_code.co_flags & CO_OPTIMIZED and not isinstance(frame.f_locals, dict):
        found = dict(frame.f_globals, **found)
    return {name: LIMITS.of(value) for name, value in found.items() if isinstance(name, str)}


def told(frame):
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    arguments = code.co_varnames[:count] if code.co_flags & CO_OPTIMIZED else ()
    return {
        "name": code.co_name,
        "arguments": arguments,
        "optimized": bool(code.co_flags & CO_OPTIMIZED),
        "locals": variables(frame),
    }


def tell(frame):
    frames = []
    while frame is not None:
        frames.append(told(frame))
        frame = frame.f_back
    data = (json.dumps(frames) + "\n").encode()
    while data:
        data = data[os.write(1, data):]


def stand():
    tell(sys._getframe(1)); os.read(0, 1)  # noqa: E702


def numbers(zero=0, one=1, *, minus=-1, **more):
    a, b, c, d, e = 2**29, 2**30, 2**31, -(2**31), 2**32
    f, g, h, i, j = 2**60, 2**64, -(10**50), 2**1139, -(2**5000)
    k, l, m, n, o = 1.5, 0.1, -0.0, 1e300, 5e-324  # noqa: E741
    p, q, r, s, t = float("inf"), float("-inf"), float("nan"), True, False
    texts()
    return locals()


def texts(empty="", *rest):
    plain, single, double, both = "plain", "it's", 'say "no"', "'\""
    latin, wide, astral, lone = "größe\x80\n", "日本", "😀\U0001d11e", "a\ud800\udfff"
    long, long_bytes, data = "é" * 1000, b"x" * 1000, b"\0\xff'"
    none, dots = None, ...
    containers([], {}, key=(1,))
    return locals()


def containers(first, /, second, *, key):
    nested, pair, single, empty = [1, [2, [3, [4, [5]]]]], (1, "a"), (1,), ()
    cyclic = [1]
    cyclic.append(cyclic)
    many, some, frozen = list(range(1000)), {1}, frozenset("a")
    deleted = {number: [number] for number in range(50)}
    for number in range(45):
        del deleted[number]
    removed = set(range(50)) - set(range(48))
    unbound = 1
    del unbound, number
    plain, split, kind, function = Plain(), Plain().__dict__, Plain, containers
    cells(1, 2, 3, key=4, more=5)
    return locals()


def cells(shared, own, *rest, key, **keywords):
    local, used, late = [1], "used", None

    def inner(argument, *, rest=rest):
        nonlocal late
        late = [argument, shared, used, key]
        mine = late
        (lambda value, *values: generators())(mine, shared)
        return mine, keywords

    def never():
        return unset, local

    inner(own)
    unset = never
    return unset


def generators():
    number = 5

    def generator(step):
        for index in (number, step):
            sent = yield index
            coroutines(sent)

    made = generator(2)
    next(made)
    made.send([1, 2])


def coroutines(sent):
    async def inner(depth):
        async for item in numbers_async(depth):
            arguments(*sent, **{"größe": item, "x" * 300: 1})

    async def numbers_async(depth):
        for number in range(depth):
            yield number

    asyncio.run(inner(1))


def arguments(a, b, *args, **kwargs):
    a = shadow = [a]
    del b
    [many(*range(300)) for item in range(2) if item]


def many(*args):
    names = ["v%d" % number for number in range(300)]
    source = "def wide(%s):\n    %s\n    call()\n" % (", ".join(names), "; ".join("l%s = [%s]" % (n, n) for n in names))
    made = {"call": class_body}
    exec(source, made)
    made["wide"](*args)


def class_body():
    outer = "outer"

    class Body:
        field = outer
        table = {outer: 1}

        def method(self, field=field):
            return __class__

        classes(method)


def classes(method):
    class Meta(type):
        @classmethod
        def __prepare__(cls, name, bases):
            return {"prepared": name}

    class Prepared(metaclass=Meta):
        exec("executed = [1]; stand()")


if __name__ == "__main__":
    [[numbers(0, extra=[1]) for inner in "a"] for outer in [5]]
    os._exit(0)
