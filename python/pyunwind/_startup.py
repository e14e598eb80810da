"""What pyunwind.pth imports when an interpreter starts with PYUNWIND_REPLACE_FAULTHANDLER=1."""

from . import faulthandler

faulthandler.replace()
