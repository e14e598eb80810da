"""
C parts of Python tests, compiled by the test that needs them.

    compile_shared("name", "helper.c", pyunwind=True)   -> path of a shared library, for ctypes or LD_PRELOAD
    compile_program("name", "main.c", pyunwind=True)    -> path of a program
    preloading(path)                                    -> the LD_PRELOAD that has it loaded

A source is a path, absolute or beside the calling test; or text of C, if it holds a line break. All sources of one that
ends with .cc are C++. pyunwind=True lets it
include <pyunwind.h> and links it with the libpyunwind.so under test. What was compiled is kept in
$PYUNWIND_BUILD/tests-cache under a hash of all that went into it, so that the tests of every interpreter share it;
several may ask for the same at once. Where the library is sanitized (tests/run --sanitized), what is linked with it is
sanitized, too, but for what is not to be: programs that crash on purpose (sanitized=False). Runs on CPython 3.8 to 3.15.
"""

import hashlib
import os
import subprocess
import sys
import tempfile

SOURCE = os.environ["PYUNWIND_SOURCE"]
BUILD = os.environ["PYUNWIND_BUILD"]
CACHE = os.path.join(BUILD, "tests-cache")
INCLUDE = os.path.join(SOURCE, "include")
COMPILER = os.environ.get("CC", "cc").split()
CXX_COMPILER = os.environ.get("CXX", "c++").split()
STANDARDS = {"c": ["-std=gnu11"], "c++": ["-std=gnu++17"]}
SANITIZED_COMPILER = os.environ.get("PYUNWIND_SANITIZED", "").split()
FLAGS = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE"]


class CompileError(Exception):
    """The compiler refused; the message holds what it printed."""


def compile_shared(name, *sources, flags=(), pyunwind=False, sanitized=True):
    """Compile sources into a shared library; flags follow the sources, so that they may hold -l too."""
    return _compile(name + ".so", sources, ["-shared", "-fPIC"], list(flags), pyunwind, sanitized)


def compile_program(name, *sources, flags=(), pyunwind=False, sanitized=True):
    """Compile sources into a program; it exports its symbols to what it loads, as Python's executable does."""
    return _compile(name, sources, ["-rdynamic"], list(flags), pyunwind, sanitized)


def preloading(*libraries):
    """LD_PRELOAD for these libraries, behind what is preloaded already: a sanitizer's runtime comes before all."""
    return " ".join(os.environ.get("LD_PRELOAD", "").split() + list(libraries))


def _compile(name, sources, kind, flags, pyunwind, sanitized):
    texts = [_read_source(source) for source in sources]
    if pyunwind:
        flags = ["-I" + INCLUDE] + flags + ["-L" + BUILD, "-lpyunwind", "-Wl,-rpath," + BUILD]
    language = "c++" if any(source.endswith(".cc") for source in sources) else "c"
    compiler = CXX_COMPILER if language == "c++" else COMPILER
    if SANITIZED_COMPILER and sanitized and any("pyunwind" in flag for flag in flags):
        compiler = SANITIZED_COMPILER
    command = compiler + STANDARDS[language] + FLAGS + kind
    digest = _digest(command + flags, texts, _headers() if pyunwind else [])
    path = os.path.join(CACHE, digest, name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
            made = os.path.join(folder, name)
            _run(command + ["-o", made] + _source_files(sources, texts, folder) + flags)
            try:
                os.link(made, path)  # at once: who asks for the same meanwhile sees nothing or all of it
            except FileExistsError:  # the first stays: a process that loads it twice must get the same file twice
                pass
    return path


def _is_text(source):
    return "\n" in source


def _beside_test(source):
    """A relative path is one beside the program that runs."""
    return os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), source)


def _read_source(source):
    if _is_text(source):
        return source
    with open(_beside_test(source), encoding="utf-8") as file:
        return file.read()


def _source_files(sources, texts, folder):
    files = []
    for number, (source, text) in enumerate(zip(sources, texts)):
        if _is_text(source):
            path = os.path.join(folder, "source%d.c" % number)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            path = _beside_test(source)
        files.append(path)
    return files


def _headers():
    for entry in sorted(os.listdir(INCLUDE)):
        with open(os.path.join(INCLUDE, entry), encoding="utf-8") as file:
            yield file.read()


def _digest(words, texts, headers):
    sha = hashlib.sha256()
    for group in (words, texts, headers):
        for text in group:
            data = text.encode("utf-8")
            sha.update(b"%d:" % len(data) + data)
        sha.update(b";")
    return sha.hexdigest()[:16]


def _run(command):
    # A preloaded library is meant for the test, not for the compiler.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "PYTHON"))}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    if done.returncode != 0:
        raise CompileError("%s\n%s" % (" ".join(command), done.stdout.decode(errors="backslashreplace")))
