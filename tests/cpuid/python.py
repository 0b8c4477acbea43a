"""The Python that tests start: this one, or as APPLIANCEFORGE_PYTHON says.

A Python of a 32-bit tree needs its tree's loader in front of it, which `sys.executable` leaves out.
"""

import os
import shlex
import sys

COMMAND = tuple(shlex.split(os.environ.get("APPLIANCEFORGE_PYTHON", ""))) or (sys.executable,)
