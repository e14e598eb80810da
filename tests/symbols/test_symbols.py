# interpreters: host
"""
What the linker says of the libraries:
  - core, linked alone, asks for memcpy, memset and memcmp and for nothing else; it has no thread-local storage, no
    constructors, and reads no thread-local word but the thread pointer itself; and so do the handlers of crashes and of
    faulthandler;
  - libpyunwind.so needs libc (and the dynamic loader) and nothing else, binds at load time, and exports exactly what
    the public headers declare, with its symbol version; the archive defines no name without the prefix;
  - libpyunwind-remote.so likewise, for pyunwind_remote.h: it needs libpyunwind, libelf, libdw and libc;
  - the headers compile as C11 and as C++, each alone, before and after each other, and before and after Python.h.
The auditors are then shown objects that break each rule, and have to find it.
"""

import itertools
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["PYUNWIND_SOURCE"])
BUILD = pathlib.Path(os.environ["PYUNWIND_BUILD"])
CC = shlex.split(os.environ.get("CC", "cc"))
ALLOWED_IN_CORE = {"memcpy", "memset", "memcmp"}
HEADERS = sorted((SOURCE / "include").glob("*.h"))
REMOTE_HEADERS = [SOURCE / "include" / "pyunwind_remote.h"]
OWN_HEADERS = [header for header in HEADERS if header not in REMOTE_HEADERS]
NAMES_OF_CPYTHON = {"_Py_GetTracebackFrames"}  # no interpreter exports it: the one that the library may
STRICT = ["-fsyntax-only", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic-errors"]


def output_of(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True, **options).stdout


# ---- What a shared object made of core alone says ----


def link_alone(members, folder):
    """Link without libc, so that whatever is asked of it stays undefined."""
    result = os.path.join(folder, "alone.so")
    subprocess.run(CC + ["-shared", "-nostdlib", "-o", result, "-Wl,--whole-archive"] + [str(m) for m in members] +
                   ["-Wl,--no-whole-archive"], check=True)
    return result


def undefined_symbols(library):
    lines = output_of(["nm", "-D", "--undefined-only", str(library)]).splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def thread_local_uses(library):
    """Symbols, relocations and segments of thread-local storage."""
    found = []
    for line in output_of(["readelf", "-sW", str(library)]).splitlines():
        fields = line.split()
        if len(fields) > 7 and fields[3] == "TLS":
            found.append("symbol " + fields[7])
    for line in output_of(["readelf", "-rW", str(library)]).splitlines():
        if re.search(r"R_\w*(TLS|TPOFF|TPREL|DTPMOD|DTPOFF|DTPREL)\w*", line):
            found.append("relocation " + line.split()[2])
    if re.search(r"^\s+TLS\s", output_of(["readelf", "-lW", str(library)]), re.MULTILINE):
        found.append("segment TLS")
    return found


def segment_register_uses(library):
    """x86-64: loads through %fs, but for the thread pointer that stands at %fs:0 (a canary would stand at %fs:0x28)."""
    if platform.machine() != "x86_64":
        return []
    code = output_of(["objdump", "-d", "--no-show-raw-insn", str(library)])
    return [line.strip() for line in code.splitlines() if "%fs:" in line and not re.search(r"%fs:0x0,", line)]


def constructor_sections(library):
    sections = re.findall(r"\]\s+(\.(?:preinit_array|init_array|fini_array|ctors|dtors|init|fini)\S*)\s",
                          output_of(["readelf", "-SW", str(library)]))
    return sorted(sections)


def audit_core(members, folder):
    """{rule: what breaks it}."""
    library = link_alone(members, folder)
    return {
        "undefined": sorted(undefined_symbols(library) - ALLOWED_IN_CORE),
        "thread-local": thread_local_uses(library),
        "segment register": segment_register_uses(library),
        "constructors": constructor_sections(library),
    }


def check_core(folder):
    library = BUILD / "src" / "core" / "libcore.a"
    objects = output_of(["ar", "t", str(library)]).split()
    sources = {path.name for path in (SOURCE / "src" / "core").glob("*.c")}
    built = {os.path.basename(name)[:-len(".o")] for name in objects}
    assert built == sources, "libcore.a is not made of all of src/core: %s" % sorted(built ^ sources)
    found = audit_core([library], folder)
    assert not any(found.values()), "core breaks its promise: %s" % found
    return len(objects)


def check_handler(folder):
    """Handlers of signals keep core's rules: linked with core alone they ask for no more than that."""
    count = 0
    for name in ("crash", "faulthandler"):
        library = BUILD / "src" / name / ("lib%s-handler.a" % name)
        found = audit_core([BUILD / "src" / "core" / "libcore.a", library], folder)
        assert not any(found.values()), "the handler of %s breaks core's promise: %s" % (name, found)
        count += len(output_of(["ar", "t", str(library)]).split())
    return count


OFFENDERS = {
    "undefined": "#include <stdlib.h>\nvoid *offend(void) { return malloc(1); }",
    "thread-local": "__thread int counter; int offend(void) { return ++counter; }",
    "segment register": "void use(char *at) { *at = 0; }\nvoid offend(void) { char room[64]; use(room); }",
    "constructors": "int ready; __attribute__((constructor)) void offend(void) { ready = 1; }",
}


def check_auditor(folder):
    """Each rule, broken by a few lines of C beside core, is seen as broken."""
    for rule, text in OFFENDERS.items():
        member = os.path.join(folder, "offender.o")
        flags = ["-fPIC", "-O1", "-fno-inline"] + (["-fstack-protector-all"] if rule == "segment register" else [])
        subprocess.run(CC + flags + ["-x", "c", "-c", "-", "-o", member], input=text, universal_newlines=True,
                       check=True)
        found = audit_core([BUILD / "src" / "core" / "libcore.a", member], folder)
        if rule == "segment register" and platform.machine() != "x86_64":
            continue
        assert found[rule], "an object that breaks the rule %r went unseen: %s" % (rule, found)
    return len(OFFENDERS)


# ---- The libraries that are delivered ----


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)


def declared_functions(headers):
    """The functions that these headers declare with PYUNW_API."""
    names = set()
    for header in headers:
        text = without_comments(header.read_text())
        text = re.sub(r"^\s*#\s*define\s+PYUNW_API.*$", "", text, flags=re.MULTILINE)
        here = re.findall(r"\bPYUNW_API\b[^;{}()]*?\b(\w+)\s*\(", text)
        count = len(re.findall(r"\bPYUNW_API\b", text))
        assert len(here) == count, "%s: a PYUNW_API that declares no function" % header
        names.update(here)
    mentioned = {name for header in headers
                 for name in re.findall(r"\b(pyunw_\w+)\s*\(", without_comments(header.read_text()))}
    assert mentioned <= names, "declared without PYUNW_API: %s" % sorted(mentioned - names)
    return names


def version_node(library):
    text = without_comments((SOURCE / "src" / (library.stem + ".map")).read_text())
    return re.search(r"^(\w+)\s*\{", text, re.MULTILINE)[1]


def check_exports(library, headers):
    node = version_node(library)
    exported = {}
    for line in output_of(["nm", "-D", "--defined-only", "--with-symbol-versions", str(library)]).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the version node itself
            exported[name.partition("@")[0]] = (kind, name.partition("@")[2].lstrip("@"))
    declared = declared_functions(headers)
    assert set(exported) == declared, "exported but not declared: %s; declared but not exported: %s" % (
        sorted(set(exported) - declared), sorted(declared - set(exported)))
    for name, (kind, version) in exported.items():
        assert kind == "T", "%s is exported as %r, not as a function" % (name, kind)
        assert version == node, "%s has the version %r, not %s" % (name, version, node)
        assert name.startswith("pyunw_") or name in NAMES_OF_CPYTHON, "%s has not the prefix" % name
    return len(exported)


def check_archive(archive, headers):
    """Who links the archive gets no name that could be another's."""
    text = output_of(["nm", "-g", "--defined-only", str(archive)])
    names = {line.split()[2] for line in text.splitlines() if len(line.split()) == 3}
    bad = {name for name in names if not name.startswith("pyunw_") and name not in NAMES_OF_CPYTHON}
    assert not bad, "the archive defines names without the prefix: %s" % sorted(bad)
    declared = declared_functions(headers)
    assert declared <= names, "the archive lacks %s" % sorted(declared - names)


def check_needs(library, beside=()):
    """beside: patterns of libraries that it may need beside libc."""
    name = library.name
    dynamic = output_of(["readelf", "-dW", str(library)])
    needed = set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.*?)\]", dynamic))
    allowed = "|".join([r"libc\.so", "ld-linux", *beside])
    others = {other for other in needed if not re.match("(%s)" % allowed, other)}
    assert not others, "%s needs %s" % (name, sorted(others))
    assert "BIND_NOW" in dynamic or re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic), "%s binds lazily" % name
    assert not re.search(r"\(TEXTREL\)", dynamic), "%s has its code relocated" % name
    soname = r"\(SONAME\)\s+Library soname: \[%s\.\d+\]" % re.escape(name)
    assert re.search(soname, dynamic), "%s has no SONAME" % name
    of_python = {symbol for symbol in undefined_symbols(library) if re.match(r"_?Py", symbol)}
    assert not of_python, "%s asks for names of the interpreter: %s" % (name, sorted(of_python))
    stack = re.search(r"GNU_STACK\s.*", output_of(["readelf", "-lW", str(library)]))[0]
    assert "E" not in stack.split()[-2], "%s asks for an executable stack" % name
    return sorted(needed)


def check_is_local(library):
    """What may run in a signal handler carries no path and has no thread-local storage."""
    assert not re.search(r"\((RPATH|RUNPATH)\)", output_of(["readelf", "-dW", str(library)])), "it carries a path"
    uses = thread_local_uses(library)
    assert not uses, "%s uses thread-local storage: %s" % (library.name, uses)
    assert "__tls_get_addr" not in undefined_symbols(library), "%s calls __tls_get_addr" % library.name


def check_is_client(library):
    """Of libpyunwind only what its header declares is used, as by a stranger."""
    used = {name for name in undefined_symbols(library) if "pyunw" in name}
    assert used, "%s uses nothing of libpyunwind" % library.name
    assert used <= declared_functions(OWN_HEADERS), "%s uses %s" % (library.name, sorted(used))


def check_remote():
    library = BUILD / "libpyunwind-remote.so"
    exports = check_exports(library, REMOTE_HEADERS)
    check_archive(BUILD / "libpyunwind-remote.a", REMOTE_HEADERS)
    needs = check_needs(library, [r"libpyunwind\.so", r"libelf\.so", r"libdw\.so", r"liblz4\.so", r"libz\.so", r"libzstd\.so"])
    check_is_client(library)
    return exports, needs


# ---- The headers ----


def cxx_compiler():
    for command in (shlex.split(os.environ.get("CXX", "")), ["c++"], ["clang++"], ["clang-14", "-x", "c++"]):
        if command and shutil.which(command[0]):
            return command
    raise AssertionError("no C++ compiler: c++, clang++ or clang-14 is needed")


def compile_headers(compiler, standard, language, includes, beside=()):
    text = "".join("#include <%s>\n" % name for name in includes) + "int use_of_headers;\n"
    command = compiler + [standard, "-x", language] + STRICT + ["-I", str(SOURCE / "include")]
    for folder in beside:
        command += ["-isystem", folder]
    done = subprocess.run(command + ["-"], input=text, universal_newlines=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, "%s, %s:\n%s" % (standard, " then ".join(includes), done.stdout)
    return 1


def orders(names):
    """Each alone, every two in either order, all, all the other way round, and each twice."""
    for count in (1, 2):
        yield from itertools.permutations(names, count)
    yield tuple(names)
    yield tuple(reversed(names))
    for name in names:
        yield name, name


def python_includes():
    """The folders of Python.h, one list an interpreter that has it."""
    if "PYUNWIND_PYTHONS" in os.environ:
        found = json.loads(pathlib.Path(os.environ["PYUNWIND_PYTHONS"]).read_text())
    else:
        found = json.loads(output_of([sys.executable, str(SOURCE / "tools" / "pythons"), "list", "--json"]))
    return [python["include"] for python in found if python["include"]]


def check_headers():
    names = [header.name for header in HEADERS]
    cxx = cxx_compiler()
    compiled = 0
    for includes in orders(names):
        compiled += compile_headers(CC, "-std=c11", "c", includes)
        compiled += compile_headers(cxx, "-std=c++11", "c++", includes)
        compiled += compile_headers(cxx, "-std=c++17", "c++", includes)
    beside = 0
    for folders in python_includes():
        for name in names:
            for includes in (["Python.h", name], [name, "Python.h"]):
                beside += compile_headers(CC, "-std=gnu11", "c", includes, folders)
    return compiled, beside


def main():
    with tempfile.TemporaryDirectory() as folder:
        objects = check_core(folder)
        handler = check_handler(folder)
        rules = check_auditor(folder)
    exports = check_exports(BUILD / "libpyunwind.so", OWN_HEADERS)
    check_archive(BUILD / "libpyunwind.a", OWN_HEADERS)
    needs = check_needs(BUILD / "libpyunwind.so")
    check_is_local(BUILD / "libpyunwind.so")
    remote_exports, remote_needs = check_remote()
    compiled, beside = check_headers()
    print("core: %d objects and the handlers' %d ask for %s only, %d broken rules found out; the library exports its %d declared functions, "
          "needs %s; the remote library its %d, needs %s; headers compiled %d ways, %d beside Python.h"
          % (objects, handler, ", ".join(sorted(ALLOWED_IN_CORE)), rules, exports, ", ".join(needs), remote_exports,
             ", ".join(remote_needs), compiled, beside))
    return 0


if __name__ == "__main__":
    sys.exit(main())
