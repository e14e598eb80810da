"""Get packages and sources of another Debian release with this machine's apt, without touching its state.

For tools/pythons provision. The mirror, its keys and its proxies are those that the machine's own apt is set up with;
lists, cache and status are private, so no package is installed and no release is added to the machine.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")


class Failure(Exception):
    """What could not be done, and the cure, in words for the user."""


class Log:
    """Runs commands, and keeps what they printed in a file that is named when one fails."""

    def __init__(self, path):
        self.path = Path(path)
        self.file = open(self.path, "w", encoding="utf-8", errors="replace")

    def close(self):
        self.file.close()

    def write(self, text):
        self.file.write("[{}] {}\n".format(time.strftime("%H:%M:%S"), text))
        self.file.flush()

    def run(self, failure, command, cwd=None, environment=None):
        """Run a command; `failure` says what it means if it fails."""
        self._start(failure, command, self.file, cwd, environment)

    def output(self, failure, command, environment=None):
        """Run a command and return what it printed on its standard output."""
        text = self._start(failure, command, subprocess.PIPE, None, environment).decode(errors="replace")
        self.write(text.rstrip())
        return text

    def _start(self, failure, command, stdout, cwd, environment):
        command = [str(word) for word in command]
        self.write("$ " + " ".join(command))
        begin = self.file.tell()
        try:
            result = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=stdout,
                                    stderr=self.file)
        except OSError as error:
            raise Failure("{} ({}: {})".format(failure, command[0], error.strerror))
        self.file.seek(0, os.SEEK_END)
        if result.returncode != 0:
            raise Failure("{}: {}".format(failure, self._last_words(begin) or result.returncode))
        return result.stdout

    def _last_words(self, begin):
        """What a command that failed said: apt's first error if it is apt, otherwise its last line."""
        with open(self.path, encoding="utf-8", errors="replace") as text:
            text.seek(begin)
            lines = [line.strip() for line in text if line.strip()]
        errors = [line for line in lines if line.startswith("E: ")]
        return (errors[:1] or lines[-1:] or [""])[0]


class PrivateApt:
    """One Debian release, either its packages ("deb") or its sources ("deb-src"), seen by an apt of our own."""

    def __init__(self, folder, suite, kind, log):
        self.suite = suite
        folder = Path(folder)
        for name in ("lists/partial", "cache/archives/partial", "sources.d"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # An empty status file: nothing counts as installed, so that the C library is downloaded with the rest.
        (folder / "status").touch()
        architecture = log.output("dpkg does not name this machine's architecture", ["dpkg", "--print-architecture"])
        (folder / "sources.d" / "debian.sources").write_text(
            private_source(machine_mirror(), suite, kind, architecture.strip()), encoding="utf-8")
        settings = {
            "Dir::State": folder,
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "sources.d",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            # As root apt would download as another user, who may not be able to enter this folder.
            "APT::Sandbox::User": "root",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::Languages": "none",
            "Acquire::PDiffs": "false",
            "Acquire::Retries": "3",
            # A mirror may lag behind: its lists stay signed, and serve tests, not the machine.
            "Acquire::Check-Valid-Until": "false",
        }
        self.command = ["apt-get"] + ["-o{}={}".format(name, value) for name, value in settings.items()]
        # Without the option apt calls a list that it could not get a warning, and goes on with nothing.
        log.run("cannot read the list of Debian {}'s {}".format(
            suite, "sources" if kind == "deb-src" else "packages"), self.command + ["--error-on=any", "update"])

    def download(self, packages, folder, log):
        """Download packages and all that they depend on into an empty folder; return the .deb files."""
        (folder / "partial").mkdir(parents=True)
        log.run(self._refusal(packages), self.command + ["-oDir::Cache::archives={}".format(folder), "install", "-y",
                                                         "--download-only", "--no-install-recommends"] + packages)
        return sorted(folder.glob("*.deb"))

    def download_alone(self, packages, folder, log):
        """Download packages without what they depend on into an empty folder; return the .deb files."""
        folder.mkdir(parents=True)
        log.run(self._refusal(packages), self.command + ["download"] + packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def download_source(self, package, folder, log):
        """Download a source package into an empty folder, its newest version; return its upstream archive."""
        folder.mkdir(parents=True)
        log.run(self._refusal(["the source of " + package]),
                self.command + ["source", "--download-only", "--only-source", package], cwd=folder)
        archives = [path for path in folder.glob(package + "_*.orig.tar.*") if path.suffix != ".asc"]
        if len(archives) != 1:
            raise Failure("the source package {} has {} upstream archives, not one".format(package, len(archives)))
        return archives[0]

    def _refusal(self, packages):
        return "the mirror of Debian {} does not give {}".format(self.suite, ", ".join(packages))


def machine_mirror():
    """The mirror of Debian that this machine is set up with: its fields URIs, and Signed-By and Trusted if given."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(encoding="utf-8"), re.M))
    if release.get("ID") != "debian" or not shutil.which("apt-get"):
        raise Failure("only a Debian machine's apt can provide this interpreter, and this one calls itself {}; "
                      "install the interpreter by hand and have it on PATH".format(
                          release.get("PRETTY_NAME", "something else")))
    suites = {release.get("VERSION_CODENAME"), "stable", "oldstable", "testing", "unstable", "sid"}
    for stanza in apt_sources():
        if "deb" in stanza.get("Types", "").split() and "main" in stanza.get("Components", "").split() \
                and suites & set(stanza.get("Suites", "").split()) and stanza.get("Enabled", "yes") != "no":
            return {field: stanza[field] for field in ("URIs", "Signed-By", "Trusted") if field in stanza}
    raise Failure("no line of {} names a mirror of this Debian release ({}, main); add one".format(
        " or ".join(SOURCES), release.get("VERSION_CODENAME")))


def apt_sources():
    """Yield every source of packages of this machine as a dict of deb822 fields."""
    paths = [Path(SOURCES[0])] + sorted(Path(SOURCES[1]).glob("*"))
    for path in paths:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        yield from deb822_stanzas(text) if path.suffix == ".sources" else one_line_sources(text)


def deb822_stanzas(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for block in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        # A value goes on in lines that begin with a space: an embedded key has dozens of them.
        fields = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", block, re.M)
        if fields:
            yield {name: value.rstrip() for name, value in fields}


def one_line_sources(text):
    for line in text.splitlines():
        match = re.match(r"\s*(deb(?:-src)?)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            kind, options, uri, suite, components = match.groups()
            stanza = {"Types": kind, "URIs": uri, "Suites": suite, "Components": components}
            for option, field in (("signed-by", "Signed-By"), ("trusted", "Trusted")):
                found = re.search(r"\b{}=(\S+)".format(option), options or "")
                if found:
                    stanza[field] = found.group(1).replace(",", " ")
            yield stanza


def private_source(mirror, suite, kind, architecture):
    fields = {"Types": kind, "URIs": mirror["URIs"], "Suites": suite, "Components": "main"}
    if kind == "deb":
        fields["Architectures"] = architecture
    # Only the index that is needed: a machine's apt may be set up to get icons and lists of files, too.
    fields["Targets"] = "Sources" if kind == "deb-src" else "Packages"
    for field in ("Signed-By", "Trusted"):
        if field in mirror:
            fields[field] = mirror[field]
    return "".join("{}: {}\n".format(name, value) for name, value in fields.items())


def unpack(archives, root, log):
    """Unpack .deb files into one tree, in which /bin, /lib and the like lead to /usr as they do in Debian."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(Path("usr") / name)
    for archive in archives:
        log.run("cannot unpack " + archive.name, ["dpkg-deb", "-x", archive, root])
    make_links_relative(root)


def make_links_relative(root):
    """Let the absolute links below usr/ lead into the tree, not into the machine; those that lead nowhere go."""
    usr = (root / "usr").resolve()
    for folder, folders, files in os.walk(usr):
        for name in folders + files:
            link = Path(folder, name)
            if not link.is_symlink() or not os.readlink(link).startswith("/"):
                continue
            target = Path(root, os.readlink(link).lstrip("/")).resolve()
            link.unlink()
            if usr in target.parents and target.exists():
                link.symlink_to(os.path.relpath(target, link.parent))
            elif target.is_file():
                # usr/ is all that is kept of the tree: what lies in etc/ is copied.
                shutil.copy2(target, link)
