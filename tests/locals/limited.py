"""
The oracle: repr() of a value, cut as pyunwind cuts it. Types whose repr() is their own are told by name and address.
"""

import ctypes

DEPTH, ITEMS, CHARACTERS = 3, 20, 200
INT_BITS = 1140  # larger ones are hexadecimal

BRACKETS = {tuple: ("(", ")"), list: ("[", "]"), dict: ("{", "}"), set: ("{", "}"), frozenset: ("frozenset({", "})")}
if "frozendict" in dir(__builtins__) or hasattr(__builtins__, "get") and "frozendict" in __builtins__:
    BRACKETS[frozendict] = ("frozendict({", "})")  # noqa: F821
SCALARS = (type(None), bool, float, type(...), type(NotImplemented))
BASES = (int, str, bytes, tuple, list, dict)  # whose subclasses are told by name and value


TP_NAME = object.__basicsize__ + 8  # behind ob_size, Include/cpython/object.h


def type_name(kind):
    """tp_name, which for a type of C code has its module, too; __qualname__ of a class."""
    name = ctypes.string_at(ctypes.c_void_p.from_address(id(kind) + TP_NAME).value).decode()
    return kind.__qualname__ if kind.__flags__ & 1 << 9 and "." not in name else name


class Limits:
    def __init__(self, depth=DEPTH, items=ITEMS, characters=CHARACTERS, with_fields=True):
        self.with_fields = with_fields
        self.depth, self.items, self.characters = depth, items, characters

    def text(self, value):
        cut = "..." if len(value) > self.characters else ""
        return repr(value[:self.characters]) + cut

    def integer(self, value):
        if value.bit_length() <= INT_BITS:
            return repr(value)
        sign, digits = "-" if value < 0 else "", "%x" % abs(value)
        return sign + "0x" + digits[:self.characters] + ("..." if len(digits) > self.characters else "")

    def items_of(self, value, depth):
        shown = []
        for item in value.items() if hasattr(value, "items") else value:
            if len(shown) == self.items:
                return shown + ["..."]
            if hasattr(value, "items"):
                shown.append(": ".join(self.of(part, depth) for part in item))
            else:
                shown.append(self.of(item, depth))
        return shown

    def container(self, value, kind, depth):
        if len(value) == 0:
            return repr(kind())
        begin, end = BRACKETS[kind]
        if depth == 0:
            return begin + "..." + end
        shown = self.items_of(value, depth - 1)
        if kind is tuple and len(value) == 1:
            end = "," + end
        return begin + ", ".join(shown) + end

    def of(self, value, depth=None):
        depth = self.depth if depth is None else depth
        kind = type(value)
        if kind in SCALARS:
            return repr(value)
        if kind is int:
            return self.integer(value)
        if kind in (str, bytes):
            return self.text(value)
        if kind in BRACKETS:
            return self.container(value, kind, depth)
        if issubclass(kind, type):
            return "<class '%s'>" % type_name(value)
        for base in BASES:
            if issubclass(kind, base):
                return "%s(%s)" % (type_name(kind), self.of(plain(value, base), depth))
        return self.instance(value, kind, depth)

    def instance(self, value, kind, depth):
        told = "<%s object at %#x" % (type_name(kind), id(value))
        fields = self.fields_of(value, kind)
        if not fields:
            return told + ">"
        if depth == 0:
            return told + ": ...>"
        shown = []
        for name, field in fields.items():
            if len(shown) == self.items:
                shown.append("...")
                break
            inside = Limits(self.depth, self.items, self.characters, False)
            shown.append("%s=%s" % (name, inside.of(field, depth - 1)))
        return told + ": " + ", ".join(shown) + ">"

    def fields_of(self, value, kind):
        """Only of the outermost of instances within each other, and of no type of the interpreter's own."""
        if not self.with_fields or not kind.__flags__ & 1 << 9:
            return None
        try:
            return object.__getattribute__(value, "__dict__")
        except AttributeError:
            return None


def plain(value, base):
    """The value as one of the base type itself, without what a subclass may have changed."""
    if base is dict:
        return {key: dict.__getitem__(value, key) for key in dict.keys(value)}
    if base in (tuple, list):
        return base(base.__iter__(value))
    if base is int:
        return int.__add__(value, 0)
    return base.__add__(value, base())
