"""What runs during the storm. Its names say who may call whom, as legality.py reads them: one call a line."""

import _thread
import functools
import gc
import importlib
import marshal
import os
import sys
import tempfile
import threading
import time
import weakref

try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

DEPTHS = (50, 90, 20, 400, 70, 30, 200, 60)
MADE = []  # the code of each made module, as marshal.dumps() wrote it
MADE_COUNT = 24

stopping = False
progress = {}  # of each worker: the rounds it made
pause_in_c = time.sleep  # replaced by a C function that lets go of the GIL
resident = int  # replaced by a C function: this thread stays for the whole storm
alternate_stack = int  # replaced by a C function
in_child = int  # replaced by a C function: called after a fork, in the child
raise_signal = int  # replaced by a C function: the signal of the storm, at once
failures = []  # of what a storm has to leave alone


# ---- Calls


def leaf_none():
    pass


def leaf_add(value):
    return value + 1


def leaf_same(value):
    return value


def leaf_sum(first, second=2, *rest, third=3):
    return first + second + third


def nest_0(value):
    value = nest_1(value)
    return leaf_add(value)


def nest_1(value):
    value = leaf_same(value)
    return nest_2(value)


def nest_2(value):
    value = nest_3(value)
    leaf_none()
    return value


def nest_3(value):
    leaf_none()
    value = leaf_sum(value)
    return leaf_add(value)


def short_calls():
    for value in range(40):
        leaf_none()
        leaf_add(value)
        leaf_same(value)
        nest_0(value)
        leaf_sum(value, 1, third=4)


def fib(value):
    if value < 2:
        return leaf_same(value)
    first = fib(value - 1)
    second = fib(value - 2)
    return first + second


def down_even(depth):
    if depth == 0:
        return leaf_add(depth)
    value = down_odd(depth - 1)
    return leaf_add(value)


def down_odd(depth):
    if depth == 0:
        return nest_1(depth)
    return down_even(depth - 1)


# Sixty-four locals: a chunk of the data stack (16 KiB) holds but two dozen of these frames.
def down_wide(depth):
    a = b = c = d = e = f = g = h = i = j = k = l = m = n = o = p = depth
    q = r = s = t = u = v = w = x = y = z = a0 = a1 = a2 = a3 = a4 = a5 = a
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = b8 = b9 = c0 = c1 = c2 = c3 = c4 = c5 = b
    d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = d8 = d9 = e0 = e1 = e2 = e3 = e4 = e5 = c
    if depth == 0:
        return leaf_add(e5)
    value = down_wide(depth - 1)
    return leaf_same(value)


def make_closure(depth):
    def closure(value):
        if value == 0:
            return leaf_add(depth)
        return closure(value - 1)

    return closure(5)


class Point:
    def __init__(self, first, second):
        self.first = leaf_add(first)
        self.second = second

    def point_total(self):
        return leaf_sum(self.first, self.second)


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Derived(Point):
    def __init__(self, value):
        Point.__init__(self, value, value)
        self.third = leaf_same(value)

    def __call__(self, value):
        return self.point_total()

    @property
    def half(self):
        return leaf_same(self.second)


def make_objects():
    for value in range(20):
        it_Point = Point(value, 2)
        it_Point.point_total()
        Slotted(value)
        it_Derived = Derived(value)
        it_Derived(value)
        it_Derived.half
        it_Derived.point_total()


def run_calls(depth_index):
    resident()
    while not stopping:
        depth_index += 1
        short_calls()
        fib(7)
        down_even(DEPTHS[depth_index % len(DEPTHS)])
        down_wide(DEPTHS[depth_index % len(DEPTHS)] // 2)
        make_objects()
        make_closure(depth_index)
        count_round("calls")


# ---- Callbacks from C


def key_negative(value):
    return -value


def key_nested(value):
    return nest_2(value)


def map_leaf(value):
    return leaf_add(value)


def reduce_two(first, second):
    return first + second


def filter_odd(value):
    return value % 2


def nest_callbacks(depth):
    if depth == 0:
        return leaf_add(depth)
    return list(map(nest_callbacks, (depth - 1,)))


class Ordered:
    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return self.value < other.value

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return leaf_same(self.value)

    def __getattr__(self, name):
        return leaf_none()

    def __len__(self):
        return leaf_same(3)


def compare_ordered():
    it_Ordered = [Ordered(value % 7) for value in range(12)]
    it_Ordered.sort()
    found = set(it_Ordered)
    it_Ordered[0].no_such_name
    bool(it_Ordered[0])
    return len(it_Ordered[1]) + len(found)


def short_callbacks():
    numbers = list(range(24))
    for _ in range(6):
        sorted(numbers, key=key_negative)
        list(map(leaf_none_of, numbers))
        functools.reduce(reduce_two, numbers)
        list(filter(filter_odd, numbers))
        max(numbers, key=key_negative)


def leaf_none_of(value):
    pass


def long_callbacks():
    numbers = list(range(10))
    sorted(numbers, key=key_nested)
    list(map(map_leaf, numbers))
    sorted(numbers, key=lambda value: leaf_add(value))
    nest_callbacks(24)
    compare_ordered()


def run_callbacks():
    resident()
    while not stopping:
        short_callbacks()
        long_callbacks()
        count_round("callbacks")


# ---- Generators and coroutines


def gen_count(count):
    for value in range(count):
        yield leaf_add(value)


def gen_plain(count):
    for value in range(count):
        yield value


def gen_chain(depth):
    if depth == 0:
        yield from gen_count(4)
    else:
        yield depth
        yield from gen_chain(depth - 1)


def gen_over(count):
    for value in gen_chain(count):
        value = nest_1(value)
        yield value


def gen_until_thrown(value):
    while True:
        try:
            yield leaf_same(value)
        except KeyError:
            value = leaf_add(value)
        finally:
            leaf_none()


def gen_delegating(value):
    yield from gen_until_thrown(value)


def drive_by_for():
    total = 0
    for value in gen_count(12):
        total += value
    for value in gen_over(6):
        total += leaf_same(value)
    return total


def drive_by_c():
    sum(gen_plain(30))
    sum(gen_count(20))
    list(gen_over(8))
    sorted(gen_chain(12), key=key_negative)
    functools.reduce(reduce_two, gen_count(10))
    list(map(map_leaf, gen_plain(10)))
    sum(leaf_same(value) for value in gen_plain(12))
    [leaf_add(value) for value in range(6)]
    {value: leaf_same(value) for value in range(6)}


def drive_by_hand():
    it_gen_until_thrown = gen_delegating(3)
    it_gen_delegating = it_gen_until_thrown
    next(it_gen_delegating), it_gen_until_thrown
    it_gen_delegating.throw(KeyError("again")), it_gen_until_thrown
    it_gen_delegating.close(), it_gen_until_thrown


async def coro_leaf(value):
    return leaf_add(value)


async def coro_nested(depth):
    if depth == 0:
        return await coro_leaf(depth)
    value = await coro_nested(depth - 1)
    return leaf_same(value)


async def agen_count(count):
    for value in range(count):
        yield leaf_same(value)


async def coro_over_agen(count):
    async for value in agen_count(count):
        leaf_add(value)
    return await coro_nested(5)


def drive_coroutine():
    it_coro_over_agen = coro_over_agen(5)
    try:
        it_coro_over_agen.send(None)
    except StopIteration:
        pass


def run_generators():
    resident()
    alternate_stack()
    while not stopping:
        drive_by_for()
        drive_by_c()
        drive_by_hand()
        drive_coroutine()
        count_round("generators")


# ---- Exceptions


def raise_below(depth):
    if depth == 0:
        raise LookupError("at the bottom")
    value = raise_below(depth - 1)
    return leaf_add(value)


def raise_from_c(value):
    return leaf_same(value.no_such_name)


def catch_above(depth):
    try:
        raise_below(depth)
    except LookupError as error:
        caught = leaf_same(error)
    finally:
        leaf_none()
    return caught.args


def clean_and_reraise(depth):
    try:
        return catch_deep(depth)
    finally:
        nest_3(depth)


def catch_deep(depth):
    if depth > 0:
        return clean_and_reraise(depth - 1)
    return raise_from_c(depth)


def catch_from_callbacks():
    try:
        list(map(raise_below, (4, 3)))
    except LookupError:
        leaf_none()


def throw_all():
    catch_above(12)
    catch_from_callbacks()
    try:
        clean_and_reraise(15)
    except AttributeError:
        leaf_add(1)


def run_exceptions():
    resident()
    alternate_stack()
    while not stopping:
        for _ in range(5):
            throw_all()
        count_round("exceptions")


# ---- Code objects that come and go

MADE_SOURCE = """{blank}
def made_{n}_low(value):
    value = leaf_add(value)
    return leaf_same(value + {n})

def made_{n}_gen(count):
    for value in range(count):
        yield made_{n}_low(value)

def made_{n}_high(value):
    total = 0
    for value in made_{n}_gen(3):
        total += made_{n}_low(value)
    return total

class Made_{n}:
    scale = leaf_same({n})
    def __init__(self, value):
        self.value = made_{n}_low(value)

made_{n}_high(3)
it_Made_{n} = Made_{n}(2)
sum(made_{n}_low(value) for value in range(3))
"""


def made_source(number):
    """A module of its own names, lines and file name; numbers are of one width, so that sizes are the same."""
    return MADE_SOURCE.format(blank="\n" * (number % 9), n="%02d" % number if number > 9 else "1%02d" % number)


def made_filename(number):
    return "<made %d>" % number


def prepare_made():
    for number in range(MADE_COUNT):
        code = compile(made_source(number), made_filename(number), "exec")
        MADE.append(marshal.dumps(code))


def run_made_once(number):
    it_made = marshal.loads(MADE[number % MADE_COUNT])
    exec(it_made, {"leaf_add": leaf_add, "leaf_same": leaf_same})


def compile_made_once(number):
    it_made = compile(made_source(number), made_filename(number), "exec")
    exec(it_made, {"leaf_add": leaf_add, "leaf_same": leaf_same})


def run_made(first):
    resident()
    number = first
    while not stopping:
        for _ in range(12):
            number += 1
            run_made_once(number)
        compile_made_once(number % MADE_COUNT)
        count_round("made")


# ---- Threads that come and go, and threads that wait


def thread_short(lock):
    nest_0(1)
    down_odd(25)
    sum(gen_count(5))
    run_made_once(3)
    lock.release()


def run_short(value):
    nest_0(value)
    sorted((3, 1, 2), key=key_negative)
    down_wide(30)


def run_churn_of_states():
    resident()
    while not stopping:
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(thread_short, (lock,))
        lock.acquire()
        count_round("thread states")


def run_churn_of_threads():
    resident()
    while not stopping:
        thread = threading.Thread(target=run_short, args=(1,))
        thread.start()
        thread.join()
        count_round("threads")


def wait_in_c(depth):
    if depth > 0:
        return wait_in_c(depth - 1)
    return pause_in_c(0.0005)


def run_waits():
    resident()
    while not stopping:
        wait_in_c(15)
        count_round("waits")


# ---- Modules, garbage, forks, interpreters


def prepare_imports(folder):
    """Modules that are imported again and again, in a folder of their own. Whoever gave folder takes it away."""
    made = tempfile.mkdtemp(prefix="modules-", dir=folder)
    for number in range(MADE_COUNT):
        with open(os.path.join(made, "storm_module_%d.py" % number), "w") as file:
            file.write("from workload import leaf_add, leaf_same\n" + made_source(number))
    sys.path.insert(0, made)


def run_imports():
    resident()
    number = 0
    while not stopping:
        number += 1
        name = "storm_module_%d" % (number % MADE_COUNT)
        sys.modules.pop(name, None)
        if number % MADE_COUNT == 0:
            importlib.invalidate_caches()
        __import__(name)
        count_round("imports")


class Mortal:
    def __init__(self):
        self.own = self

    def __del__(self):
        leaf_none()
        leaf_same(self)


def when_dead(reference):
    leaf_same(reference)


def run_garbage():
    resident()
    while not stopping:
        made = [Mortal() for _ in range(50)]
        references = [weakref.ref(one, when_dead) for one in made]
        del made
        gc.collect(0)
        gc.collect()
        del references
        count_round("garbage")


def work_in_child():
    for depth in (20, 60):
        raise_signal()
        down_even(depth)
        sorted((3, 1, 2), key=key_negative)
        raise_signal()
    raise_signal()


def run_forks():
    resident()
    while not stopping:
        pid = os.fork()
        if pid == 0:
            in_child()
            work_in_child()
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if status != 0:
            failures.append("a child ended with wait status %d" % status)
        count_round("forks")


IN_INTERPRETER = """
def deep(depth):
    return deep(depth - 1) if depth else sum(n for n in range(300))
deep(20)
"""


def run_interpreters():
    resident()
    while not stopping:
        made = _interpreters.create()
        _interpreters.run_string(made, IN_INTERPRETER)
        _interpreters.destroy(made)
        count_round("interpreters")


def count_round(kind):
    key = (kind, _thread.get_ident())
    progress[key] = progress.get(key, 0) + 1


CHURN = [(run_churn_of_states, ()), (run_churn_of_threads, ())]
FEW = [(run_calls, (0,)), (run_generators, ())]
VARIANTS = {
    "imports": [(run_imports, ()), (run_made, (1,))] + FEW + CHURN,
    "garbage": [(run_garbage, ()), (run_made, (1,))] + FEW + CHURN,
    "forks": [(run_forks, ())] + FEW,
    "interpreters": [(run_interpreters, ())] + FEW,
    "thousand": FEW + CHURN,
    "eight": [(run_calls, (n,)) for n in range(3)] + [(run_generators, ())] * 2 + [(run_callbacks, ())] * 2
    + [(run_made, (3,))],
    "calls": [(run_calls, (0,)), (run_calls, (3,)), (run_made, (1,))] + CHURN,
    "callbacks": [(run_callbacks, ()), (run_callbacks, ()), (run_made, (2,))] + CHURN,
    "generators": [(run_generators, ()), (run_generators, ()), (run_made, (4,))] + CHURN,
    "mixed": [
        (run_calls, (0,)),
        (run_callbacks, ()),
        (run_generators, ()),
        (run_exceptions, ()),
        (run_made, (5,)),
        (run_made, (11,)),
        (run_waits, ()),
    ]
    + CHURN,
}
