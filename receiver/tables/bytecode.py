"""The receiver's own bytecode: made once by root, so that not every upload compiles some thirty modules for itself.

Where it cannot be made, uploads take longer and do the same. Account `postern` reads it and may not write there.
"""

from __future__ import annotations

import os
import sys

RECEIVER = os.path.dirname(os.path.dirname(__file__))
ROOMS = (os.path.join(os.path.dirname(RECEIVER), "common"), RECEIVER)  # the receiver last: it has the mark
_LAST = os.path.join(RECEIVER, "__pycache__", f"timer.{sys.implementation.cache_tag}.pyc")


def compile_receiver() -> None:
    """Compile the receiver where this version of Python has no bytecode of it yet."""
    if not os.path.exists(_LAST):
        import compileall  # once a release

        for room in ROOMS:
            compileall.compile_dir(room, quiet=2)
