"""Relays as `inv adopt` finds them: each folder of tests/adopt is one, with what is right there in want.json.

`main.cf`: the parameters that differ from a plain relay, with @TYPE@ for the type of its tables. `files/` is laid over
`/`. `build.sh` is run as root with TYPE set before Postfix starts. Of want.json: `lists` are the addresses that are to
be brought, `either` may be, `refuses` says why there is no list, `named` what is to be told and in which words,
`before` is the reply to RCPT from outside.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from lab.host import LabHost

FOUND = Path(__file__).parent.parent / "adopt"
NAMES = sorted(path.name for path in FOUND.iterdir() if path.is_dir())
TYPES = {"bookworm": "hash", "trixie": "lmdb", "forky": "cdb"}
_SAVED = "/root/postfix.plain"


class FoundRelay(NamedTuple):
    """One of them."""

    name: str
    want: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> FoundRelay:
        """Read what is right there."""
        return cls(name, json.loads((FOUND / name / "want.json").read_text("utf-8")))

    @property
    def lists(self) -> set[str]:
        """The addresses that are to be brought, folded."""
        return {address.casefold() for address in self.want["lists"]}


def become(host: LabHost, name: str) -> None:
    """Make a host the relay of a folder, whatever it was before."""
    host.run("sh", "-c", f"postfix stop 2>/dev/null; [ -d {_SAVED} ] || cp -a /etc/postfix {_SAVED}")
    host.run("sh", "-c", f"rm -rf /etc/postfix && cp -a {_SAVED} /etc/postfix")
    folder, kind = FOUND / name, TYPES[host.release]
    shutil.copytree(folder / "files", host.root, dirs_exist_ok=True)
    host.run("sh", "-c", "chown -R root:root /etc/postfix && chmod -R u=rwX,go=rX /etc/postfix")
    text = (folder / "main.cf").read_text("utf-8").replace("@TYPE@", kind)
    for parameter in text.replace("\n ", " ").splitlines():
        host.run("postconf", "-e", parameter)
    host.run("env", f"TYPE={kind}", "sh", stdin=(folder / "build.sh").read_bytes())
    host.start_postfix()


def fingerprint(host: LabHost) -> str:
    """Return names and digests of what the relay's owner keeps, without what Postern edits by member."""
    return host.run("sh", "-c", "cd /etc/postfix; find . -type f ! -name main.cf | sort | xargs sha256sum").stdout
