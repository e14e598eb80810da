"""What the tests of this folder share: the exception of a thread, in words, and what the interpreter says of it."""

import os
import re
import sys
import traceback

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw


def describe(target, exception):
    """(type, message, flags)"""
    text = pyunw.pyunw_exception_text()
    pyunw.check(pyunw.lib.pyunw_describe_exception(target, exception, text))
    return text.text("type"), text.text("message"), text.flags


def of_object(error):
    """The pyunw_exception of an object."""
    return pyunw.pyunw_exception(object=id(error), type=id(type(error)), flags=pyunw.PYUNW_EXCEPTION_HANDLED)


def type_of(error):
    """As the last line of a traceback begins."""
    lines = traceback.format_exception_only(type(error), error)
    # Of a SyntaxError the source comes first; of others there may be notes behind.
    return re.match("[^:\n]*", lines[-1 if isinstance(error, SyntaxError) else 0]).group()


def utf8(text):
    """With lone surrogates as pyunwind writes them."""
    return "".join("\\u%04x" % ord(c) if 0xD800 <= ord(c) < 0xE000 else c for c in text)
