"""The tests: ``python3 -m unittest``, and ``python3 -m tests.vectors``.

Debian's packages belong to Debian's Python. Where another python3 comes first in the PATH and has no PyJWT, the tests
are handed over to Debian's.
"""

import importlib.util
import os
import sys

_DEBIAN = "/usr/bin/python3"

if importlib.util.find_spec("jwt") is None and sys.executable != _DEBIAN and os.path.exists(_DEBIAN):
    os.execv(_DEBIAN, [_DEBIAN, *sys.orig_argv[1:]])
