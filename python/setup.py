"""Beside what pyproject.toml says: pyunwind.pth lies beside the package, where an interpreter reads it at its start."""

import os

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPth(build_py):
    def run(self):
        super().run()
        self.copy_file("pyunwind.pth", os.path.join(self.build_lib, "pyunwind.pth"))

    def get_outputs(self, include_bytecode=1):
        return super().get_outputs(include_bytecode) + [os.path.join(self.build_lib, "pyunwind.pth")]


setup(cmdclass={"build_py": BuildWithPth})
