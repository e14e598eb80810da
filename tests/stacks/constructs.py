"""
The constructs whose stacks are compared. Each function calls reach(), which takes anything and returns 0, somewhere
inside one; its decorator names code that has to be on a stack that reach() saw, with its kind, so that a construct
that came to run something else is noticed. Runs on CPython 3.8 to 3.15.
"""

import asyncio
import ctypes
import functools
import gc
import importlib
import itertools
import operator
import os
import re
import sys
import tempfile
import threading
import types
import weakref

from pyunw import (
    PYUNW_FRAME_ASYNC_GENERATOR as ASYNC_GENERATOR,
    PYUNW_FRAME_CLASS as CLASS,
    PYUNW_FRAME_COROUTINE as COROUTINE,
    PYUNW_FRAME_FUNCTION as FUNCTION,
    PYUNW_FRAME_GENERATOR as GENERATOR,
    PYUNW_FRAME_MODULE as MODULE,
)

VERSION = sys.version_info[:2]

CONSTRUCTS = []
DEEP_CONSTRUCTS = []  # need a large stack of C and many frames


def construct(since=(3, 8), deep=False, **seen):
    """seen: name=kind; a name that is no identifier has its outer letters only: listcomp for <listcomp>."""

    def register(function):
        if VERSION >= since:
            function.seen = {name: kind for name, kind in seen.items()}
            (DEEP_CONSTRUCTS if deep else CONSTRUCTS).append(function)
        return function

    return register


# ---- Functions ------------------------------------------------------------------------------------------------------


@construct(outer=FUNCTION, inner=FUNCTION)
def nested_functions(reach):
    def outer():
        def inner():
            return reach()

        return inner()

    outer()


@construct(lambda_=FUNCTION)
def lambdas(reach):
    (lambda: (lambda: reach())())()


@construct(with_cells=FUNCTION, uses_them=FUNCTION)
def closures(reach):
    def with_cells(a, b):
        def uses_them(c=reach()):
            return reach(a, b, c)

        return uses_them()

    with_cells(1, 2)


@construct(method=FUNCTION, of_class=FUNCTION, static=FUNCTION, value=FUNCTION, __getattr__=FUNCTION)
def methods(reach):
    class Base:
        def method(self):
            return reach()

        @classmethod
        def of_class(cls):
            return reach()

        @staticmethod
        def static():
            return reach()

        @property
        def value(self):
            return reach()

        def __getattr__(self, name):
            return reach()

    class Derived(Base):
        def method(self):
            return super().method()

    Derived().method()
    Derived.of_class()
    Derived.static()
    Derived().value
    Derived().missing


@construct(decorate=FUNCTION, wrapper=FUNCTION, decorated=FUNCTION)
def decorators(reach):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        reach()
        return wrapper

    @decorate
    def decorated(*args, **kwargs):
        return reach()

    decorated(1, *(2, 3), key=4, **{"other": 5})


@construct(function=FUNCTION)
def calls_over_many_lines(reach):
    def function(a, b, c):
        return (
            a
            + reach(
                b,
                c,
            )
            + sum(
                [
                    1,
                    reach(),
                ]
            )
        )

    function(
        1,
        function(
            1,
            2,
            3,
        ),
        4,
    )


@construct(descend=FUNCTION)
def recursion_through_c(reach):
    def descend(depth):
        return list(map(descend, [depth - 1])) if depth else reach()

    descend(40)


@construct(deep=True, descend=FUNCTION)
def recursion_of_5000(reach):
    """Crosses many chunks of the data stack."""

    def descend(depth, a=1, b=2, c=3):
        d, e, f = a, b, c
        if depth == 0:
            return reach(d, e, f)
        return descend(depth - 1, d, e, f)

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(6000)
    try:
        descend(5000)
    finally:
        sys.setrecursionlimit(before)


@construct(with_a_large_frame=FUNCTION)
def large_frames(reach):
    """Each larger than a chunk of the data stack."""
    names = ["n%d" % n for n in range(5000)]
    source = "def with_a_large_frame(depth):\n    %s = [0] * 5000\n    %s\n" % (
        " = ".join(names),
        "return with_a_large_frame(depth - 1) if depth else reach()",
    )
    namespace = {"reach": reach}
    exec(source, namespace)
    namespace["with_a_large_frame"](4)


# ---- Generators and coroutines --------------------------------------------------------------------------------------


@construct(generate=GENERATOR)
def generators(reach):
    def generate():
        received = yield reach()
        yield reach(received)

    for _ in generate():
        pass
    generator = generate()
    next(generator)
    generator.send(1)


@construct(generate=GENERATOR)
def generators_driven_from_c(reach):
    def generate():
        yield reach()

    sum(generate())
    list(itertools.chain(generate(), map(operator.neg, generate())))
    min(zip(generate(), itertools.accumulate(generate())))
    [*generate()]
    (a,) = generate()


@construct(generate=GENERATOR)
def generators_thrown_into(reach):
    def generate():
        try:
            yield 1
        except ValueError:
            yield reach()
        finally:
            reach()

    generator = generate()
    next(generator)
    generator.throw(ValueError())
    generator.close()


@construct(deep=True, delegate=GENERATOR)
def delegation_of_1000(reach):
    def delegate(depth):
        if depth:
            yield from delegate(depth - 1)
        else:
            yield reach()

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        list(delegate(1000))
    finally:
        sys.setrecursionlimit(before)


@construct(genexpr=GENERATOR, listcomp=FUNCTION, setcomp=FUNCTION, dictcomp=FUNCTION)
def comprehensions(reach):
    [reach() for _ in range(1)]
    {reach() for _ in range(1)}
    {reach(): 1 for _ in range(1)}
    list(reach() for _ in range(1))
    [[reach(inner, outer) for inner in range(1)] for outer in range(1)]
    any((lambda: reach())() for _ in range(1))


@construct(inner=COROUTINE, outer=COROUTINE, __await__=GENERATOR)
def coroutines(reach):
    class Awaitable:
        def __await__(self):
            yield reach()

    async def inner():
        await Awaitable()
        return reach()

    async def outer():
        return await inner()

    coroutine = outer()
    coroutine.send(None)
    try:
        coroutine.send(None)
    except StopIteration:
        pass


@construct(old_style=GENERATOR)
def coroutines_made_of_generators(reach):
    @types.coroutine
    def old_style():
        yield reach()

    async def main():
        await old_style()

    coroutine = main()
    coroutine.send(None)
    coroutine.close()


@construct(
    generate=ASYNC_GENERATOR,
    main=COROUTINE,
    __aenter__=COROUTINE,
    __aexit__=COROUTINE,
    task=COROUTINE,
    called_soon=FUNCTION,
    run_forever=FUNCTION,
)
def under_asyncio(reach):
    async def generate():
        yield reach()
        await asyncio.sleep(0)
        yield reach()

    class Context:
        async def __aenter__(self):
            reach()

        async def __aexit__(self, *_):
            await asyncio.sleep(0)
            reach()

    def called_soon():
        reach()

    async def task():
        await asyncio.sleep(0)
        reach()

    async def main():
        asyncio.get_running_loop().call_soon(called_soon)
        async with Context():
            async for _ in generate():
                reach()
        [reach() async for _ in generate()]
        await asyncio.gather(task(), asyncio.ensure_future(task()))
        # An async generator that is left alone is closed by the loop.
        leftover = generate()
        await leftover.__anext__()

    asyncio.run(main())


@construct(generate=ASYNC_GENERATOR)
def asynchronous_generators_by_hand(reach):
    async def generate():
        try:
            received = yield reach()
            yield reach(received)
        finally:
            reach()

    generator = generate()
    for step in (generator.__anext__(), generator.asend(1), generator.aclose()):
        try:
            step.send(None)
        except (StopIteration, StopAsyncIteration):
            pass


# ---- Classes --------------------------------------------------------------------------------------------------------


@construct(Outer=CLASS, Inner=CLASS)
def class_bodies(reach):
    class Outer:
        reach()

        class Inner:
            member = [reach() for _ in range(1)]
            reach()


@construct(
    __prepare__=FUNCTION,
    __new__=FUNCTION,
    __call__=FUNCTION,
    __init_subclass__=FUNCTION,
    __set_name__=FUNCTION,
    __init__=FUNCTION,
    __instancecheck__=FUNCTION,
)
def metaclasses(reach):
    class Meta(type):
        @classmethod
        def __prepare__(mcs, *args):
            reach()
            return {}

        def __new__(mcs, *args):
            reach()
            return super().__new__(mcs, *args)

        def __call__(cls, *args):
            reach()
            return super().__call__(*args)

        def __instancecheck__(cls, other):
            reach()
            return True

    class Made(metaclass=Meta):
        def __init_subclass__(cls):
            reach()

        def __set_name__(self, owner, name):
            reach()

        def __init__(self):
            reach()

    class Derived(Made):
        member = Made()

    isinstance(1, Derived)


def construct_many(made, reach):
    """A class call specialises; the stack is looked at before, while and after it does (3.13+: with a trampoline)."""

    def make(look):
        return made(look)

    for n in range(100):
        make(reach if n in (0, 3, 50, 99) else None)


@construct(make=FUNCTION, __init__=FUNCTION)
def init_of_a_specialised_class(reach):
    class Made:
        def __init__(self, look):
            self.value = look and look()

    construct_many(Made, reach)


@construct(make=FUNCTION, __init__=FUNCTION)
def init_of_a_specialised_class_with_slots(reach):
    class Made:
        __slots__ = ("value", "other")

        def __init__(self, look):
            self.value = look and look()

    construct_many(Made, reach)


@construct(make=FUNCTION, __init__=FUNCTION, base_init=FUNCTION)
def init_that_calls_another(reach):
    class Base:
        def base_init(self, look):
            self.look = look and look()

    class Made(Base):
        def __init__(self, look):
            self.base_init(look)

    construct_many(Made, reach)


@construct(
    __format__=FUNCTION,
    __lt__=FUNCTION,
    __hash__=FUNCTION,
    __eq__=FUNCTION,
    __len__=FUNCTION,
    __iter__=FUNCTION,
    __add__=FUNCTION,
    __getitem__=FUNCTION,
    __bool__=FUNCTION,
    __get__=FUNCTION,
    __setattr__=FUNCTION,
    __missing__=FUNCTION,
    __repr__=FUNCTION,
)
def special_methods(reach):
    class Special:
        def __format__(self, spec):
            reach()
            return ""

        def __repr__(self):
            reach()
            return ""

        def __lt__(self, other):
            reach()
            return False

        def __hash__(self):
            reach()
            return 1

        def __eq__(self, other):
            reach()
            return True

        def __len__(self):
            return reach()

        def __bool__(self):
            return bool(reach())

        def __iter__(self):
            reach()
            return iter(())

        def __add__(self, other):
            return reach()

        def __getitem__(self, index):
            return reach()

        def __setattr__(self, name, value):
            reach()

        def __get__(self, instance, owner):
            return reach()

    class Holder(dict):
        descriptor = Special()

        def __missing__(self, key):
            return reach()

    special = Special()
    f"{special} {special!r}"
    sorted([special, special])
    {special: 1}[Special()]
    len(special), list(special), special + 1, special[2]
    special.attribute = 1
    Holder().descriptor, Holder()["missing"]
    if special:
        pass


# ---- Code from elsewhere --------------------------------------------------------------------------------------------

MODULE_SOURCE = """
def function():
    reach()


class Body:
    function()
    reach()


reach()
"""


def calls_global_reach():
    reach()  # noqa: F821


@construct(module=MODULE, function=FUNCTION, Body=CLASS, calls_global_reach=FUNCTION)
def executed_source(reach):
    exec(MODULE_SOURCE, {"reach": reach})
    exec(compile(MODULE_SOURCE, "a file", "exec"), {"reach": reach})
    exec("exec('reach()')", {"reach": reach})
    exec(calls_global_reach.__code__, {"reach": reach})


@construct(module=MODULE, lambda_=FUNCTION, genexpr=GENERATOR)
def evaluated_expressions(reach):
    eval("[reach() for _ in (1, 2)]", {"reach": reach})
    eval(compile("\n\n(lambda: reach())()", "a file", "eval"), {"reach": reach})
    eval("sum(reach() for _ in (1, 2))", {"reach": reach})


@construct(module=MODULE, function=FUNCTION, Body=CLASS, _find_and_load=FUNCTION, exec_module=FUNCTION)
def imported_modules(reach):
    """The frames of importlib are on the stack; those of the frozen part too."""
    name = "imported_for_stacks_%d" % next(IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, name + ".py"), "w") as file:
            file.write("from sys import reach_of_import as reach\n" + MODULE_SOURCE)
        sys.path.insert(0, folder)
        sys.reach_of_import = reach
        try:
            importlib.invalidate_caches()
            exec("import " + name)
            importlib.reload(sys.modules[name])
        finally:
            sys.path.remove(folder)
            sys.modules.pop(name, None)
            del sys.reach_of_import


IMPORTED = itertools.count()


# ---- Called from C --------------------------------------------------------------------------------------------------


@construct(key=FUNCTION, compare=FUNCTION, fold=FUNCTION, once=FUNCTION, replace=FUNCTION, sentinel=FUNCTION)
def callbacks(reach):
    def key(item):
        return reach()

    def compare(one, two):
        return reach()

    def fold(one, two):
        return reach()

    @functools.lru_cache(maxsize=None)
    def once(n):
        return reach()

    def replace(match):
        return str(reach())

    def sentinel():
        return reach()

    sorted([1, 2], key=key)
    sorted([1, 2], key=functools.cmp_to_key(compare))
    functools.reduce(fold, [1, 2, 3])
    list(map(key, [1])), list(filter(key, [1])), min([1, 2], key=key), [2, 1].sort(key=key)
    functools.partial(once, 1)()
    re.sub("a", replace, "a")
    list(iter(sentinel, 0))
    list(map(reach, [1]))


@construct(callback=FUNCTION, ordered=FUNCTION)
def callbacks_of_foreign_functions(reach):
    def callback(number):
        return reach()

    def ordered(one, two):
        reach()
        return 0

    ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)(callback)(1)
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(callback)(1)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    numbers = (ctypes.c_int * 2)(3, 1)
    for dll in (ctypes.CDLL(None), ctypes.PyDLL(None)):
        dll.qsort(numbers, ctypes.c_size_t(2), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int)), prototype(ordered))


@construct(__del__=FUNCTION)
def destructors(reach):
    class Dying:
        def __del__(self):
            reach()

    Dying()
    dying = Dying()
    dying.cycle = dying
    del dying
    gc.collect()


@construct(dead=FUNCTION)
def weak_references(reach):
    class Dying:
        pass

    def dead(*_):
        reach()

    dying = Dying()
    reference = weakref.ref(dying, dead)
    weakref.finalize(dying, dead)
    del dying
    assert reference() is None


@construct(collection=FUNCTION)
def callbacks_of_the_collector(reach):
    def collection(phase, info):
        reach()

    gc.callbacks.append(collection)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(collection)


# ---- Exceptions and tracing -----------------------------------------------------------------------------------------


@construct(fail=FUNCTION, __exit__=FUNCTION, suppressed=FUNCTION)
def exceptions_in_flight(reach):
    class Context:
        def __enter__(self):
            return self

        def __exit__(self, kind, value, trace):
            reach()
            return True

    def fail():
        try:
            raise ValueError
        finally:
            reach()

    def suppressed():
        with Context():
            fail()
        reach()

    suppressed()
    try:
        fail()
    except ValueError as error:
        reach()
        try:
            raise KeyError from error
        except KeyError:
            reach()
    try:
        pass
    except ValueError:
        pass
    else:
        reach()


@construct(__del__=FUNCTION, leaves_a_loop=FUNCTION, leaves_a_call=FUNCTION)
def values_dropped_by_an_exception(reach):
    """Python code runs while a frame is being unwound."""

    class Dying:
        def __iter__(self):
            return self

        def __next__(self):
            return 1

        def __del__(self):
            reach()

    def fail():
        raise ValueError

    def leaves_a_loop():
        try:
            for _ in Dying():
                fail()
        except ValueError:
            reach()

    def leaves_a_call():
        print(Dying(), Dying(), fail())

    leaves_a_loop()
    try:
        leaves_a_call()
    except ValueError:
        pass


@construct(since=(3, 11), handler=FUNCTION)
def exception_groups(reach):
    source = """
def handler():
    try:
        raise ExceptionGroup("", [ValueError(), KeyError()])
    except* ValueError:
        reach()
    except* KeyError:
        reach()
"""
    namespace = {"reach": reach}
    exec(source, namespace)
    namespace["handler"]()


@construct(traced=FUNCTION, trace=FUNCTION, generate=GENERATOR)
def trace_functions(reach):
    """The trace function itself is on the stack, above the traced code."""

    def generate():
        yield 1

    def traced():
        x = sum(generate())
        return x

    def trace(frame, event, argument):
        if frame.f_code in (traced.__code__, generate.__code__):
            reach()
        return trace

    for install in (sys.settrace, sys.setprofile):
        install(trace)
        try:
            traced()
        finally:
            install(None)


@construct(traced=FUNCTION, generate=GENERATOR)
def traced_code(reach):
    """What is looked at runs under a trace function, and under a profile function."""

    def traced():
        reach()
        return sum(generate()), [reach() for _ in range(1)]

    def generate():
        yield reach()

    def trace(frame, event, argument):
        return trace

    for install in (sys.settrace, sys.setprofile):
        install(trace)
        try:
            traced()
        finally:
            install(None)


@construct(since=(3, 12), monitored=FUNCTION, callback=FUNCTION)
def monitored_code(reach):
    def monitored():
        return [1, 2]

    def callback(code, line):
        if code is monitored.__code__:
            reach()

    monitoring = sys.monitoring
    monitoring.use_tool_id(4, "stacks")
    monitoring.register_callback(4, monitoring.events.LINE, callback)
    monitoring.set_events(4, monitoring.events.LINE)
    try:
        monitored()
    finally:
        monitoring.set_events(4, 0)
        monitoring.free_tool_id(4)


# ---- Threads --------------------------------------------------------------------------------------------------------


@construct(inside=FUNCTION, _bootstrap=FUNCTION)
def threads(reach):
    def inside():
        reach()

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()


# ---- What later versions brought ------------------------------------------------------------------------------------


@construct(since=(3, 12), T=FUNCTION, generic=FUNCTION, alias=FUNCTION)
def type_parameters(reach):
    source = """
def generic[T: reach()](a=reach()):
    return T.__bound__, reach()

class Generic[T: reach()]:
    reach()

type alias[T] = reach()
generic()
alias.__value__
"""
    exec(source, {"reach": reach, "__name__": __name__})


@construct(since=(3, 14), __annotate__=FUNCTION)
def annotations(reach):
    source = """
def annotated(a: reach()):
    pass

class Annotated:
    a: reach()

annotated.__annotations__, Annotated.__annotations__
"""
    exec(source, {"reach": reach, "__name__": __name__})


@construct(since=(3, 10), matched=FUNCTION, __eq__=FUNCTION)
def patterns(reach):
    source = """
class Value:
    def __eq__(self, other):
        return reach() == 0

class Namespace:
    value = Value()

def matched(subject):
    match subject:
        case [1, Namespace.value] if reach() == 0:
            return reach()

matched([1, 2])
"""
    exec(source, {"reach": reach, "__name__": __name__})


try:
    import greenlet
except ImportError:
    pass
else:

    @construct(inside=FUNCTION)
    def greenlets(reach):
        def inside():
            reach()
            greenlet.getcurrent().parent.switch()
            reach()

        switched = greenlet.greenlet(inside)
        switched.switch()
        reach()
        switched.switch()
