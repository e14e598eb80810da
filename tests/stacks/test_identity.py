# interpreters: each
"""
pyunw_identify_code(): code objects that are made and destroyed in a loop get each other's addresses; where what is at
an address now is described otherwise than what was, the identity differs. Their names and first lines are equal, so
that nothing obvious tells them apart. A live code object keeps its identity while it is run, specialised and traced.
"""

import ctypes
import gc
import os
import random
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

ROUNDS = 20000
SAME_IS_ENOUGH = sys.version_info < (3, 12)  # no co_version: what is described alike may have one identity
MEMORIES = {
    "default": pyunw.PYUNW_MEMORY_DEFAULT,
    "guarded": pyunw.PYUNW_MEMORY_GUARDED,
    "direct": pyunw.PYUNW_MEMORY_DIRECT,
}


def identify(target, code):
    identity = pyunw.pyunw_code_identity()
    pyunw.check(pyunw.lib.pyunw_identify_code(target, id(code), identity))
    return bytes(identity)


def description(code):
    """All that pyunwind ever says of a code object."""
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    return code.co_filename, code.co_name, code.co_firstlineno, table


def source_of(randomness):
    """One function: the same name in the same line, of one to four statements that stand in other lines and columns."""
    lines = ["def function(a):"]
    for _ in range(randomness.randrange(1, 5)):
        lines += [""] * randomness.randrange(3)
        lines.append("    a = " + randomness.choice(("a", "aa", "a + 1", "1 +      a", "a(a)", "[a, a]")))
    return "\n".join(lines) + "\n"


class Seen:
    """What was last at each address."""

    def __init__(self):
        self.last = {}
        self.reused = self.alike = self.confused = 0

    def look(self, address, identity, described, number):
        if address in self.last:
            before, described_before, number_before = self.last[address]
            if number != number_before and not (SAME_IS_ENOUGH and described == described_before):
                self.reused += 1
                if identity == before:
                    self.confused += 1
                    if self.confused <= 5:
                        print("0x%x: %s and %s have one identity" % (address, described_before, described))
            elif number != number_before:
                self.alike += 1
        self.last[address] = identity, described, number


def compare_reused_addresses(targets):
    randomness = random.Random(11)
    seen = {label: Seen() for label in targets}
    for number in range(ROUNDS):
        namespace = {}
        exec(compile(source_of(randomness), "source", "exec"), namespace)
        code = namespace["function"].__code__
        for label, target in targets.items():
            seen[label].look(id(code), identify(target, code), description(code), number)
        del code, namespace
    return seen


# ---- Code objects that live on --------------------------------------------------------------------------------------


def compare_stable(targets):
    """(looks at identities, how many of them had changed)"""
    compared = changed = 0
    for target in targets.values():
        for code, use in live_code():
            before = identify(target, code)
            for what in use:
                what()
                if identify(target, code) != before:
                    changed += 1
                    if changed <= 5:
                        print("%r has another identity after %s" % (code, what.__name__))
                compared += 1
            held = pyunw.pyunw_code_identity.from_buffer_copy(before)
            assert held.code == id(code)
            assert held.firstlineno == code.co_firstlineno
            assert held.filename == id(code.co_filename)
            assert held.name == id(code.co_name)
            assert SAME_IS_ENOUGH or held.version != 0
    return compared, changed


def live_code():
    """(code object, functions that may change what is inside it)"""

    def function(a=1):
        total = 0
        for n in range(10):
            total += n + a
        return total

    def generate():
        yield from range(3)

    def run_often():
        for _ in range(1000):
            function()
            list(generate())

    def run_traced():
        sys.settrace(lambda *_: None)
        try:
            run_often()
        finally:
            sys.settrace(None)

    def look():
        for code in (function.__code__, generate.__code__):
            code.co_code, list(code.co_lines()) if hasattr(code, "co_lines") else None
        gc.collect()

    def change_function():
        function.__defaults__ = (2,)
        function.__name__ = "renamed"

    use = [lambda: None, look, run_often, run_traced, change_function, run_often]
    for code in (function.__code__, generate.__code__, sys._getframe().f_code, os.path.join.__code__):
        yield code, use
    fresh = compile("a = 1\n", "".join(["never ", "hashed"]), "exec")  # str keeps its hash once it was asked for

    def hash_filename():
        hash(fresh.co_filename)

    yield fresh, [hash_filename]
    if sys.version_info >= (3, 11):
        renamed = fresh.replace(co_qualname="".join(["never", ".hashed"]))

        def hash_qualname():
            hash(renamed.co_qualname)

        yield renamed, [hash_qualname]


def compare_copies(targets):
    """Live code objects that are alike are told apart by their addresses."""
    source = source_of(random.Random(5))
    codes = [compile(source, "source", "exec") for _ in range(50)]
    for target in targets.values():
        identities = {identify(target, code) for code in codes}
        assert len(identities) == len(codes), "%d identities of %d code objects" % (len(identities), len(codes))


def refuse_others(targets):
    """What is no code object has no identity."""
    identity = pyunw.pyunw_code_identity(version=4711)
    others = [id(None), id("text"), id(compare_copies), id(type(compare_copies.__code__)), id([])]
    for label, target in targets.items():
        more = [8, 4711, (1 << 47) - 4096, (1 << 64) - 8] if label != "direct" else []
        for address in [0, *others, *more]:
            result = pyunw.lib.pyunw_identify_code(target, address, identity)
            expected = pyunw.PYUNW_ERR_FAULT, pyunw.PYUNW_ERR_CORRUPT
            assert result in expected, "0x%x: %s" % (address, pyunw.lib.pyunw_strerror(result))
            assert identity.version == 4711, "written although it failed"


def main():
    targets = {label: pyunw.open_self(memory=memory) for label, memory in MEMORIES.items()}
    pyunw.check(pyunw.lib.pyunw_trap_install())
    seen = compare_reused_addresses(targets)
    looks, changed = compare_stable(targets)
    compare_copies(targets)
    refuse_others(targets)
    confused = sum(one.confused for one in seen.values())
    one = seen["default"]
    assert one.reused > ROUNDS // 4, "addresses were used again only %d times" % one.reused
    print(
        "%d confused, %d changed; %d code objects in %d places, %d of them in the place of another (%d more described alike); "
        "%d looks at live ones" % (confused, changed, ROUNDS, len(one.last), one.reused, one.alike, looks)
    )
    return 1 if confused or changed else 0


if __name__ == "__main__":
    sys.exit(main())
