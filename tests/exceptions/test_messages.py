# interpreters: each
"""
pyunw_describe_exception() of the interpreter's own exceptions against traceback and str(): builtin ones of every kind,
with arguments of every kind, subclasses with and without a __str__ of their own, names of every kind; as objects and,
raised by C code, before they are made.
"""

import ctypes
import os
import sys

import exceptions
import pyunw
from compile import compile_shared

TARGET = pyunw.open_self()
RAISED = ctypes.PyDLL(compile_shared("raised", "raised.c", pyunwind=True)).find_while_raised
RAISED.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.py_object, ctypes.c_void_p,
                   ctypes.POINTER(pyunw.pyunw_exception), ctypes.POINTER(pyunw.pyunw_exception_text)]
TRUNCATED, UNREADABLE = pyunw.PYUNW_EXCEPTION_MESSAGE_TRUNCATED, pyunw.PYUNW_EXCEPTION_MESSAGE_UNREADABLE
IS_ARGUMENTS = pyunw.PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS
ROOM = pyunw.PYUNW_EXCEPTION_MESSAGE_SIZE
compared = 0


class Plain(Exception):
    pass


class Coded(Plain):
    def __init__(self, code, *arguments):
        super().__init__(*arguments)
        self.code = code


class Key(KeyError):
    pass


class Both(ValueError, KeyError):
    pass


class Missing(FileNotFoundError):
    pass


class Spoken(Exception):
    def __str__(self):
        return "never called"


class SpokenChild(Spoken, OSError):
    pass


class Silent(KeyError):
    __str__ = Exception.__str__


class Repeated(Exception):
    __str__ = object.__str__


class Elsewhere(Exception):
    __module__ = "a.package"


class Builtin(Exception):
    __module__ = "builtins"


class Outer:
    class Inner(Exception):
        __module__ = "größe"


class Text(str):
    pass


def local_class():
    class Local(Exception):
        a = b = c = d = 1

    Local.__module__ = "m"
    return Local


def with_names(count):
    """Its __module__ comes last in its namespace."""
    names = {"n%d" % n: n for n in range(count)}
    names.update({"__module__": "late"})
    return type("Late", (Exception,), names)


def with_surrogate():
    made = type("Surrogate", (Exception,), {"__module__": "m"})
    made.__qualname__ = "\ud800"
    return made


ARGUMENTS = [
    (), ("plain",), ("größe 日本 😀",), ("a\nb\0c",), ("\ud800",), ("",), (None,), (5,), (1.5,), (True,), (b"data",), ((),),
    ((1, 2),), ([1, "a"],), ({"a": 1},), ("a", "b"), (1, None, ()), (2, "No such file"), ("x" * 1015,),
    tuple(range(100)),
]
CLASSES = [
    BaseException, Exception, ValueError, RuntimeError, AttributeError, NameError, ImportError, ModuleNotFoundError,
    StopIteration, SystemExit, KeyboardInterrupt, MemoryError, AssertionError, LookupError, KeyError, OSError, EOFError,
    UserWarning, FileNotFoundError, BlockingIOError, Plain, Key, Both, Missing, Silent, Elsewhere, Builtin, Outer.Inner,
    local_class(), with_names(500), type("Größe", (Key,), {}), with_surrogate(),
]


def compare(error, found, not_made=False):
    global compared
    kind, message, flags = found
    assert kind == exceptions.utf8(exceptions.type_of(error)), (kind, exceptions.type_of(error))
    assert message == exceptions.utf8(str(error)), "%r\nis not\n%r, of %r" % (message, str(error), error)
    assert flags == 0, (flags, error)
    compared += 1


def made():
    for kind in CLASSES:
        for arguments in ARGUMENTS:
            error = kind(*arguments)
            compare(error, exceptions.describe(TARGET, exceptions.of_object(error)))
    for error in special():
        compare(error, exceptions.describe(TARGET, exceptions.of_object(error)))


def special():
    for file in ("name", b"name", 5, "größe'"):
        yield OSError(2, "No such file or directory", file)
        yield OSError(18, "Invalid cross-device link", file, None, "other")
        yield Missing(2, "None", file)
    yield OSError(None, None, "name")
    yield PermissionError(13, None)
    try:
        os.stat("/no such file")
    except OSError as error:
        yield error
    for line in ("a b", "(", "x = 'é", "  y", "\t1\n        2"):
        try:
            compile(line, "/a/b.c/größe.py", "exec")
        except SyntaxError as error:
            yield error
    yield SyntaxError("only a message")
    yield SyntaxError()
    yield SyntaxError("no file", (None, 7, 1, "text"))
    yield SyntaxError("no line", ("a/b", None, 1, "text"))
    yield SyntaxError(None, ("/", 7, 1, "text"))
    yield SyntaxError(5)
    for error in (KeyError("within"), ValueError("a", 2), RuntimeError(OSError(1, "x"))):
        yield RuntimeError(error)
        yield Plain(RuntimeError(error))
    for code in ("{}['key']", "{}[1, 2]", "[][1]", "None.a", "int('x')", "1 / 0", "len(1)", "import none_such",
                 "none_such", "next(iter(()))", "1 << -1", "exit(3)", "assert 0, 'why'"):
        try:
            exec(code)
        except BaseException as error:
            yield error
    yield Coded(5, "message")
    yield Coded("only a code")
    if sys.version_info >= (3, 11):
        inner = [ValueError(1), ExceptionGroup("in", [KeyError(2)])]  # noqa: F821
        yield ExceptionGroup("one", inner[:1])  # noqa: F821
        yield ExceptionGroup("größe", inner)  # noqa: F821
        yield BaseExceptionGroup("base", inner + [KeyboardInterrupt()])  # noqa: F821
        noted = ValueError("noted")
        noted.add_note("a note")
        yield noted


def spoken():
    """What only code could tell: the arguments, and said to be so."""
    cases = [
        (Spoken(), ""), (Spoken("a"), "a"), (Spoken("a", 1), "('a', 1)"), (SpokenChild(2, "b"), "(2, 'b')"),
        (Repeated("a"), "a"), (RuntimeError(Spoken("in")), "in"),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "r"), "('ascii', b'\\xff', 0, 1, 'r')"),
        (UnicodeEncodeError("ascii", "\xff", 0, 1, "r"), "('ascii', 'ÿ', 0, 1, 'r')"),
        (UnicodeTranslateError("\xff", 0, 1, "r"), "('ÿ', 0, 1, 'r')"),
        (KeyError(Text("text")), "Text('text')"), (OSError(2, "a", Text("b")), "[Errno 2] a: Text('b')"),
    ]
    same = [
        (ValueError(int), "<class 'int'>"), (ValueError(Text("text")), "text"), (OSError(Text("a"), Text("b")), "[Errno a] b"),
    ]
    for error, wanted in cases + same:
        _, message, flags = exceptions.describe(TARGET, exceptions.of_object(error))
        assert message == wanted, (message, wanted)
        assert flags == (IS_ARGUMENTS if (error, wanted) in cases else 0), (flags, error)
    for error, wanted in same:
        assert str(error) == wanted, error
    error = ValueError(Outer())
    _, message, flags = exceptions.describe(TARGET, exceptions.of_object(error))
    assert message.startswith("<Outer object at 0x") and flags == IS_ARGUMENTS, (message, flags)


def limits():
    """What does not fit is cut between characters, and said to be cut."""
    for character in "aé日😀":
        for length in range(1000 // len(character.encode()), ROOM + 10):
            error = RuntimeError(character * length)
            _, message, flags = exceptions.describe(TARGET, exceptions.of_object(error))
            fits = length * len(character.encode()) <= ROOM - 4
            assert flags == (0 if fits else TRUNCATED), (length, flags)
            assert message == character * length if fits else message == character * (len(message) - 3) + "..."
            assert fits or len(message.encode()) > ROOM - 8
    for length in range(900, ROOM + 60):
        for error in (KeyError("a" * length), OSError(2, "x", "a" * (length - 5), None, "second"), ValueError("a" * length, 5),
                      OSError("a" * length, "b" * length)):
            _, message, flags = exceptions.describe(TARGET, exceptions.of_object(error))
            if flags == 0:
                assert message == str(error)
            else:
                assert flags == TRUNCATED and "..." in message and len(message) < ROOM, (flags, message)
                assert not message.endswith("......"), message
                whole = message[:message.index("...")]
                assert str(error).startswith(whole) and len(str(error)) > ROOM - 20, (message, len(str(error)))
    error = type("N" * 600, (Exception,), {"__module__": "m"})()
    kind, _, flags = exceptions.describe(TARGET, exceptions.of_object(error))
    assert kind == "m." + "N" * 506 + "..." and flags == pyunw.PYUNW_EXCEPTION_TYPE_TRUNCATED, (kind, flags)
    error = ValueError()
    for _ in range(10):
        error = ValueError(error)
    _, message, flags = exceptions.describe(TARGET, exceptions.of_object(error))
    assert message.startswith("<ValueError object at") and flags == IS_ARGUMENTS, (message, flags)


def raise_in_c(kind, value):
    """What is found while C code has set this; None stands for NULL."""
    exception, text = pyunw.pyunw_exception(), pyunw.pyunw_exception_text()
    found = RAISED(TARGET, kind, None if value is None else id(value), exception, text)
    assert found == 1, found
    assert exception.flags & ~pyunw.PYUNW_EXCEPTION_NOT_MADE == pyunw.PYUNW_EXCEPTION_RAISED
    return exception, (text.text("type"), text.text("message"), text.flags)


def raised():
    not_made = 0
    for kind in CLASSES:
        for arguments in ARGUMENTS:
            error = kind(*arguments)
            exception, found = raise_in_c(kind, error)
            assert exception.object == id(error) and exception.type == id(type(error))
            compare(error, found)
            # As PyErr_SetString() and Py_BuildValue() do: a value, or a tuple of them.
            value = arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], tuple) else arguments or None
            exception, found = raise_in_c(kind, value)
            made = not exception.flags & pyunw.PYUNW_EXCEPTION_NOT_MADE
            assert made == (sys.version_info >= (3, 12)), exception.flags
            not_made += not made
            if value is None or len(arguments) == 1 and arguments[0] is None:
                error = kind()  # None given as a value is no argument
            if issubclass(kind, OSError) and not made and (len(error.args) == 2 or type(error) is not kind):
                assert found[2] == IS_ARGUMENTS or type(error) is not kind, found
                continue
            if not made and issubclass(kind, OSError):
                found = found[:2] + (found[2] & ~IS_ARGUMENTS,)
            compare(error, found)
    # It has the precedence.
    try:
        raise KeyError("handled")
    except KeyError:
        exception, found = raise_in_c(ValueError, ValueError("raised"))
        assert found == ("ValueError", "raised", 0), found
    return not_made


def main():
    made()
    spoken()
    limits()
    not_made = raised()
    print("%d exceptions as traceback and str() tell them, %d before they were made" % (compared, not_made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
