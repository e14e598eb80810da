# interpreters: each
"""
pyunw_write_text_with() and pyunw_write_text_threads_with(): the text of pyunw_write_text() and its like, less the lines
of the code objects that are to be hidden.
"""

import ctypes
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

target = pyunw.open_self()
lib = pyunw.lib_holding_gil


def options(functions=(), **members):
    codes = (pyunw.pyunw_addr * max(1, len(functions)))(*[id(function.__code__) for function in functions])
    made = pyunw.pyunw_text_options(size=ctypes.sizeof(pyunw.pyunw_text_options), hidden_count=len(functions), **members)
    made.hidden = codes
    return made


def written(write):
    reader, writer = os.pipe()
    result = write(writer)
    os.close(writer)
    with open(reader, "rb") as file:
        return result, file.read().decode()


def without(text, *names):
    return "".join(line for line in text.splitlines(True) if line.rpartition(" in ")[2].rstrip("\n") not in names)


def outer(what):
    return [inner(what) for _ in "a"][0] if sys.version_info >= (3, 12) else inner(what)


def inner(what):
    return what()


def both():
    plain = written(lambda fd: lib.pyunw_write_text(target, fd, 0))
    hidden = written(lambda fd: lib.pyunw_write_text_with(target, fd, 0, options([inner, written])))
    none = written(lambda fd: lib.pyunw_write_text_with(target, fd, 0, None))
    # Each was asked for on a line of its own.
    lines = [text.splitlines(True) for _, text in (plain, hidden, none)]
    assert plain[0] == hidden[0] == none[0] == 0
    assert len(lines[0]) == len(lines[2]) and len(lines[1]) == len(lines[0]) - 2, lines
    assert " in inner\n" in plain[1] and " in outer\n" in hidden[1], hidden
    assert " in inner\n" not in hidden[1] and " in written\n" not in hidden[1], hidden


def all_hidden():
    functions = [both, outer, inner, written, all_hidden, main]
    result, text = written(lambda fd: lib.pyunw_write_text_with(target, fd, 0, options(functions)))
    assert result == 0 and " in <lambda>\n" in text and " in <module>\n" in text and "all_hidden" not in text, text


def threads():
    stop = threading.Lock()
    stop.acquire()
    started = [threading.Thread(target=inner, args=(stop.acquire,), daemon=True) for _ in range(3)]
    for thread in started:
        thread.start()
    while sum(frame.f_code is inner.__code__ for frame in sys._current_frames().values()) < 3:
        pass  # from there they do not move on
    current = pyunw.current_thread(target)

    def dump(**members):
        return written(lambda fd: lib.pyunw_write_text_threads_with(target, fd, options(current=current, **members)))

    result, plain = dump()
    assert result == 0 and plain.count(" in inner\n") == 3 and plain.count("Current thread") == 1, plain
    result, hidden = dump(functions=[inner])
    assert result == 0 and without(hidden, "threads") == without(plain, "inner", "threads"), hidden
    result, two = dump(max_threads=2)
    assert result == 0 and two.endswith("\n\n...\n") and two.count("hread 0x") == 2, two


def wrong_options():
    short = options()
    short.size -= 1
    for made in (options(max_threads=-1), short):
        for call in (lambda: lib.pyunw_write_text_with(target, 1, 0, made),
                     lambda: lib.pyunw_write_text_threads_with(target, 1, made)):
            assert call() == pyunw.PYUNW_ERR_ARGUMENT
    made = options([inner])
    made.hidden = None
    assert lib.pyunw_write_text_with(target, 1, 0, made) == pyunw.PYUNW_ERR_ARGUMENT
    made = options()
    made.hidden_count = -1
    assert lib.pyunw_write_text_threads_with(target, 1, made) == pyunw.PYUNW_ERR_ARGUMENT


def main():
    outer(both)
    outer(all_hidden)
    threads()
    wrong_options()
    print("frames of hidden code objects are not written, all others are")


if __name__ == "__main__":
    main()
