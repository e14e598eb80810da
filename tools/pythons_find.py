"""Find the CPython interpreters of this machine; for tools/pythons.

Every candidate is asked what it is: names, links and shims lie, an interpreter that runs does not.
"""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST, NEWEST = (3, 8), (3, 15)

# python3, python3.13, python3.13t, python3.11d, python3.11-dbg, python3.13-nogil; not python3-config.
EXECUTABLE_NAME = re.compile(r"python3(\.\d+)?t?d?(-dbg|-nogil)?")

# An interpreter that hangs must not hang the list; a slow machine needs far less than this.
ANSWER_SECONDS = 60

# Where an interpreter is from, best first: it decides who keeps the plain label, and ties between equal versions.
ORIGINS = ("provisioned", "pyenv", "path", "debian", "system")

# Runs inside the candidate, which may be any Python 3.
PROBE = r"""
import json, os, re, sys, sysconfig

def real_executable():
    base = getattr(sys, "_base_executable", None) or sys.executable
    # A virtual environment made of copies is not an interpreter of its own: its base is.
    if sys.prefix != sys.base_prefix and os.path.realpath(base).startswith(os.path.realpath(sys.prefix) + os.sep):
        base = os.path.join(sys.base_prefix, "bin", os.path.basename(base))
    return os.path.realpath(base)

def include_folders():
    variable, path = sysconfig.get_config_var, sysconfig.get_path
    has = lambda folder, name: bool(folder) and os.path.isfile(os.path.join(folder, name))
    main = [d for d in (path("include"), path("platinclude"), variable("INCLUDEPY")) if has(d, "Python.h")]
    if not main:
        return None
    folders = [main[0]]
    config = [d for d in (main[0], path("platinclude"), variable("CONFINCLUDEPY")) if has(d, "pyconfig.h")]
    if not config:
        return None
    if config[0] != folders[0]:
        folders.append(config[0])
    # Debian's pyconfig.h only includes the one of the architecture, relative to the folder above.
    above = os.path.dirname(config[0])
    with open(os.path.join(config[0], "pyconfig.h"), encoding="utf-8") as text:
        included = re.findall(r"include\s*<([^>]+/pyconfig\.h)>", text.read())
    if above != "/usr/include" and any(has(above, name) for name in included):
        folders.append(above)
    return folders

def libpython():
    # The build's own Py_ENABLE_SHARED is about the package, which may ship both kinds; the process knows.
    with open("/proc/self/maps") as maps:
        found = re.search(r"(/\S*/libpython3[^/\s]*\.so\S*)$", maps.read(), re.M)
    return found.group(1) if found else None

print(json.dumps({
    "implementation": sys.implementation.name,
    "version_info": list(sys.version_info),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": hasattr(sys, "gettotalrefcount") or bool(sysconfig.get_config_var("Py_DEBUG")),
    "executable": real_executable(),
    "prefix": sys.base_prefix,
    "include": include_folders(),
    "libpython": libpython(),
}))
"""


class Broken(Exception):
    """A candidate that does not run, or does not answer; the text says why."""


def find_interpreters(provided):
    """Return (entries, broken): a dict for each interpreter, sorted by version, and (path, reason) pairs."""
    provided = Path(provided)
    pyenv_roots = find_pyenv_roots()
    candidates = unique_files(candidate_executables(provided, pyenv_roots))
    answers, broken = [], []
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for candidate, answer in zip(candidates, pool.map(try_describe, candidates)):
            if isinstance(answer, Broken):
                broken.append((str(candidate), str(answer)))
            elif answer is not None:
                answers.append(answer)

    entries, seen = [], set()
    for answer in answers:
        identity = file_identity(answer["executable"])
        if identity in seen:
            continue
        seen.add(identity)
        answer["origin"] = origin_of(answer["executable"], provided, pyenv_roots)
        entries.append(answer)
    entries.sort(key=sort_key)
    add_labels(entries)
    return [published(entry) for entry in entries], broken


def best_of_each_name(entries):
    """Of each name the best: with headers before without, a release before a preview, then the newest."""
    def rank(entry):
        return (entry["include"] is not None, entry["version_info"][3] == "final", entry["version_info"],
                -ORIGINS.index(entry["origin"]))
    best = {}
    for entry in entries:
        if entry["name"] not in best or rank(entry) > rank(best[entry["name"]]):
            best[entry["name"]] = entry
    return list(best.values())


def describe(executable):
    """Ask an interpreter what it is. None: not a CPython of the supported versions. Raises Broken."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        # -I and -S: neither the environment nor site files of the machine may change the answer.
        result = subprocess.run([str(executable), "-I", "-S", "-c", PROBE], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                                timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        raise Broken("no answer within {} seconds".format(ANSWER_SECONDS))
    except FileNotFoundError:
        raise Broken("the dynamic loader or program that it names as its interpreter is not there; was it moved?")
    except OSError as error:
        raise Broken(error.strerror)
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        raise Broken(said[-1] if said else "ended with status {}".format(result.returncode))
    try:
        answer = json.loads(result.stdout.decode())
    except ValueError:
        raise Broken("its answer is not what a Python prints")
    if answer.pop("implementation") != "cpython" or not OLDEST <= tuple(answer["version_info"][:2]) <= NEWEST:
        return None
    major, minor, micro, level, serial = answer["version_info"]
    flags = ("t" if answer["free_threaded"] else "") + ("d" if answer["debug"] else "")
    preview = "" if level == "final" else {"alpha": "a", "beta": "b", "candidate": "rc"}[level] + str(serial)
    answer["name"] = "{}.{}{}".format(major, minor, flags)
    answer["version"] = "{}.{}.{}{}".format(major, minor, micro, preview)
    answer["label"] = answer["version"] + flags
    answer["shared"] = answer["libpython"] is not None
    return answer


def try_describe(executable):
    try:
        return describe(executable)
    except Broken as error:
        return error


def find_pyenv_roots():
    roots = [os.environ.get("PYENV_ROOT")]
    if shutil.which("pyenv"):
        result = subprocess.run(["pyenv", "root"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        roots.append(result.stdout.decode(errors="replace").strip())
    roots.append("~/.pyenv")
    folders = [Path(root).expanduser() for root in roots if root]
    return list(dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir()))


def candidate_executables(provided, pyenv_roots):
    """Yield paths, the more telling name of an interpreter first: origins before PATH, which may only link to them."""
    for folder in sorted(provided.glob("[!.]*/bin")):
        if not (folder.parent / "incomplete").exists():
            yield from executables_in(folder)
    for root in pyenv_roots:
        for folder in sorted(root.glob("versions/*/bin")):
            yield from executables_in(folder)
    # A shim of pyenv leads to one of the versions above or on along PATH, and fails when none is chosen.
    shims = {folder.resolve() for root in pyenv_roots for pattern in ("shims", "plugins/*/shims")
             for folder in root.glob(pattern)}
    for folder in os.environ.get("PATH", "").split(os.pathsep) + ["/usr/bin"]:
        if folder and Path(folder).resolve() not in shims:
            yield from executables_in(Path(folder))


def executables_in(folder):
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        path = folder / name
        if EXECUTABLE_NAME.fullmatch(name) and path.is_file() and os.access(path, os.X_OK):
            yield path


def unique_files(paths):
    """Drop the paths that are links to a file met before."""
    found = {}
    for path in paths:
        found.setdefault(file_identity(path), path)
    return list(found.values())


def file_identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def origin_of(executable, provided, pyenv_roots):
    path = Path(executable)
    if provided.resolve() in path.parents:
        return "provisioned"
    if any(root / "versions" in path.parents for root in pyenv_roots):
        return "pyenv"
    if path.parent == Path("/usr/bin"):
        return "debian" if Path("/etc/debian_version").exists() else "system"
    return "path"


def sort_key(entry):
    major, minor, micro, level, serial = entry["version_info"]
    # "alpha" < "beta" < "candidate" < "final" is the order of the releases, too.
    return ((major, minor), entry["free_threaded"], entry["debug"], micro, level, serial,
            ORIGINS.index(entry["origin"]), entry["executable"])


def add_labels(entries):
    """Make labels unique: a machine's own Python always names its origin, another only where it has to."""
    taken = set()
    for entry in entries:
        if entry["origin"] in ("debian", "system"):
            entry["label"] += "-" + entry["origin"]
        plain, number = entry["label"], 1
        if plain in taken and entry["origin"] not in ("debian", "system"):
            plain = entry["label"] = plain + "-" + entry["origin"]
        while entry["label"] in taken:
            number += 1
            entry["label"] = "{}-{}".format(plain, number)
        taken.add(entry["label"])


def published(entry):
    order = ("name", "label", "version", "version_info", "free_threaded", "debug", "executable", "prefix", "include",
             "shared", "libpython", "origin")
    return {key: entry[key] for key in order}
