"""Runs on the relay: kind `store`, what a relay logs in to the store with. Standard library of Python 3.9 only.

The password comes by another way, into a file that root alone reads, and is put into the service file here: no plan,
diff or log has it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat

from remote.files import read_text, replace
from remote.main import Failed, Kind, Request, State

_SENT = ".password"
_MODE = 0o640
_FILES = {"config": "store.json", "service": "service.conf", "authority": "ca.pem"}


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(one.name) for one in asked]


def _state(folder: str) -> State | None:
    """Return what the files say, the password left out but for whether it is the one that was sent last."""
    if not os.path.isdir(folder):
        return None
    found: State = {name: read_text(os.path.join(folder, file)) for name, file in _FILES.items()}
    lines = str(found["service"]).splitlines(keepends=True)
    password = "".join(line for line in lines if line.startswith("password="))
    sent = read_text(os.path.join(folder, _SENT))
    found = {**found, "service": "".join(line for line in lines if not line.startswith("password="))}
    found = {**found, "password": "sent" if sent and password == _line(sent) else "lacks"}
    odd = [file for file in _FILES.values() if not _is_closed(os.path.join(folder, file))]
    return {**found, "odd": odd} if odd else found


def _is_closed(path: str) -> bool:
    """Return whether root alone writes a file, and none but root and the account read it."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return True
    owners = (info.st_uid, info.st_gid) == (os.geteuid(), _account_group())
    return owners and stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == _MODE


def _make(folder: str, wanted: State | None) -> None:
    if wanted is None:
        for file in (_FILES["config"], *_FILES.values(), _SENT):  # without the first the relay uses no store
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, file))
        os.rmdir(folder)
        return
    sent = read_text(os.path.join(folder, _SENT))
    if not sent:
        raise Failed("no password for the store was sent yet")
    owner = (os.geteuid(), _account_group())
    os.makedirs(folder, 0o755, exist_ok=True)
    contents = {**wanted, "service": f"{wanted['service']}{_line(sent)}"}
    for name in ("authority", "service", "config"):  # with the last of them the relay begins to use the store
        replace(os.path.join(folder, _FILES[name]), str(contents[name]).encode(), _MODE, owner)


def _line(password: str) -> str:
    return f"password={password.strip()}\n"


def _account_group() -> int:
    try:
        return grp.getgrnam("postern").gr_gid
    except KeyError:
        raise Failed("account postern is not there yet") from None


KINDS = {"store": Kind(_read, _make)}
