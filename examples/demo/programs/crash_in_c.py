"""
A menu whose price tags are read from memory; one says that it lies at address 0.

The comments `# THREAD N` mark what is on the thread's stack, 0 being the innermost frame of this file.
"""

import ctypes
import re


def read_tag(address):
    return ctypes.string_at(address).decode()  # main 0


class Menu:
    def __init__(self, text):
        self.text = text

    def price(self, match):
        return read_tag(int(match[1]))  # main 1

    def show(self):
        return re.sub(r"\$(\d+)", self.price, self.text)  # main 2


def main():
    menu = Menu("Crêpe Suzette: $0")
    print(menu.show())  # main 3


main()  # main 4
