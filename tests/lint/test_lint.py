# interpreters: host
# weight: heavy
"""The sources are as tools/lint wants them: formatting, warnings of gcc and clang, clang-tidy, cppcheck."""

import os
import subprocess
import sys

source = os.environ["PYUNWIND_SOURCE"]
sys.exit(subprocess.run([os.path.join(source, "tools", "lint")], cwd=source, stdin=subprocess.DEVNULL).returncode)
