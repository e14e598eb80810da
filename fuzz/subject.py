"""
The program whose snapshots are inputs of the fuzz targets: `subject.py SCENE` comes to stand in a scene, prints a line of
JSON, {name: address} of objects to be looked at alone, and stands until its input ends.

Runs on CPython 3.8 to 3.15.
"""

import json
import os
import sys
import threading

OBJECTS = {}


def stand():
    os.write(1, (json.dumps({name: hex(id(value)) for name, value in OBJECTS.items()}) + "\n").encode())
    os.read(0, 1)


# ---- Stacks ----


def plain():
    stand()


def kinds():
    def generator():
        yield (lambda: stand())()

    async def coroutine():
        for _ in generator():
            pass

    class Body:
        try:
            coroutine().send(None)
        except StopIteration:
            pass


def from_c():
    sorted([1], key=lambda item: stand())


def module():
    exec(compile("import os\ncall()\n", "/srv/module.py", "exec"), {"call": stand, "__name__": "module"})


def deep(depth=20):
    if depth > 1:
        return deep(depth - 1)
    stand()


def many_lines():
    source = "def spread(call):\n" + "    x = 1\n" * 90 + "\n" * 300 + "    call(\n\n  x, *[\n1 if x else 2]\n)\n"
    made = {}
    exec(compile(source, "spread.py", "exec"), made)
    made["spread"](lambda *_: stand())


def named(name, filename):
    made = {}
    exec(compile("def %s(call):\n    call()\n" % name, filename, "exec"), made)
    made[name](stand)


def latin():
    named("größe", "/srv/crêpe.py")


def wide():
    named("日本", "/srv/жук.py")


def astral():
    named("größe_𐐀", "😀.py")


def quoted():
    named("plain", 'quote"\\\\back\t.py')


def surrogate():
    named("plain", "lone\udc80.py")


def long_names():
    named("f" * 300, "/srv/" + "é" * 600)


def threads():
    for _ in range(2):
        stands = threading.Event()
        threading.Thread(target=lambda: (stands.set(), threading.Event().wait()), daemon=True).start()
        stands.wait()
    stand()


def interpreters():
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        kept.append(module.create())
        break
    stand()


kept = []


# ---- Variables ----


class Plain:
    def __init__(self):
        self.field, self.other = 1, "two"


class Slots:
    __slots__ = ("field",)


class Both(Slots):
    pass


class Number(int):
    pass


class Text(str):
    pass


class Entries(dict):
    pass


def arguments(first=1, *rest, key=2, **more):
    cell = first

    def inner(own=3):
        unbound = cell
        del unbound
        stand()
        return cell

    inner()


def call_arguments():
    arguments(1, 2, 3, key=4, more=5)


def class_body():
    class Body:
        field = 1
        stand()


def comprehension():
    outer = 2
    return [(outer, stand()) for item in (1,)]


def numbers():
    small, large, negative, huge = 1, 2**40, -(2**70), 2**1200
    real, tiny, infinite, nan, whole = 1.5, 5e-324, float("inf"), float("nan"), 1e22
    yes, no, none, dots, pair = True, False, None, ..., 1.5 - 2j
    stand()


def texts():
    single, double, both, control = "it's", 'say "no"', "'\"", "a\n\x80\x00"
    latin, wide, astral, lone, long = "größe", "日本\u2028", "😀", "a\ud800", "é" * 300
    data, quoted, array = b"\0\xff'", b"it's", bytearray(b"abc")
    stand()


def containers():
    empty, single, pair, items = (), (1,), (1, "a"), [1, [2, [3, [4, [5]]]]]
    cyclic = []
    cyclic.append(cyclic)
    table, other, group, frozen = {"a": 1}, {1: 2, None: ()}, {1, "b"}, frozenset([2])
    many, nothing = list(range(40)), set()
    stand()


def instances():
    plain, slots, both, number, text, entries = Plain(), Slots(), Both(), Number(3), Text("t"), Entries(a=1)
    both.more = 1
    kind, function, code, module = Plain, instances, instances.__code__, sys
    removed = {n: n for n in range(8)}
    for n in range(0, 8, 2):
        del removed[n]
    stand()


# ---- Exceptions ----


class Failure(LookupError):
    pass


class Said(Exception):
    def __str__(self):
        return "said"


def handled():
    try:
        raise Failure("a", 1)
    except Failure:
        stand()


def nested():
    def generator():
        try:
            {}["größe"]
        except KeyError:
            stand()
            yield

    try:
        open("/no such file")
    except OSError:
        list(generator())


# ---- Objects alone ----


def objects():
    big = {n: str(n) for n in range(300)}
    wide_keys = {str(n): n for n in range(70000)}
    mixed = Plain()
    mixed.__dict__[1] = 2
    OBJECTS.update(
        int=2**100, real=-1.25e-7, text="größe 日本 😀", data=b"abc\xff", pair=(1, (2, [3])), items=["a"] * 30,
        table={"a": {"b": (1.5, None)}}, split=Plain().__dict__, plain=Plain(), mixed=mixed, group={1, 2, 3}, big=big,
        wide_keys=wide_keys, kind=int, own_kind=Plain, function=objects, code=objects.__code__, builtin=len,
        number=Number(5), sub_text=Text("é"), entries=Entries(x=1), slots=Slots(), both=Both(), none=None,
        namespace=globals(), range=range(3), slice=slice(1), true=True, empty={}, frozen=frozenset("ab"),
    )
    try:
        import collections
        OBJECTS["ordered"] = collections.OrderedDict(a=1)
        OBJECTS["default"] = collections.defaultdict(int, a=1)
    except ImportError:
        pass
    stand()


def errors():
    made = [
        Exception(), ValueError("bad"), KeyError("größe"), KeyError(1, 2), OSError(2, "no", "/file"),
        OSError(2, "no", "/a", None, "/b"), OSError("one"), SystemExit(3), StopIteration((1, 2)), Failure("a", 1),
        Said("x"), ImportError("no", name="m"), SyntaxError("bad", ("f.py", 3, 4, "text")), SyntaxError("only"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"), UnicodeEncodeError("ascii", "é", 0, 1, "why"),
        ValueError(Plain()), ValueError([1, "a"]), KeyboardInterrupt(), RuntimeError("x" * 2000), IndexError(1.5),
        AttributeError("no", ), NameError("no"), KeyError(KeyError(1)), ValueError(ValueError("in")),
    ]
    if sys.version_info >= (3, 11):
        made.append(ExceptionGroup("group", [ValueError(1), KeyError(2)]))
    OBJECTS.update(("error%d" % n, error) for n, error in enumerate(made))
    stand()


SCENES = [plain, kinds, from_c, module, deep, many_lines, latin, wide, astral, surrogate, quoted, long_names, threads,
          interpreters]
VALUE_SCENES = [call_arguments, class_body, comprehension, numbers, texts, containers, instances, handled, nested]

if __name__ == "__main__":
    globals()[sys.argv[1]]()
