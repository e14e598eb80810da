# interpreters: each
"""
Values at the edge of what can be believed: real ones that are larger than most, types of extensions that bear a
builtin's name, and objects whose memory was damaged. Oracles: repr(), and what CPython never writes.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_shared
from limited import TP_NAME, Limits

TARGET = pyunw.open_self()
HEAD = object.__basicsize__  # of PyObject
MINOR = sys.version_info[1]
UNREADABLE = ("<unreadable>", pyunw.PYUNW_VALUE_UNREADABLE)
checked = 0


def check(found, wanted):
    global checked
    assert found == wanted, "%s\nis not\n%s" % (found, wanted)
    checked += 1


def described(value, *limits):
    return pyunw.describe_value(TARGET, id(value), *limits)


# ---- Texts ----------------------------------------------------------------------------------------------------------


class Plain:
    pass


def check_long_texts():
    """2**24 characters and more: longer than any name."""
    for text in ("a" * (1 << 24), "é'" * (1 << 24), "日" * (1 << 24)):
        check(described(text), (Limits().of(text), pyunw.PYUNW_VALUE_TRUNCATED))
    holder = Plain()
    setattr(holder, "b" * (1 << 24), 1)
    text, flags = described(holder)
    check((text.split(": ", 1)[1], flags), ("b" * 200 + "...=1>", pyunw.PYUNW_VALUE_TRUNCATED))
    text, flags = described(type("c" * (1 << 24), (), {}))
    check((text, flags), ("<class '%s...'>" % ("c" * 63), pyunw.PYUNW_VALUE_TRUNCATED))


def check_attribute_names():
    holder = Plain()
    setattr(holder, "a\x01'\0b", 1)
    check(described(holder), ("<Plain object at %#x: a\\x01'\\x00b=1>" % id(holder), 0))


# ---- Damage ---------------------------------------------------------------------------------------------------------


class Word:
    """Bytes of a living object, which are others for a while."""

    def __init__(self, address, value, size=8):
        self.address, self.value, self.size = address, value % 2 ** (8 * size), size

    def __enter__(self):
        self.kept = ctypes.string_at(self.address, self.size)
        ctypes.memmove(self.address, self.value.to_bytes(self.size, "little"), self.size)

    def __exit__(self, *_):
        ctypes.memmove(self.address, self.kept, self.size)


def word_at(address):
    return ctypes.c_uint64.from_address(address).value


def check_names_of_types():
    """A static type of an extension may bear any name: this one has the flags and the size of range."""
    value = range(3)
    for name in (b"set", b"frozenset", b"frozendict", b"float", b"cell", b"NoneType", b"ellipsis", b"NotImplementedType",
                 b"int", b"bool", b"str", b"bytes", b"tuple", b"list", b"dict", b"type"):
        kind = ctypes.create_string_buffer(ctypes.string_at(id(range), 400))
        room = ctypes.create_string_buffer(name)
        ctypes.c_uint64.from_buffer(kind, TP_NAME).value = ctypes.addressof(room)
        copy = ctypes.create_string_buffer(ctypes.string_at(id(value), range.__basicsize__))
        ctypes.c_uint64.from_buffer(copy, HEAD - 8).value = ctypes.addressof(kind)
        address = ctypes.addressof(copy)
        check(pyunw.describe_value(TARGET, address), ("<%s object at %#x>" % (name.decode(), address), 0))


def check_numbers():
    """The most significant digit of an int is not 0."""
    for value in (2**5000, -(2**5000), 2**40, 3):
        digits = HEAD + 8
        last = digits + (abs(value).bit_length() - 1) // 30 * 4
        copy = ctypes.create_string_buffer(ctypes.string_at(id(value), last + 4) + bytes(8))
        ctypes.c_uint32.from_buffer(copy, last).value = 0
        check(pyunw.describe_value(TARGET, ctypes.addressof(copy)), UNREADABLE)


def order_of(holder):
    """Addresses of the count of an instance's attributes and of their order, which step of the order."""
    if MINOR == 11:
        values = word_at(id(holder) - 4 * 8)
        return values - 2, values - 3, -1
    if MINOR == 12:
        values = word_at(id(holder) - 3 * 8) + 1
        return values - 2, values - 3, -1
    values = id(holder) + type(holder).__basicsize__
    return values + 1, values + 8 + 8 * ctypes.c_uint8.from_address(values).value, 1


def check_attributes():
    class Few:
        def __init__(self):
            self.a, self.b, self.c = 1, 2, 3

    holder = Few()
    name = Few.__qualname__
    begin = "<%s object at %#x: " % (name, id(holder))
    check(described(holder), (begin + "a=1, b=2, c=3>", 0))
    count, order, step = order_of(holder)
    for index in (3, 29, 200):  # the shared table has three keys
        with Word(order + step, index, 1):
            check(described(holder), (begin + "a=1, <unreadable>>", pyunw.PYUNW_VALUE_UNREADABLE))
    for wrong in (4, 29, 255):
        with Word(count, wrong, 1):
            check(described(holder), (begin + "<unreadable>>", pyunw.PYUNW_VALUE_UNREADABLE))
    if MINOR >= 13:
        for size in (2**33, 2**63):
            with Word(id(Few) + TP_NAME + 8, size):
                check(described(holder), (begin + "<unreadable>>", pyunw.PYUNW_VALUE_UNREADABLE))
    check(described(holder), (begin + "a=1, b=2, c=3>", 0))


class Error(Exception):
    pass


def check_dictionaries():
    """An instance's pointer to its dictionary."""
    holder = Error()
    holder.field = 1
    begin = "<Error object at %#x: " % id(holder)
    check(described(holder), (begin + "field=1>", 0))
    # The same dictionary elsewhere: where none can begin, and with a type that is no dict's.
    body = ctypes.string_at(id(holder.__dict__), dict.__basicsize__)
    other = ctypes.create_string_buffer(body[:HEAD - 8] + id(list).to_bytes(8, "little") + body[HEAD:])
    shifted = ctypes.create_string_buffer(bytes(4) + body)
    for wrong in (id([1]), 64, 2**63, ctypes.addressof(shifted) + 4, ctypes.addressof(other)):
        with Word(id(holder) + Error.__dictoffset__, wrong):
            check(described(holder), (begin + "<unreadable>>", pyunw.PYUNW_VALUE_UNREADABLE))
    check(described(holder), (begin + "field=1>", 0))


# ---- Namespaces -----------------------------------------------------------------------------------------------------


def variables():
    """[(name, flags, object)] of the module level that called this function."""
    cursor, local = pyunw.pyunw_local_cursor(), pyunw.pyunw_local()
    raw = pyunw.walk(TARGET)[0][RAW_OF_CALLER]
    pyunw.check(pyunw.lib.pyunw_locals_begin(TARGET, raw, cursor))
    found = []
    while pyunw.check(pyunw.lib.pyunw_locals_next(cursor, local)) == 1:
        found.append((local.text(), local.flags, local.object))
    return found


RAW_OF_CALLER = 2  # walk(), variables()


def taken(namespace):
    namespace.update(variables=variables, found=None)
    exec("found = variables()", namespace)
    return namespace.pop("found")


def check_namespaces():
    many = {"v%d" % number: number for number in range(150000)}
    names = [name for name, _, _ in taken(many)]
    check(names[:150000], ["v%d" % number for number in range(150000)])
    for number in range(100000):
        del many["v%d" % number]
    check([name for name, _, _ in taken(many)][:50000], ["v%d" % number for number in range(100000, 150000)])


def check_damaged_names():
    """Told of a key that is a str, not of one that is none."""
    key, value = "".join(["dam", "aged"]), object()
    few = {"first": 1, 5: 2, key: value, "last": 3}
    state = id(key) + HEAD + 16
    word = Word(state, 0, 4)
    few.update(word=word, variables=variables)
    exec("word.__enter__()\ntry: last = variables()\nfinally: word.__exit__()", few)
    found = few["last"]
    check([name for name, _, _ in found][:3], ["first", "", "last"])
    check(found[1][1:], (pyunw.PYUNW_LOCAL_NAME_UNREADABLE, id(value)))


# ---- Reads ----------------------------------------------------------------------------------------------------------


class Damage(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64)
                for name in ("state", "word_odds", "refuse_odds", "reads", "damaged", "last_address")]


def open_counting(read, context):
    info = pyunw.describe_target(TARGET)
    image = pyunw.pyunw_image(size=ctypes.sizeof(pyunw.pyunw_image), read=read, context=context, may_change=1,
                              runtime=info.runtime, version=info.version, free_threaded=info.free_threaded,
                              code_type=info.code_type)
    target = pyunw.pyunw_target()
    pyunw.check(pyunw.lib.pyunw_open_image(target, image, None))
    return target, image


def check_reads():
    """What there is no room for is not read, whatever the limits."""
    helper = ctypes.CDLL(compile_shared("damage_of_locals", "damage.c", pyunwind=True))
    damage = Damage(state=1)
    target, _ = open_counting(ctypes.cast(helper.read_damaged, pyunw.pyunw_read_function), ctypes.addressof(damage))
    limits = pyunw.pyunw_value_limits(ctypes.sizeof(pyunw.pyunw_value_limits), 3, 20, 2**31 - 1)
    for value in ("a" * (1 << 20), "日" * (1 << 20), b"a" * (1 << 20), 1 << (1 << 22), ["a" * 100, "b" * (1 << 20)]):
        damage.reads = 0
        text, flags = pyunw.describe_value(target, id(value), limits, 64)
        check((text[-3:], flags), ("...", pyunw.PYUNW_VALUE_TRUNCATED))
        assert damage.reads <= 60, (damage.reads, text)


def check_errors_of_readers():
    """Whatever error a reader gives, it could not be read."""
    answer = [0]

    def read(_, address, buffer, size):
        if answer[0] == 0:
            ctypes.memmove(buffer, address, size)
        return answer[0]

    target, _ = open_counting(pyunw.pyunw_read_function(read), None)
    raw = pyunw.walk(TARGET)[0][RAW_OF_CALLER]
    cursor = pyunw.pyunw_local_cursor()
    check(pyunw.lib.pyunw_locals_begin(target, raw, cursor), 0)
    for answer[0] in (pyunw.PYUNW_ERR_FAULT, pyunw.PYUNW_ERR_TORN, pyunw.PYUNW_ERR_SYSTEM):
        check(pyunw.lib.pyunw_locals_begin(target, raw, cursor), pyunw.PYUNW_ERR_FAULT)


def main():
    check_long_texts()
    check_attribute_names()
    check_names_of_types()
    check_numbers()
    if MINOR >= 11:
        check_attributes()
    check_dictionaries()
    check_namespaces()
    check_damaged_names()
    check_reads()
    check_errors_of_readers()
    print("%d doubtful values are told as what they are" % checked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
