"""The table of legal stacks, made from the bytecode of the program's own sources.

Who may call whom, from which line, is written in the names:
  - a function may be called from a line that names it (as a call, or as an argument to C code that calls it);
  - a name it_X stands for an object that runs X: a generator, or an instance of the class X (any of its methods);
  - naming a class X may call its methods; the body of a class runs on the line of its `class`;
  - comprehensions, generator expressions and lambdas run on the line where they stand;
  - a function thread_X begins a stack; a function run_X is called by threading.Thread;
  - the module named "<made N>" is called by a line that names it_made.
Of the standard library's sources only the functions count, not their lines: a function may call what it names.
"""

import collections
import dis
import types

BOTTOM = 1
ANYWHERE = 2
OWN = 4

# WeakSet's callback: called when a threading.Thread dies, wherever that is.
CALLED_WHEN_OBJECTS_DIE = {"_remove"}
# Of the program: whenever garbage is collected.
CALLED_WHEN_OWN_DIE = {"__del__", "when_dead"}
# Of threading, in the child.
CALLED_AT_FORK = {"_after_fork"}
# Of threading: by C code, when a thread begins, and when an interpreter ends.
BEGIN_STACKS = {"_bootstrap", "_shutdown"}
# What the program calls of the standard library.
CALLED_IN_LIBRARY = {"Thread", "start", "join"}
CO_OPTIMIZED_AND_NEWLOCALS = 3
CO_GENERATOR = 0x20


class Function:
    """A code object of the table: its number, and for each of its lines the names that stand on it."""

    def __init__(self, number, code, owner, own):
        self.number = number
        self.code = code
        self.owner = owner  # the Function in which it is defined
        self.own = own  # of the program, not of the standard library
        self.names = collections.defaultdict(set)  # line -> names
        self.inline = collections.defaultdict(set)  # line -> Functions that run where they stand
        self.flags = 0

    @property
    def qualname(self):
        return getattr(self.code, "co_qualname", self.code.co_name)

    @property
    def is_class(self):
        flags = self.code.co_flags
        return flags & CO_OPTIMIZED_AND_NEWLOCALS != CO_OPTIMIZED_AND_NEWLOCALS and self.code.co_name != "<module>"


def all_lines(code):
    """Every line that an instruction of this code object may have; -1 for none."""
    lines = {code.co_firstlineno}
    if hasattr(code, "co_lines"):
        lines.update(-1 if line is None else line for _, _, line in code.co_lines())
    else:
        lines.update(line for _, line in dis.findlinestarts(code))
    return lines


def instructions_with_lines(code):
    starts = dict(dis.findlinestarts(code))
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        line = starts.get(instruction.offset, line)
        yield (-1 if line is None else line), instruction


def names_of(instruction):
    """The names that an instruction reads; those that it writes only where the old value may run on dying."""
    values = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
    for value in values:
        if isinstance(value, str) and (value.startswith("it_") or not instruction.opname.startswith("STORE_")):
            yield value


class Table:
    def __init__(self):
        self.functions = []
        self.by_name = collections.defaultdict(set)  # of the program
        self.external = collections.defaultdict(set)  # of the standard library
        self.classes = collections.defaultdict(set)  # name -> methods
        self.made_modules = set()

    def add_code(self, code, own=True, owner=None):
        function = Function(len(self.functions), code, owner, own)
        self.functions.append(function)
        (self.by_name if own else self.external)[code.co_name].add(function)
        if owner is not None and owner.is_class:
            self.classes[owner.code.co_name].add(function)
        if code.co_name == "<module>" and code.co_filename.startswith("<made "):
            self.made_modules.add(function)
        inner = {}
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                inner[constant] = self.add_code(constant, own, function)
        for line, instruction in instructions_with_lines(code):
            if isinstance(instruction.argval, types.CodeType):
                child = inner[instruction.argval]
                if child.is_class or child.code.co_name.startswith("<"):
                    function.inline[line].add(child)
            else:
                function.names[line].update(names_of(instruction))
                if "WITH" in instruction.opname or instruction.argval in ("__enter__", "__exit__"):
                    function.names[line].update(("__enter__", "__exit__"))
        return function

    def add_source(self, source, filename):
        self.add_code(compile(source, filename, "exec"))

    def add_library_module(self, module):
        """The functions of a module of the standard library, as they are loaded."""
        seen = set()
        waiting = list(vars(module).values())
        while waiting:
            value = waiting.pop()
            value = getattr(value, "fget", value)
            value = getattr(value, "__func__", value)
            if isinstance(value, type) and value.__module__ == module.__name__ and value not in seen:
                seen.add(value)
                waiting.extend(vars(value).values())
            elif isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
                if value.__code__ not in seen:
                    seen.add(value.__code__)
                    self.add_library_function(value.__code__)
        for function in self.functions:
            if not function.own and function.code.co_name in CALLED_WHEN_OBJECTS_DIE | CALLED_AT_FORK:
                function.flags |= ANYWHERE

    def add_library_function(self, code):
        function = self.add_code(code, own=False)
        if code.co_name in BEGIN_STACKS:
            function.flags |= BOTTOM

    def resolve(self, name, caller):
        """The functions that a name may run."""
        if name == "it_made":
            return self.made_modules
        if name.startswith("it_"):
            name = name[3:]
            return self.by_name[name] | self.classes[name]
        found = set()
        if caller.own:
            # A name of another made module is nobody's here.
            found.update(
                function
                for function in self.by_name[name] | self.classes[name]
                if not function.code.co_filename.startswith("<made ")
                or function.code.co_filename == caller.code.co_filename
            )
        elif name == "_target":
            for own_name, functions in self.by_name.items():
                if own_name.startswith("run_"):
                    found.update(functions)
        if not caller.own or name in CALLED_IN_LIBRARY:
            found.update(self.external["__init__" if name == "Thread" else name])
        return found

    def callees(self, function, line):
        if not function.own:
            return self.library_callees(function)
        found = set(function.inline[line])
        for name in function.names[line]:
            found.update(self.resolve(name, function))
        if function.owner is not None and function.code.co_name.startswith("<"):
            found.update(self.generators_given(function, line))
        return found

    def library_callees(self, function):
        """Of a function of the standard library: from any of its lines."""
        names = set().union(*function.names.values())
        found = set().union(*function.inline.values())
        # Its classes are not told apart by the names of their methods.
        if "super" in names or any(name.lstrip("_")[:1].isupper() for name in names):
            names.add("__init__")
        if "len" in names:
            names.add("__len__")
        for name in names:
            found.update(self.resolve(name, function))
        return found

    def generators_given(self, inline, line):
        """The first iterable of a comprehension or generator expression is made by the function around it."""
        for name in inline.owner.names[line]:
            for function in self.resolve(name, inline.owner):
                if function.code.co_flags & CO_GENERATOR:
                    yield function

    def finish(self):
        """Mark where stacks begin, and see that a line and a name tell one function."""
        told = {}
        for function in self.functions:
            name = function.code.co_name
            if function.own:
                function.flags |= OWN
            if function.own and name.startswith("thread_"):
                function.flags |= BOTTOM
            if function.own and name in CALLED_WHEN_OWN_DIE:
                function.flags |= ANYWHERE
            if function.own and name == "<module>" and not function.code.co_filename.startswith("<made "):
                function.flags |= BOTTOM
            for line in all_lines(function.code):
                key = (function.code.co_filename, name, function.qualname, line)
                known = told.setdefault(key, function) is function
                if not known and (function.own or line != -1):
                    raise ValueError("two functions are %r" % (key,))

    def spots(self):
        """(function, line, callees) for every line of every function."""
        for function in self.functions:
            for line in sorted(all_lines(function.code)):
                yield function, line, self.callees(function, line)


def load(table, library):
    """Hand the table to the C part."""
    spots = list(table.spots())
    count = len(table.functions)
    if library.storm_table_begin(count, len(spots)) != 0:
        raise MemoryError("the table of legal stacks")
    for function in table.functions:
        code = function.code
        texts = (code.co_filename, code.co_name, function.qualname)
        texts = [text.encode("utf-8", "surrogateescape") for text in texts]
        if library.storm_add_function(*texts, function.flags) != function.number:
            raise MemoryError("the table of legal stacks")
    for function, line, callees in spots:
        bitmap = bytearray((count + 7) // 8)
        for callee in callees:
            bitmap[callee.number // 8] |= 1 << callee.number % 8
        if library.storm_add_spot(function.number, line, bytes(bitmap)) < 0:
            raise MemoryError("the table of legal stacks")
    return count, len(spots)
