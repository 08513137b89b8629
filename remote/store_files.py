"""Runs on the relay: kind `store`, the files with which a relay logs in to the store.

The credential, a password or a certificate with its key in PEM, is sent separately into a file that root alone reads.
From there it is written into the service file or beside it, so that no plan, diff or log has it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
import stat
from typing import NamedTuple

from remote.files import read_text, replace
from remote.main import Failed, Kind, Request, State

_SENT = ".credential"
_MODE = 0o640
_FILES = {"config": "store.json", "service": "service.conf", "authority": "ca.pem"}
_CERTIFICATE, _KEY = "client.crt", "client.key"
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)
_OURS = ("password=", "sslcert=", "sslkey=")  # lines of the service file that are made of the credential


class Credential(NamedTuple):
    """The parts of what was sent that are written."""

    lines: str  # of the service file
    files: dict[str, str]  # beside it


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(one.name) for one in asked]


def _state(folder: str) -> State | None:
    """Return what the files say; of the credential only whether it is the one that was sent last."""
    if not os.path.isdir(folder):
        return None
    found: State = {name: read_text(os.path.join(folder, file)) for name, file in _FILES.items()}
    lines = str(found["service"]).splitlines(keepends=True)
    sent = read_text(os.path.join(folder, _SENT))
    is_sent = bool(sent) and _written(folder, lines) == _credential(folder, sent)
    found = {**found, "service": "".join(line for line in lines if not line.startswith(_OURS))}
    found = {**found, "credential": "sent" if is_sent else "lacks"}
    names = (*_FILES.values(), _CERTIFICATE, _KEY)
    odd = [file for file in names if not _is_closed(os.path.join(folder, file))]
    return {**found, "odd": odd} if odd else found


def _written(folder: str, lines: list[str]) -> Credential:
    files = {name: read_text(os.path.join(folder, name)) for name in (_CERTIFICATE, _KEY)}
    return Credential("".join(line for line in lines if line.startswith(_OURS)), files)


def _credential(folder: str, sent: str) -> Credential:
    """Return what is written of a password, or of a certificate and its key."""
    if "-----BEGIN " not in sent:
        return Credential(f"password={sent.strip()}\n", {_CERTIFICATE: "", _KEY: ""})
    blocks = [(found.group(1), found.group(0).rstrip("\n") + "\n") for found in _BLOCK.finditer(sent)]
    key = "".join(text for name, text in blocks if name.endswith("PRIVATE KEY"))
    certificate = "".join(text for name, text in blocks if name == "CERTIFICATE")
    lines = f"sslcert={os.path.join(folder, _CERTIFICATE)}\nsslkey={os.path.join(folder, _KEY)}\n"
    return Credential(lines, {_CERTIFICATE: certificate, _KEY: key})


def _is_closed(path: str) -> bool:
    """Return whether only root may write a file, and only root and the account may read it."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return True
    owners = (info.st_uid, info.st_gid) == (os.geteuid(), _account_group())
    return owners and stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == _MODE


def _make(folder: str, wanted: State | None) -> None:
    if wanted is None:
        for file in (*_FILES.values(), _CERTIFICATE, _KEY, _SENT):  # without the first the relay uses no store
            _remove(folder, file)
        os.rmdir(folder)
        return
    sent = read_text(os.path.join(folder, _SENT))
    if not sent:
        raise Failed("no credential for the store was sent yet")
    owner = (os.geteuid(), _account_group())
    os.makedirs(folder, 0o755, exist_ok=True)
    credential = _credential(folder, sent)
    for name, content in credential.files.items():
        if content:
            replace(os.path.join(folder, name), content.encode(), _MODE, owner)
    contents = {**wanted, "service": f"{wanted['service']}{credential.lines}"}
    for name in ("authority", "service", "config"):  # with the last of them the relay begins to use the store
        replace(os.path.join(folder, _FILES[name]), str(contents[name]).encode(), _MODE, owner)
    for name, content in credential.files.items():
        if not content:
            _remove(folder, name)


def _remove(folder: str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, name))


def _account_group() -> int:
    try:
        return grp.getgrnam("postern").gr_gid
    except KeyError:
        raise Failed("account postern is not there yet") from None


KINDS = {"store": Kind(_read, _make)}
