"""The floor of all work on relays: open the connections with Fabric, side by side, and run `true`.

python floor.py ADDRESS...
"""

from __future__ import annotations

import sys

from fabric import ThreadingGroup

if __name__ == "__main__":
    ThreadingGroup(*sys.argv[1:]).run("true", hide=True)
