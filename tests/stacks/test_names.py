# interpreters: each
"""
Names of every kind and length - ASCII, Latin-1, two and four bytes a character, lone surrogates, NULs, str subclasses,
the legacy strings of 3.8 to 3.11, longer than the buffers - as file name, name and qualified name, in captures and in
pyunw_describe_into() with buffers of all sizes; against the interpreter's own strings.
"""

import ctypes
import os
import sys
import types
import warnings

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from observer import UNTOUCHED, BlockedThread, Observer, open_targets
from oracle import HAS_QUALNAME, as_utf8, cut_to_fit, text_fields

WIDTHS = {
    "x": 1,
    "\xe9": 2,
    "\u03b1": 2,
    "\u20ac": 3,
    "\U0001f600": 4,
    "\udc80": 6,  # as \udc80
}


class Text(str):
    """A name need not be a plain str, and its own methods are not to be believed."""

    def __len__(self):
        return 1

    def encode(self, *_):
        return b""

    def __str__(self):
        return "something else"

    __iter__ = None


def all_names():
    yield from ("plain", "", "\x00", "nul\x00inside\x00", "<angle> & 100% %s \"quoted\" 'and' back\\slash")
    yield "".join(map(chr, range(1, 0x100)))
    yield from ("\xff", "\u0100", "\uffff\u2028\ufeff", "\U00010000\U0010ffff", "a\U0001f600\xe9\u03b1\u20ac")
    yield from ("\udc80\udcff", "\ud800", "\ud83d\ude00", "\udfff\U0001f600", os.fsdecode(b"/tmp/\xff\x80.py"))
    for size in (pyunw.PYUNW_NAME_SIZE, pyunw.PYUNW_QUALNAME_SIZE):
        for character, width in WIDTHS.items():
            for count in range((size - 1) // width - 1, (size - 1) // width + 3):
                yield character * count
                # What begins or ends with other widths is cut elsewhere.
                yield "x" + character * count
                yield character * count + "xx"
        yield "x" * (size - 3) + "\U0001f600"
        yield "\U0001f600" + "x" * (size - 3)
    yield from ("y" * 5000, "\u03b1y" * 2000, "y" * 70000 + "\U0001f600")


def with_names(filename, name, qualname):
    """A function that calls its argument, under these names."""
    names = {"co_filename": filename, "co_name": name}
    if HAS_QUALNAME:
        names["co_qualname"] = qualname
    return types.FunctionType(template.__code__.replace(**names), {})


def template(reach):
    return reach()


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(map(str, words)))


# ---- Captures -------------------------------------------------------------------------------------------------------


def functions_of(names):
    """Each name stands in each place once, plain and as a subclass of str."""
    for n, name in enumerate(names):
        three = name, names[n - 1], names[n - 2]
        yield with_names(*three)
        yield with_names(*map(Text, three))


def compare_captures(observer, functions):
    for function in functions:
        function(observer.compare_own)


def compare_compiled(observer):
    """File names through compile(), and identifiers that are not ASCII."""
    for filename in ("/tmp/\xe9.py", "/tmp/\udcff\udc80.py", "/tmp/\U0001f600.py", Text("/tmp/sub\xe9.py")):
        code = compile("reach()", filename, "exec")
        check(type(code.co_filename) is type(filename), "compile() does not keep", type(filename))
        exec(code, {"reach": observer.compare_own})
    source = """
class \u041a\u043b\u0430\u0441\u0441:
    def na\xefve(self):
        def \U00010330\U00010331():
            return reach()
        return \U00010330\U00010331()

\u041a\u043b\u0430\u0441\u0441().na\xefve()
"""
    exec(compile(source, "\u043c\u043e\u0434\u0443\u043b\u044c.py", "exec"), {"reach": observer.compare_own})


# ---- Buffers of the caller's own ------------------------------------------------------------------------------------


class Buffer:
    """size bytes for one pyunw_text, and some behind them that are to stay as they are."""

    BEHIND = 16

    def __init__(self, size):
        self.size = size
        self.bytes = (ctypes.c_uint8 * (size + self.BEHIND))()
        ctypes.memset(self.bytes, UNTOUCHED, size + self.BEHIND)
        self.text = pyunw.pyunw_text(data=ctypes.addressof(self.bytes), size=size)

    def check(self, text, got, keep_end):
        """got: the pyunw_text as it came back. Returns whether the text was cut."""
        wanted, cut = cut_to_fit(text, max(self.size, 1), keep_end)
        held = bytes(self.bytes)
        check(got.whole == len(as_utf8(text)), "whole is", got.whole, "of", len(as_utf8(text)))
        check(got.length == len(wanted), "length is", got.length, "not", len(wanted), "in", self.size)
        if self.size > 0:
            check(held[: len(wanted) + 1] == wanted + b"\0", held[: len(wanted) + 1], "is not", wanted)
        check(held[self.size :] == bytes([UNTOUCHED]) * self.BEHIND, "wrote behind a buffer of", self.size)
        return cut


def sizes_for(text):
    whole = len(as_utf8(text))
    return sorted({0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 255, max(whole - 1, 0), whole, whole + 1, whole + 2, 2 * whole + 10})


def describe_into(target, raw, code, size_of):
    """One call, every text in a buffer of its own; size_of[field]: its size."""
    description = pyunw.pyunw_description()
    buffers = {field: Buffer(size) for field, size in size_of.items()}
    for field, buffer in buffers.items():
        setattr(description, field, buffer.text)
    pyunw.check(pyunw.lib.pyunw_describe_into(target, raw, description))
    flags = 0 if HAS_QUALNAME else pyunw.PYUNW_QUALNAME_IS_NAME
    for field, text, _, keep_end, flag in text_fields(code):
        if buffers[field].check(text, getattr(description, field), keep_end):
            flags |= flag
    check(description.flags == flags, "flags are", description.flags, "not", flags)
    return description.position


def describe_with_no_buffers(target, raw, code):
    """data NULL and size 0 only asks for the sizes."""
    description = pyunw.pyunw_description()
    pyunw.check(pyunw.lib.pyunw_describe_into(target, raw, description))
    for field, text, _, _, _ in text_fields(code):
        got = getattr(description, field)
        check((got.whole, got.length) == (len(as_utf8(text)), 0), field, got.whole, got.length)


def raw_frame_of(code):
    """Of a code object that need not run: a description asks for no frame."""
    return pyunw.pyunw_raw_frame(code=id(code), offset=0, kind=pyunw.PYUNW_FRAME_FUNCTION)


def position_of(position):
    return [getattr(position, field) for field, _ in position._fields_]


def compare_descriptions(targets, functions):
    """Returns how many descriptions were compared."""
    compared = 0
    for function in functions:
        code = function.__code__
        raw = raw_frame_of(code)
        for target in targets.values():
            frame = pyunw.pyunw_frame()
            pyunw.check(pyunw.lib.pyunw_describe(target, raw, frame))
            for field, text, size, keep_end, flag in text_fields(code):
                wanted, cut = cut_to_fit(text, size, keep_end)
                check(frame.text(field).encode() == wanted, field, "is", frame.text(field), "not", wanted)
                check(bool(frame.flags & flag) == cut, field, "flags are", frame.flags)
            describe_with_no_buffers(target, raw, code)
            sizes = [sizes_for(text) for _, text, _, _, _ in text_fields(code)]
            for three in zip(sizes[0], reversed(sizes[1]), sizes[2]):
                size_of = dict(zip(("filename", "name", "qualname"), three))
                position = describe_into(target, raw, code, size_of)
                check(position_of(position) == position_of(frame.position), "positions differ")
                compared += 1
    return compared


# ---- Legacy strings -------------------------------------------------------------------------------------------------


def legacy_string(text):
    """A string of wchar_t that is not "ready", as C extensions could make it up to 3.11."""
    api = ctypes.pythonapi
    api.PyUnicode_FromUnicode.restype = ctypes.py_object
    api.PyUnicode_FromUnicode.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]
    api.PyUnicode_AsUnicode.restype = ctypes.c_void_p
    api.PyUnicode_AsUnicode.argtypes = [ctypes.py_object]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, which is the point
        made = api.PyUnicode_FromUnicode(None, len(text))
    wide = (ctypes.c_wchar * len(text))(*text)
    ctypes.memmove(api.PyUnicode_AsUnicode(made), wide, ctypes.sizeof(wide))
    return made


def is_ready(text):
    return ctypes.c_uint32.from_address(id(text) + 32).value >> 7 & 1  # PyASCIIObject.state.ready


def replace_reference(code, old, new):
    """In the code object itself: code.replace() would make a legacy string ready. Returns how often."""
    replaced = 0
    for at in range(id(code), id(code) + sys.getsizeof(code.replace()) - 8, 8):
        word = ctypes.c_uint64.from_address(at)
        if word.value == id(old):
            word.value = id(new)
            replaced += 1
    return replaced


def compare_legacy_strings(targets):
    compared = 0
    for text in ("legacy", "\xe9", "\u03b1\u20ac", "\U0001f600x", "\udc80", "y" * 700, "\U0001f600" * 200):
        for label, target in targets.items():
            name = "name to be replaced %d" % compared
            code = with_names("file", name, name).__code__
            name = code.co_name
            legacy = legacy_string(text)
            assert replace_reference(code, name, legacy) == (2 if HAS_QUALNAME else 1)
            frame = pyunw.pyunw_frame()
            try:
                assert not is_ready(legacy), "it is no legacy string"
                pyunw.check(pyunw.lib.pyunw_describe(target, raw_frame_of(code), frame))
                assert not is_ready(legacy), "reading it changed it"
            finally:
                replace_reference(code, legacy, name)
            wanted, cut = cut_to_fit(text, pyunw.PYUNW_NAME_SIZE, False)
            check(frame.text("name").encode() == wanted, label, "is", frame.text("name"), "not", wanted)
            check(bool(frame.flags & pyunw.PYUNW_NAME_TRUNCATED) == cut, label, "flags are", frame.flags)
            compared += 1
    return compared


# ---------------------------------------------------------------------------------------------------------------------


def main():
    targets = open_targets()
    # They differ in how a text is read: by address, by trapped loads, by copies.
    targets = {label: targets[label] for label in ("direct", "trapped", "guarded, READV")}
    observer = Observer(targets, 64)
    names = sorted(set(all_names()))
    functions = list(functions_of(names))
    compare_captures(observer, functions)
    compare_compiled(observer)
    for function in functions[::5]:
        for thread_id in BlockedThread(function):
            observer.compare_other(thread_id)
    descriptions = compare_descriptions(targets, functions[1::2])
    legacy = compare_legacy_strings(targets) if sys.version_info < (3, 12) else 0
    print(
        "%d differences; %d names, %d captures, %d descriptions into buffers of other sizes, %d legacy strings"
        % (observer.differences, len(names), observer.compared, descriptions, legacy)
    )
    return 1 if observer.differences else 0


if __name__ == "__main__":
    sys.exit(main())
