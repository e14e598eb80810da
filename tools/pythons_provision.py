"""Provide interpreters in folders of their own; for tools/pythons provision.

One lock for all; each is made in a temporary folder, renamed to its place, and counts only once it has been checked.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path

import pythons_find
from pythons_debian import Failure, Log, PrivateApt, unpack

# Debian releases that have the interpreter, the preferred one first. Packages of sid come with sid's C library.
PACKAGED = {"3.14": ("sid",), "3.15": ("sid",)}
# Built from source: Debian has no free-threaded packages. A stable release's source stays what it is.
BUILT = {"3.13t": ("trixie", "sid"), "3.14t": ("sid",), "3.15t": ("sid",)}
RECIPES = {**PACKAGED, **BUILT}
# The quick ones first.
DEFAULT_NAMES = ("3.14", "3.15", "3.13t")

# What must compile, and the packages that make it so. The rest (ssl, sqlite3, ...) is built if its headers are there.
COMPILER = ("gcc libc6-dev", "#include <stdio.h>", [])
HEADERS = (COMPILER, ("libffi-dev", "#include <ffi.h>", ["-lffi"]), ("zlib1g-dev", "#include <zlib.h>", ["-lz"]))

CONFIGURE = ("--disable-gil", "--without-ensurepip", "--disable-test-modules", "--without-static-libpython")

# What the environment may hold that would change a build of CPython; make's own variables come from an outer make.
BUILD_VARIABLES = ("CC", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LIBS", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH",
                   "LD_LIBRARY_PATH", "LD_PRELOAD", "DESTDIR", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")

CHECK_MODULES = ("ctypes", "asyncio", "faulthandler", "threading", "signal", "zlib", "_interpreters")
OPTIONAL_MODULES = ("ssl", "sqlite3", "lzma", "bz2", "readline", "zoneinfo", "compression.zstd")

# A C extension in small: it proves the headers, the symbols that the interpreter exports, and its dynamic loader.
CHECK_SOURCE = r"""
#include <Python.h>
#if defined(Py_GIL_DISABLED) != EXPECT_FREE_THREADED
#error "the headers are those of the other kind of build"
#endif
PyObject *check_version(void) { return PyLong_FromUnsignedLong(PY_VERSION_HEX); }
"""

CHECK_PROGRAM = r"""
import importlib, json, os, sys, sysconfig
library, needed, optional = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
for name in needed:
    importlib.import_module(name)
def missing(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return True
import ctypes
loaded = ctypes.PyDLL(library)
loaded.check_version.restype = ctypes.py_object
assert loaded.check_version() == sys.hexversion, "the headers are of another version"
import _interpreters
interpreter = _interpreters.create()
_interpreters.exec(interpreter, "import sys")
_interpreters.destroy(interpreter)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    assert not sys._is_gil_enabled(), "the GIL is on"
folders = {os.path.realpath(os.path.dirname(sys.modules[name].__file__)) for name in ("os", "ctypes", "_ctypes")}
print(json.dumps({"executable": os.readlink("/proc/self/exe"), "prefix": os.path.realpath(sys.prefix),
                  "folders": sorted(folders), "missing": [name for name in optional if missing(name)]}))
"""


def provision(folder, names, force):
    """Provide the named interpreters, or the default ones that this machine lacks. Return an exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    with locked(folder):
        names = names or missing_names(folder, force)
        releases = Releases(folder / ".work")
        failed = [name for name in dict.fromkeys(names) if not provision_one(folder, name, force, releases)]
        remove(folder / ".work")
    if failed:
        print("tools/pythons: could not provide " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def locked(folder):
    # The kernel releases it with the process, so a lock left behind cannot stay.
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(None, "waiting for another tools/pythons provision")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def missing_names(folder, force):
    if force:
        return list(DEFAULT_NAMES)
    found = {entry["name"]: entry for entry in pythons_find.find_interpreters(folder)[0] if entry["include"]}
    for name in DEFAULT_NAMES:
        if name in found:
            say(name, "{label} is there: {executable}".format(**found[name]))
    return [name for name in DEFAULT_NAMES if name not in found]


def provision_one(folder, name, force, releases):
    home = folder / name
    version = None if force else finished_version(home)
    if version:
        say(name, "{} is there: {}".format(version, home))
        return True
    work = folder / ".work" / name
    remove(work)
    work.mkdir(parents=True)
    log = Log(folder / (name + ".log"))
    job = Job(name, home, work, log, releases)
    try:
        need_tools(job)
        tree = make_from_packages(job) if name in PACKAGED else make_from_source(job)
        install(job, tree)
        return True
    except (Failure, OSError) as error:
        log.write("failed: {}".format(error))
        print("tools/pythons: {}: {}\n  full log: {}".format(name, error, log.path), file=sys.stderr)
        return False
    finally:
        remove(work)
        log.close()


class Releases:
    """The Debian releases that this run has asked, so that each one's lists are read once."""

    def __init__(self, folder):
        self.folder, self.known = folder, {}

    def get(self, suite, kind, log):
        if (suite, kind) not in self.known:
            folder = self.folder / "apt-{}-{}".format(suite, kind)
            remove(folder)
            self.known[suite, kind] = PrivateApt(folder, suite, kind, log)
        return self.known[suite, kind]


class Job:
    """One interpreter in the making: its name, where it will be, where it is made, its log and its times."""

    def __init__(self, name, home, work, log, releases):
        self.name, self.home, self.work, self.log, self.releases = name, home, work, log, releases
        self.minor = name.rstrip("t")
        self.executable = home / "bin" / ("python" + name)
        self.record = {"name": name, "home": str(home), "executable": str(self.executable), "seconds": {}}

    @contextlib.contextmanager
    def step(self, title):
        say(self.name, title)
        self.log.write("== " + title)
        start = time.monotonic()
        yield
        self.record["seconds"][title] = round(time.monotonic() - start, 1)

    def from_release(self, kind, get):
        """Call get(apt) with the first of the recipe's Debian releases that can answer, and return the answer."""
        failures = []
        for suite in RECIPES[self.name]:
            try:
                answer = get(self.releases.get(suite, kind, self.log))
                self.record["debian_release"] = suite
                return answer
            except Failure as failure:
                failures.append(str(failure))
        raise Failure("{}. A mirror may list what it does not hold: try later, or set this machine's apt to another one"
                      .format("; ".join(failures)))


def finished_version(home):
    """The version of a provided interpreter that is complete, made for this very path, and runs; else None."""
    try:
        record = json.loads((home / "provisioned.json").read_text(encoding="utf-8"))
        answer = pythons_find.describe(record["executable"])
    except (OSError, ValueError, KeyError, pythons_find.Broken):
        return None
    if (home / "incomplete").exists() or record.get("home") != str(home) or not answer or answer["name"] != home.name:
        return None
    return answer["version"]


def need_tools(job):
    """See that the tools are there; as root install the missing ones, else print the command and fail."""
    packages = missing_packages(job)
    if not packages:
        return
    install_command = ["apt-get", "install", "-y", "--no-install-recommends"] + packages
    if os.geteuid() != 0:
        raise Failure("not installed: {}. This installs them:\n    sudo apt-get update && sudo {}".format(
            ", ".join(packages), " ".join(install_command)))
    with job.step("installing " + " ".join(packages)):
        # Another apt may be at work: wait for its lock. The machine's lists may be absent or old: read them, once.
        patient = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        failure = "apt-get does not install " + " ".join(packages)
        try:
            job.log.run(failure, patient + install_command[1:], environment=environment)
        except Failure:
            job.log.run("apt-get cannot read the machine's package lists", patient + ["update"])
            job.log.run(failure, patient + install_command[1:], environment=environment)
    still = missing_packages(job)
    if still:
        raise Failure("installed, but still not usable: " + ", ".join(still))


def missing_packages(job):
    commands = {"patchelf": "patchelf"} if job.name in PACKAGED else {"make": "make", "xz": "xz-utils"}
    packages = [package for command, package in commands.items() if not shutil.which(command)]
    for names, source, libraries in [COMPILER] if job.name in PACKAGED else HEADERS:
        if not compiles(job, source, libraries):
            packages += names.split()
    return packages


def compiles(job, source, libraries):
    probe = job.work / "probe.c"
    probe.write_text(source + "\nint main(void) { return 0; }\n", encoding="utf-8")
    try:
        job.log.run("no", ["gcc", "-o", job.work / "probe", probe] + libraries, environment=build_environment())
    except Failure:
        return False
    return True


def build_environment():
    environment = {name: value for name, value in os.environ.items()
                   if name not in BUILD_VARIABLES and not name.startswith("PYTHON")}
    environment["LC_ALL"] = "C.UTF-8"
    return environment


def make_from_packages(job):
    """Unpack Debian packages into a tree that needs nothing of the machine but its kernel."""
    def get(apt):
        packages, headers = job.work / ("packages-" + apt.suite), job.work / ("headers-" + apt.suite)
        # The headers' package wants a C library to compile with; the machine's own serves, so the headers come alone.
        return (apt.download(["python" + job.minor, "libpython" + job.minor], packages, job.log)
                + apt.download_alone(["libpython{}-dev".format(job.minor)], headers, job.log))
    with job.step("downloading Debian packages"):
        archives = job.from_release("deb", get)
    job.record["packages"] = sorted(archive.name for archive in archives)
    with job.step("unpacking {} packages".format(len(archives))):
        root = job.work / "root"
        unpack(archives, root, job.log)
        tree = root / "usr"
        for name in ("games", "sbin", "share", "src"):
            remove(tree / name)
        for path in (tree / "bin").iterdir():
            # Debian's python3.x-config speaks of /usr, whatever folder it is in.
            if job.minor not in path.name or path.name.endswith("-config"):
                path.unlink()
        (tree / "bin" / "python3").symlink_to(job.executable.name)
        use_own_c_library(job, tree)
    return tree


def use_own_c_library(job, tree):
    """Make the executable name the tree's own dynamic loader and libraries, at the place where they will be."""
    executable = tree / "bin" / job.executable.name
    asked = job.log.output("cannot read " + executable.name, ["patchelf", "--print-interpreter", executable]).strip()
    loader = (tree / asked.replace("/usr/", "/").lstrip("/")).resolve()
    libraries = list(tree.glob("lib/*/libc.so.6"))
    if not loader.is_file() or len(libraries) != 1:
        raise Failure("the packages hold no C library where the interpreter looks for it ({})".format(asked))

    def final(path):
        return job.home / path.relative_to(tree.resolve())
    # DT_RPATH, not DT_RUNPATH: it also serves the extension modules, which name no folder of their own.
    job.log.run("patchelf cannot change the executable", [
        "patchelf", "--set-interpreter", final(loader), "--force-rpath", "--set-rpath",
        final(libraries[0].parent.resolve()), executable])


def make_from_source(job):
    """Build a free-threaded interpreter from the upstream archive of Debian's source package."""
    source, stage = job.work / "source", job.work / "stage"
    with job.step("downloading Debian's source package"):
        archive = job.from_release("deb-src", lambda apt: apt.download_source(
            "python" + job.minor, job.work / ("archive-" + apt.suite), job.log))
        job.record["packages"] = [archive.name]
    with job.step("unpacking " + archive.name):
        source.mkdir()
        job.log.run("cannot unpack " + archive.name,
                    ["tar", "-xf", archive, "-C", source, "--strip-components=1", "--no-same-owner"])

    def run(failure, command):
        job.log.run(failure, ["nice", "-n", "10"] + command, cwd=source, environment=build_environment())
    with job.step("configuring"):
        run("configure fails", ["./configure", "--prefix={}".format(job.home)] + list(CONFIGURE))
    jobs = len(os.sched_getaffinity(0))
    with job.step("compiling with {} jobs".format(jobs)):
        run("the compiler fails", ["make", "-j{}".format(jobs)])
    with job.step("installing"):
        run("make altinstall fails", ["make", "altinstall", "DESTDIR={}".format(stage)])
    tree = stage / str(job.home).lstrip("/")
    (tree / "bin" / "python3").symlink_to(job.executable.name)
    return tree


def install(job, tree):
    """Put the finished tree in its place; it counts once it is checked. If it fails, what was there comes back."""
    (tree / "incomplete").touch()
    previous = job.work / "previous"
    if job.home.exists():
        os.rename(job.home, previous)
    os.rename(tree, job.home)
    try:
        if job.name in PACKAGED:
            byte_compile(job)
        with job.step("checking"):
            check(job)
        record = job.home / "provisioned.json"
        record.write_text(json.dumps(job.record, indent=2) + "\n", encoding="utf-8")
        (job.home / "incomplete").unlink()
    except BaseException:
        remove(job.home)
        if previous.exists():
            os.rename(previous, job.home)
        raise
    without = job.record["missing_modules"]
    say(job.name, "ready: {} in {} ({:.0f} MB, {:.0f} s{})".format(
        job.record["version"], job.home, size_of(job.home) / 1e6, sum(job.record["seconds"].values()),
        "; without " + ", ".join(without) if without else ""))


def byte_compile(job):
    """Do what the packages' own installation would: without it every start compiles what it imports."""
    with job.step("compiling the standard library"):
        # One process: several would need semaphores, which a bare container may not have.
        job.log.run("the standard library does not compile", [
            "nice", "-n", "10", job.executable, "-I", "-m", "compileall", "-q",
            job.home / "lib" / ("python" + job.minor)], environment=build_environment())


def check(job):
    """Run the interpreter at its place, and load what is compiled with its headers into it."""
    try:
        entry = pythons_find.describe(job.executable)
    except pythons_find.Broken as error:
        raise Failure("it does not run: {}".format(error))
    if entry is None or entry["name"] != job.name:
        raise Failure("it is another interpreter than was asked for: {}".format(entry and entry["label"]))
    if entry["include"] is None:
        raise Failure("it has no headers")

    source, library = job.work / "check.c", job.work / "check.so"
    source.write_text(CHECK_SOURCE, encoding="utf-8")
    job.log.run("its headers cannot be compiled with", [
        "gcc", "-shared", "-fPIC", "-DEXPECT_FREE_THREADED={:d}".format(entry["free_threaded"]), "-o", library, source]
        + ["-I" + include for include in entry["include"]], environment=build_environment())
    printed = job.log.output("it does not work as it should", [
        job.executable, "-I", "-B", "-c", CHECK_PROGRAM, library, " ".join(CHECK_MODULES), " ".join(OPTIONAL_MODULES)],
        environment=build_environment())
    answer = json.loads(printed)
    home = job.home.resolve()
    strangers = [path for path in answer["folders"] + [answer["executable"], answer["prefix"]]
                 if path != str(home) and home not in Path(path).parents]
    if strangers:
        raise Failure("it uses what is not its own: " + ", ".join(strangers))
    if answer["executable"] != str(job.executable.resolve()):
        raise Failure("its process is another executable: " + answer["executable"])
    job.record["version"] = entry["version"]
    job.record["missing_modules"] = answer["missing"]


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def size_of(folder):
    # A build installs its executable under two names: one file, counted once.
    files = {(status.st_dev, status.st_ino): status.st_size for status in (path.lstat() for path in folder.rglob("*"))}
    return sum(files.values())


def say(name, text):
    print("{}: {}".format(name, text) if name else text, flush=True)
