# interpreters: each
"""
pyunw_crash_install(): each error it can give, with words that name what is wrong, and nothing taken where it fails; that
pyunw_crash_remove() gives back all that was taken: the handlers as the kernel tells them, and the descriptors.
"""

import ctypes
import os
import sys

SOURCE, BUILD = os.environ["PYUNWIND_SOURCE"], os.environ["PYUNWIND_BUILD"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

import crash  # noqa: E402
from pyunw import PYUNW_ERR_ARGUMENT, PYUNW_ERR_NOT_OPEN, PYUNW_ERR_PERMISSION, PYUNW_ERR_SYSTEM, PYUNW_OK  # noqa: E402

FATAL = (4, 5, 6, 7, 8, 11, 31)
NOBODY = 65534
library = crash.load()
libc = ctypes.CDLL(None)
failures = []


def check(condition, *words):
    if not condition:
        failures.append(" ".join(map(str, words)))
        print("WRONG", failures[-1])


def handlers():
    """Of all signals, as the kernel tells them: caught, ignored."""
    with open("/proc/self/status") as file:
        return [line for line in file if line.startswith(("SigCgt", "SigIgn"))]


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink("/proc/self/fd/" + name)
        except FileNotFoundError:  # that of the folder itself
            pass
    return found


def actions():
    """The handlers' addresses."""
    found = []
    for number in FATAL:
        action = ctypes.create_string_buffer(152)  # struct sigaction
        libc.sigaction(number, None, action)
        found.append(action.raw[:8])
    return found


def install(**options):
    message = ctypes.create_string_buffer(1024)
    asked = crash.pyunw_crash_options(size=ctypes.sizeof(crash.pyunw_crash_options),
                                      message=ctypes.addressof(message), message_size=len(message))
    for name, value in options.items():
        setattr(asked, name, os.fsencode(value) if isinstance(value, str) else value)
    return library.pyunw_crash_install(asked), message.value.decode()


def make_folder(name, mode=0o700, user=None):
    os.mkdir(name)
    os.chmod(name, mode)
    if user is not None:
        os.chown(name, user, user)
    return os.path.abspath(name)


def refusals():
    """(error, a word of the message, options, environment)"""
    good = {"report_dir": make_folder("good")}
    with open("file", "w"):
        pass
    yield PYUNW_ERR_ARGUMENT, "", {"size": 8}, {}
    yield PYUNW_ERR_ARGUMENT, "SIGKILL", {**good, "signals": 1 << 8}, {}
    yield PYUNW_ERR_ARGUMENT, "HUP", good, {"PYUNWIND_SIGNALS": "SEGV,HUP"}
    yield PYUNW_ERR_ARGUMENT, "-5", {**good, "time_limit": -5}, {}
    yield PYUNW_ERR_ARGUMENT, "soon", good, {"PYUNWIND_TIME_LIMIT": "soon"}
    yield PYUNW_ERR_ARGUMENT, "99", {**good, "report_fd": 99}, {}
    yield PYUNW_ERR_ARGUMENT, "11", {**good, "report_signal": 11}, {}
    yield PYUNW_ERR_ARGUMENT, "first", good, {"PYUNWIND_REPORT_SIGNAL": "first"}
    yield PYUNW_ERR_ARGUMENT, "too long", {**good, "hook": "x" * 100000}, {}
    yield PYUNW_ERR_ARGUMENT, "too long", {"report_dir": "/" + "x" * 5000}, {}
    yield PYUNW_ERR_SYSTEM, "no-such", {**good, "helper": "/no-such"}, {}
    yield PYUNW_ERR_SYSTEM, "no-such", good, {"PYUNWIND_HELPER": "/no-such"}
    yield PYUNW_ERR_SYSTEM, "file", {"report_dir": os.path.abspath("file")}, {}
    yield PYUNW_ERR_SYSTEM, "HOME", {}, {"PYUNWIND_REPORT_DIR": "", "XDG_STATE_HOME": "", "HOME": ""}
    yield PYUNW_ERR_PERMISSION, "everyone", {"report_dir": make_folder("of-everyone", 0o777)}, {}
    if os.getuid() == 0:
        yield PYUNW_ERR_PERMISSION, str(NOBODY), {"report_dir": make_folder("of-nobody", user=NOBODY)}, {}
    else:
        yield PYUNW_ERR_PERMISSION, "written", {"report_dir": make_folder("read-only", 0o500)}, {}


def test_refusals():
    count = 0
    for error, word, options, environment in refusals():
        before, kept = (handlers(), actions(), descriptors()), dict(os.environ)
        os.environ.update(environment)
        result, message = install(**options)
        os.environ.clear()
        os.environ.update(kept)
        check(result == error and word in message, options, environment, "gives", result, repr(message))
        check((handlers(), actions(), descriptors()) == before, options, environment, "has taken something")
        count += 1
    return count


def test_removal():
    before = handlers(), actions(), descriptors()
    for number in range(3):
        result, message = install(report_dir="made/by/installation", report_signal=10)
        check(result == PYUNW_OK and not message, "installed:", result, message)
        check(os.stat("made/by/installation").st_mode & 0o777 == 0o700, "the folder is not its owner's alone")
        check(actions() != before[1], "no handler is installed")
        opened = set(descriptors()) - set(before[2])
        check(len(opened) <= 3 and min(map(int, opened)) >= 200, "descriptors:", descriptors())
        if number == 2:  # a second installation takes the place of the first
            check(install(report_dir="made/by/installation")[0] == PYUNW_OK, "not installed a second time")
            check(len(descriptors()) == len(before[2]) + len(opened), "descriptors are left open:", descriptors())
        check(library.pyunw_crash_remove() == PYUNW_OK, "not removed")
        check((handlers(), actions(), descriptors()) == before, "what is left:", handlers(), descriptors())
    check(library.pyunw_crash_report_now() == PYUNW_ERR_NOT_OPEN, "a report is made where nothing is installed")
    check(library.pyunw_crash_remove() == PYUNW_OK, "what is not installed cannot be removed")


def test_other_handler():
    """One that came later stays where it is."""
    install(report_dir="made/by/installation")
    libc.signal(11, ctypes.c_void_p(1))  # SIG_IGN
    check(library.pyunw_crash_remove() == PYUNW_OK, "not removed")
    check(actions()[FATAL.index(11)] == b"\1" + bytes(7), "a handler of the program was taken away")
    libc.signal(11, ctypes.c_void_p(0))


def test_folder_by_environment():
    """Where reports go by default."""
    for environment, folder in (({"XDG_STATE_HOME": os.path.abspath("state")}, "state/pyunwind"),
                                ({"XDG_STATE_HOME": "relative", "HOME": os.path.abspath("home")},
                                 "home/.local/state/pyunwind"),
                                ({"PYUNWIND_REPORT_DIR": "relative-to-here"}, "relative-to-here")):
        kept = dict(os.environ)
        os.environ.pop("PYUNWIND_REPORT_DIR", None)
        os.environ.update(environment)
        result, message = install()
        os.environ.clear()
        os.environ.update(kept)
        check(result == PYUNW_OK and os.path.isdir(folder), environment, "gives", result, message, os.listdir("."))
        library.pyunw_crash_remove()


def main():
    refused = test_refusals()
    test_removal()
    test_other_handler()
    test_folder_by_environment()
    print("%d were wrong" % len(failures) if failures else "%d refusals; what was taken is given back" % refused)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
