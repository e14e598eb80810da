"""What host.c runs in a sub-interpreter: a capture there shows its frames and not those of the interpreter around."""

import lives


def main():
    lives.check("in a sub-interpreter")
