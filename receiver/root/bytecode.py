"""The receiver's own bytecode: made once by root, so that not every upload compiles some thirty modules for itself.

Where it cannot be made, uploads take longer and do the same. Account `postern` reads it and may not write there.
"""

from __future__ import annotations

import os
import sys

RECEIVER = os.path.dirname(os.path.dirname(__file__))
_LAST = os.path.join(RECEIVER, "__pycache__", f"tick.{sys.implementation.cache_tag}.pyc")


def settle() -> None:
    """Make what this version of Python has none of yet."""
    if not os.path.exists(_LAST):
        import compileall  # once a release

        compileall.compile_dir(RECEIVER, quiet=2)
