# interpreters: each
"""
pyunw_namespace_begin(): what modules and other dictionaries hold, against the dictionaries themselves.
"""

import os
import sys
import types

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

target = pyunw.open_self()
lib = pyunw.lib_holding_gil


def walk(namespace):
    cursor, local = pyunw.pyunw_local_cursor(), pyunw.pyunw_local()
    assert lib.pyunw_namespace_begin(target, id(namespace), cursor) == 0
    found = []
    while lib.pyunw_locals_next(cursor, local) == 1:
        assert not local.flags & ~pyunw.PYUNW_LOCAL_NAME_TRUNCATED, local.flags
        found.append((bytes(local.name).partition(b"\0")[0].decode(), local.object))
    assert lib.pyunw_locals_end(cursor) == 0
    return found


def expected(namespace):
    return [(name, id(value)) for name, value in namespace.items() if isinstance(name, str)]


def main():
    module = types.ModuleType("made")
    module.first, module.second = object(), 2
    del module.first
    module.third = None
    compared = [sys.modules, vars(os), vars(module), {}, {"one": 1, 2: "two", "drei \u00e9": 3},
                {"name%d" % n: n for n in range(5000)}, vars(types.SimpleNamespace(a=1, b=2))]
    for namespace in compared:
        assert walk(namespace) == expected(namespace), list(namespace)[:20]
    cursor = pyunw.pyunw_local_cursor()
    for other in (object(), [1], "text", (1, 2)):
        assert lib.pyunw_namespace_begin(target, id(other), cursor) == pyunw.PYUNW_ERR_CORRUPT, other
    for address in (0, 8, 3, 1 << 63):
        assert lib.pyunw_namespace_begin(target, address, cursor) == pyunw.PYUNW_ERR_CORRUPT, address
        assert lib.pyunw_locals_next(cursor, pyunw.pyunw_local()) == pyunw.PYUNW_ERR_NOT_OPEN
    assert lib.pyunw_namespace_begin(target, id(compared), None) == pyunw.PYUNW_ERR_ARGUMENT
    print("%d namespaces with %d names" % (len(compared), sum(map(len, compared))))


if __name__ == "__main__":
    main()
