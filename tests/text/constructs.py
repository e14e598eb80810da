"""
Stacks of every construct of the language: each function below calls check() somewhere inside one. check takes
anything and returns 0. Runs on CPython 3.8 to 3.15.
"""

import asyncio
import ctypes
import functools
import gc
import importlib
import itertools
import os
import sys
import tempfile
import types

CONSTRUCTS = []


def construct(function):
    CONSTRUCTS.append(function)
    return function


# ---- Functions ------------------------------------------------------------------------------------------------------


@construct
def nested_functions(check):
    def outer():
        def inner():
            return check()

        return inner()

    outer()


@construct
def lambdas(check):
    (lambda: (lambda: check())())()


@construct
def methods(check):
    class Base:
        def method(self):
            return check()

        @classmethod
        def of_class(cls):
            return check()

        @staticmethod
        def static():
            return check()

        @property
        def value(self):
            return check()

        def __getattr__(self, name):
            return check()

    class Derived(Base):
        def method(self):
            return super().method()

    Derived().method(), Derived.of_class(), Derived.static(), Derived().value, Derived().missing


@construct
def decorators(check):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        check()
        return wrapper

    @decorate
    def decorated():
        return check()

    decorated()


@construct
def keywords_and_defaults(check):
    def function(a, *args, key=check(), **kwargs):
        return check()

    function(1, 2, 3, key=4, other=5)
    function(*[1, 2], **{"key": 3})


@construct
def a_call_over_many_lines(check):
    max(
        1,
        check(
            2,
            3,
        ),
        4,
    )


@construct
def recursion(check):
    def descend(depth):
        return descend(depth - 1) if depth else check()

    descend(80)


@construct
def recursion_through_c(check):
    def descend(depth):
        return list(map(descend, [depth - 1])) if depth else check()

    descend(20)


# ---- Generators and coroutines --------------------------------------------------------------------------------------


@construct
def generators(check):
    def generate():
        yield check()
        yield check()

    for _ in generate():
        pass
    sum(generate()), list(itertools.chain(generate(), generate()))


@construct
def generators_thrown_into(check):
    def generate():
        try:
            yield 1
        except ValueError:
            yield check()
        finally:
            check()

    generator = generate()
    next(generator)
    generator.throw(ValueError())
    generator.close()


@construct
def delegation(check):
    def delegate(depth):
        if depth:
            yield from delegate(depth - 1)
        else:
            yield check()

    list(delegate(30))


@construct
def comprehensions(check):
    [check() for _ in range(1)], {check() for _ in range(1)}, {check(): 1 for _ in range(1)}
    list(check() for _ in range(1))
    [[check() for _ in range(1)] for _ in range(1)]


@construct
def coroutines(check):
    async def inner():
        return check()

    async def outer():
        return await inner()

    try:
        outer().send(None)
    except StopIteration:
        pass


@construct
def asynchronous(check):
    async def generate():
        yield check()

    class Context:
        async def __aenter__(self):
            check()

        async def __aexit__(self, *_):
            check()

    async def main():
        async with Context():
            async for _ in generate():
                check()
        await asyncio.gather(asyncio.sleep(0), task())

    async def task():
        check()

    asyncio.run(main())


# ---- Classes --------------------------------------------------------------------------------------------------------


@construct
def class_bodies(check):
    class Outer:
        check()

        class Inner:
            check()


@construct
def metaclasses(check):
    class Meta(type):
        def __new__(mcs, *args):
            check()
            return super().__new__(mcs, *args)

        def __call__(cls, *args):
            check()
            return super().__call__(*args)

    class Made(metaclass=Meta):
        def __init_subclass__(cls):
            check()

        def __set_name__(self, owner, name):
            check()

        def __init__(self):
            check()

    class Derived(Made):
        member = Made()

    Derived()


@construct
def special_methods(check):
    class Special:
        def __format__(self, spec):
            check()
            return ""

        def __lt__(self, other):
            check()
            return False

        def __hash__(self):
            check()
            return 1

        def __eq__(self, other):
            check()
            return True

        def __enter__(self):
            check()

        def __exit__(self, *_):
            check()

        def __len__(self):
            return check()

        def __iter__(self):
            check()
            return iter(())

    special = Special()
    "%s" % f"{special}", sorted([special, special]), {special: 1}[Special()], len(special), list(special)
    with special:
        pass


# ---- Code from elsewhere --------------------------------------------------------------------------------------------


@construct
def exec_and_eval(check):
    exec("def function():\n    check()\n\n\nclass Body:\n    function()\n    check()\ncheck()\n", {"check": check})
    eval("[check() for _ in (1, 2)]", {"check": check})
    eval(compile("\n\n(lambda: check())()", "a file", "eval"), {"check": check})


@construct
def imports(check):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "imported_for_text.py"), "w") as file:
            file.write("import builtins\n\nbuiltins.check_of_import()\n")
        sys.path.insert(0, folder)
        try:
            import builtins

            builtins.check_of_import = check
            importlib.invalidate_caches()
            importlib.import_module("imported_for_text")
            del sys.modules["imported_for_text"]
            import imported_for_text  # noqa: F401
        finally:
            sys.path.remove(folder)
            sys.modules.pop("imported_for_text", None)


# ---- Called from C --------------------------------------------------------------------------------------------------


@construct
def callbacks(check):
    sorted([1, 2], key=lambda item: check())
    sorted([1, 2], key=functools.cmp_to_key(lambda one, two: check()))
    functools.reduce(lambda one, two: check(), [1, 2, 3])
    list(map(check, [1])), list(filter(check, [1])), min([1, 2], key=check)
    functools.partial(check, 1)()
    functools.lru_cache(maxsize=None)(check)()


@construct
def callbacks_of_foreign_functions(check):
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)
    callback = prototype(lambda number: check())
    callback(1)
    releasing = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    array = (ctypes.c_int * 3)(3, 1, 2)
    ctypes.CDLL(None).qsort(array, 3, ctypes.sizeof(ctypes.c_int), releasing(lambda one, two: check()))


@construct
def destructors(check):
    class Dying:
        def __del__(self):
            check()

    Dying()
    dying = Dying()
    dying.cycle = dying
    del dying
    gc.collect()


@construct
def weak_references(check):
    import weakref

    class Dying:
        pass

    dying = Dying()
    weakref.finalize(dying, check)
    del dying


# ---- Exceptions and tracing -----------------------------------------------------------------------------------------


@construct
def exceptions(check):
    def fail():
        try:
            raise ValueError
        finally:
            check()

    try:
        fail()
    except ValueError:
        check()
        try:
            raise KeyError
        except KeyError:
            check()


@construct
def tracing(check):
    def traced():
        x = 1
        return x

    def trace(frame, event, argument):
        check()
        return trace

    for install in (sys.settrace, sys.setprofile):
        install(trace)
        try:
            traced()
        finally:
            install(None)


@construct
def inside_traced_code(check):
    def trace(frame, event, argument):
        return trace

    sys.settrace(trace)
    try:
        check()
        [check() for _ in range(1)]
    finally:
        sys.settrace(None)


# ---- Names ----------------------------------------------------------------------------------------------------------


class Text(str):
    """A name need not be a plain str."""


NAMES = [
    "plain",
    "",
    "\x00",
    "nul\x00inside",
    "".join(map(chr, range(1, 0x100))),
    '"quoted"',
    "back\\slash\\n",
    "'",
    "<angle> & 100% %s",
    "\N{LATIN SMALL LETTER E WITH ACUTE}\xff",
    "\N{GREEK SMALL LETTER ALPHA}\u0100\uffff\u2028\ufeff",
    "\N{GRINNING FACE}\U00010000\U0010ffff",
    "a\N{GRINNING FACE}\xe9\u03b1",
    "\udc80\udcff",
    "\ud800",
    "\ud83d\ude00",
    "x" * 499,
    "x" * 500,
    "x" * 501,
    "x" * 5000,
    "\xe9" * 499 + "x",
    "\xe9" * 500,
    "\xe9" * 501,
    "\u03b1" * 500,
    "\u03b1" * 501,
    "\U0001f600" * 499 + "x",
    "\U0001f600" * 500,
    "\U0001f600" * 501,
    "x" * 499 + "\U0001f600" + "tail",
    Text("subclass"),
    Text("\xe9subclass\u03b1\U0001f600"),
    Text("y" * 600),
]


def with_names(filename, name):
    """A function that calls its argument, under these names."""
    code = compile("def function(check):\n    return check()\n", "file", "exec")
    (inner,) = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    names = {"co_filename": filename, "co_name": name}
    if sys.version_info >= (3, 11):
        names["co_qualname"] = name
    return types.FunctionType(inner.replace(**names), {})


@construct
def names(check):
    for name in NAMES:
        with_names("file", name)(check)
        with_names(name, "function")(check)


@construct
def lines(check):
    for line in (1, 2, 255, 256, 32767, 65536, 1000000):
        source = "\n" * (line - 1) + "check()"
        exec(compile(source, "line %d" % line, "exec"), {"check": check})


def without_lines(function):
    """The same function, of which no instruction has a line; 3.8 and 3.9 have no way to say so."""
    code = function.__code__
    if sys.version_info < (3, 11):
        pairs, rest = divmod(len(code.co_code), 254)
        table = bytes([254, 128]) * pairs + bytes([rest, 128])
    else:
        # An entry of no location (code 15) for 8 code units, and for what is left over.
        entries, rest = divmod(len(code.co_code) // 2, 8)
        table = bytes([0x80 | 15 << 3 | 7]) * entries + (bytes([0x80 | 15 << 3 | rest - 1]) if rest else b"")
    return types.FunctionType(code.replace(co_linetable=table), function.__globals__)


def lineless(action):
    return action()
