# interpreters: each
"""
Exceptions whose memory is damaged at random while it is read, and of which reads are refused: no crash, valid UTF-8
within the room, and a bounded count of reads whatever the damage.
"""

import ctypes
import os
import sys

import exceptions
import pyunw
from compile import compile_shared

ROUNDS = 1500
# Twice the slots that a reader looks at, for the class's namespace and for a value; and each byte that is written.
MOST_READS = 4 * 65536 + 16 * (pyunw.PYUNW_EXCEPTION_TYPE_SIZE + pyunw.PYUNW_EXCEPTION_MESSAGE_SIZE)
DAMAGE = os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "locals", "damage.c")
READ = ctypes.CDLL(compile_shared("damage_of_exceptions", DAMAGE, pyunwind=True)).read_damaged
ALL_FLAGS = 31


class Damage(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64)
                for name in ("state", "word_odds", "refuse_odds", "reads", "damaged", "last_address")]


class Mine(KeyError):
    __module__ = "some.where"


class Spoken(Exception):
    def __str__(self):
        return ""


def errors():
    yield from (ValueError("plain"), ValueError("größe 日本😀" * 20), Mine({"a": [1, (2,)]}), KeyError(), Spoken("a", 2))
    yield from (RuntimeError(ValueError(Mine("key"))), OSError(2, "größe", "file", None, b"other"), OSError("only"))
    yield from (SyntaxError("text", ("a/b/ö", 3, 1, "x")), SyntaxError(), SystemExit(3))
    if sys.version_info >= (3, 11):
        yield ExceptionGroup("group", [ValueError(1), KeyError(2)])  # noqa: F821


def ask(target, damage, seed, *odds):
    """What is told of the exception that is being handled."""
    damage.state = seed * 0x9E3779B97F4A7C15 % 2**64 or 1
    damage.word_odds, damage.refuse_odds, damage.reads = 0, 0, 0
    tstate = ask.tstate
    damage.word_odds, damage.refuse_odds = odds
    exception, text = pyunw.pyunw_exception(), pyunw.pyunw_exception_text()
    result = pyunw.lib.pyunw_exception_find(target, tstate, exception)
    assert result in (0, 1) or -11 <= result < 0, result
    if result != 1:
        return result
    assert exception.flags & 3 in (1, 2) and exception.flags < 8 and exception.type, exception.flags
    result = pyunw.lib.pyunw_describe_exception(target, exception, text)
    assert result in (0, pyunw.PYUNW_ERR_FAULT, pyunw.PYUNW_ERR_CORRUPT), result
    assert not text.flags & ~ALL_FLAGS, text.flags
    assert damage.reads <= MOST_READS, (damage.reads, seed)
    ask.most = max(ask.most, damage.reads)
    return result, text.text("type"), text.text("message"), text.flags


def main():
    own = pyunw.open_self()
    ask.tstate, ask.most = pyunw.current_thread(own), 0
    info, damage, target = pyunw.describe_target(own), Damage(state=1), pyunw.pyunw_target()
    image = pyunw.pyunw_image(
        size=ctypes.sizeof(pyunw.pyunw_image), read=ctypes.cast(READ, pyunw.pyunw_read_function),
        context=ctypes.addressof(damage), may_change=1, runtime=info.runtime, version=info.version,
        free_threaded=info.free_threaded, code_type=info.code_type)
    pyunw.check(pyunw.lib.pyunw_open_image(target, image, None))
    changed = asked = 0
    for error in errors():
        try:
            raise error
        except BaseException:
            whole = ask(target, damage, 1, 0, 0)
            assert whole[0] == 0 and whole[1] == exceptions.type_of(error), whole
            for seed in range(1, ROUNDS + 1):
                told = ask(target, damage, seed, seed % 40 + 2, 0 if seed % 3 else seed % 20 + 2)
                changed += told != whole
                asked += 1
            assert ask(target, damage, 1, 0, 0) == whole
    assert changed > asked // 3 and damage.damaged > 10000, (changed, damage.damaged)
    print("%d of %d exceptions told otherwise of damage, at most %d reads each" % (changed, asked, ask.most))
    return 0


if __name__ == "__main__":
    sys.exit(main())
