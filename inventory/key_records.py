"""Public halves of customers' keys, and relays' host keys, on disk. A private key never comes here."""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from common.key_line import KEY_TYPES
from inventory.atomic_text import replace_text, sync_folder
from inventory.exchange import Ssh
from inventory.model import Key, Relay

_FILE = re.compile(r"k([1-9][0-9]*)\.pub")
SPARE = "spare"
"""Comment in known_hosts of a key that a machine may come to offer."""


def read(where: Path, customer: str) -> tuple[tuple[Key, ...], list[str]]:
    """Return the customer's keys, oldest first, and what is wrong with their files."""
    keys, faults = [], []
    for path in _entries(where / "keys" / customer):
        shown = path.relative_to(where)
        if path.name.startswith("."):
            continue  # a draft of a run that was killed
        if path.name == "last":
            faults += _last_faults(path, shown)
            continue
        if not _FILE.fullmatch(path.name):
            faults.append(
                f"{shown}: no public key of ours, which are named k1.pub, k2.pub, ...; a private key must not be here"
            )
            continue
        try:
            keys.append(_key(path.read_text("utf-8"), customer, path.stem))
        except (OSError, ValueError) as error:
            faults.append(f"{shown}: {_reason(error)}")
    return tuple(sorted(keys, key=lambda key: _number(key.name))), faults


def record(where: Path, customer: str, key: Key) -> None:
    """Write a public half down: the commit point of a first key and of a rotation."""
    number, day = _number(key.name), key.recorded or datetime.now(UTC).date()
    path = where / "keys" / customer / f"{key.name}.pub"
    replace_text(path, f"{key.public} {customer} {key.name} {day.isoformat()}\n")
    _remember(where, customer, number)


def forget(where: Path, customer: str, name: str) -> None:
    """Delete a public key; its name is not used again."""
    _remember(where, customer, _number(name))
    path = where / "keys" / customer / f"{name}.pub"
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def was_recorded(where: Path, customer: str, name: str) -> bool:
    """Return whether this checkout, or one it comes from, has had a key of that name on record."""
    match = _FILE.fullmatch(f"{name}.pub")
    return match is not None and int(match[1]) <= _highest(where, customer)


@contextmanager
def hold_lock(where: Path, customer: str) -> Iterator[None]:
    """Hold the lock of the customer's keys. Raises BlockingIOError when another run has it."""
    folder = where / "keys" / customer
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def next_name(where: Path, customer: str, seen: Iterable[str] = ()) -> str:
    """Return the next key's name: one above the highest ever recorded, and above those that relays have seen."""
    numbers = [_number(name) for name in seen if _FILE.fullmatch(f"{name}.pub")]
    return f"k{max([_highest(where, customer), *numbers]) + 1}"


def trust(where: Path, machine: Relay | Ssh, host_keys: Sequence[str]) -> None:
    """Make these ("TYPE BLOB"), and its spare ones, the machine's only host keys; the lines of other hosts stay."""
    spare = [key for key in spare_keys(where, machine) if key not in host_keys]
    _pin(where, machine, [*host_keys, *(f"{key} {SPARE}" for key in spare)])


def pin_spare(where: Path, machine: Relay | Ssh, host_keys: Sequence[str]) -> None:
    """Pin host keys ("TYPE BLOB") that the machine does not offer yet, beside those that are pinned."""
    spare = [*spare_keys(where, machine), *host_keys]
    pinned = [key for key in read_known_hosts(where)[0].get(host_field(machine), ()) if key not in spare]
    _pin(where, machine, [*pinned, *(f"{key} {SPARE}" for key in dict.fromkeys(spare))])


def spare_keys(where: Path, machine: Relay | Ssh) -> tuple[str, ...]:
    """Return the host keys that were pinned before the machine has come to offer them. Raises OSError, ValueError."""
    lines = [_fields(line) for line in _lines(where / "known_hosts")]
    field = host_field(machine)
    return tuple(" ".join(each[1:3]) for each in lines if field in each[0].split(",") and each[3:] == [SPARE])


def read_host_keys(text: str) -> tuple[str, ...]:
    """Return the public keys in a text, a line each, as ssh-keygen writes them. Raises ValueError."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError("has no public key in it")
    return tuple(_public(words) for words in lines)


def _pin(where: Path, machine: Relay | Ssh, lines: Iterable[str]) -> None:
    path, field = where / "known_hosts", host_field(machine)
    kept = [line for line in _lines(path) if field not in _fields(line)[0].split(",")]
    replace_text(path, "".join(f"{line}\n" for line in [*kept, *(f"{field} {line}" for line in lines)]))


def host_field(machine: Relay | Ssh) -> str:
    """Return the machine's name in known_hosts, as OpenSSH writes it."""
    address = machine.address or ""  # of a server that nobody reaches over SSH
    return address if machine.port in (None, 22) else f"[{address}]:{machine.port}"


def read_known_hosts(where: Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the host keys in known_hosts by host field, and what is wrong with the file."""
    found: dict[str, tuple[str, ...]] = {}
    faults = []
    try:
        lines = _lines(where / "known_hosts")
    except (OSError, ValueError) as error:
        return {}, [f"known_hosts: {_reason(error)}"]
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(("#", "@", "|")):  # comments, marked and hashed lines are not ours
            continue
        hosts, *key = _fields(line)
        try:
            public = _public(key)
        except ValueError as error:
            faults.append(f"known_hosts: line {number}: {error}")
            continue
        for host in hosts.split(","):
            found[host] = (*found.get(host, ()), public)
    return found, faults


def recorded_customers(where: Path) -> Iterator[str]:
    """Yield the customers that have a public half on record, in files of customers/ or not."""
    for folder in _entries(where / "keys"):
        if any(path.suffix == ".pub" for path in _entries(folder)):
            yield folder.name


def _key(text: str, customer: str, name: str) -> Key:
    words = text.split()
    if text.count("\n") > 1 or len(words) != 5:
        raise ValueError(f"must be one line: TYPE BLOB {customer} {name} YYYY-MM-DD")
    if words[2:4] != [customer, name]:
        raise ValueError(f"is the key {' '.join(words[2:4])!r}, which is not this file's name")
    return Key(name, _public(words), date.fromisoformat(words[4]))


def _public(words: Sequence[str]) -> str:
    """Return "TYPE BLOB" of a line's words, the blob being one of that type."""
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise ValueError(f"must be a public key as OpenSSH writes it, of {', '.join(KEY_TYPES)}")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        raise ValueError("its key is cut or damaged: not base64") from None
    parts = _parts(blob)
    if not parts:
        raise ValueError("its key is cut or damaged: it ends in the middle")
    if parts[0] != words[0].encode():
        raise ValueError(f"its key is damaged: not of type {words[0]}")
    return f"{words[0]} {words[1]}"


def _parts(blob: bytes) -> list[bytes]:
    """Return the strings a key's blob is made of, each with its length before it; none when the last is not whole."""
    parts = []
    while blob:
        end = 4 + int.from_bytes(blob[:4], "big")
        if len(blob) < max(4, end):
            return []
        parts.append(blob[4:end])
        blob = blob[end:]
    return parts


def _last_faults(path: Path, shown: Path) -> list[str]:
    text = path.read_bytes().strip()
    return [] if text.isdigit() else [f"{shown}: must be the number of the highest key ever recorded, and nothing else"]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _number(name: str) -> int:
    match = _FILE.fullmatch(f"{name}.pub")
    if match is None:
        raise ValueError(f"a key is named k1, k2, ..., not {name!r}")
    return int(match[1])


def _highest(where: Path, customer: str) -> int:
    folder = where / "keys" / customer
    last = int((folder / "last").read_text("ascii")) if (folder / "last").exists() else 0
    return max([last, *(_number(path.stem) for path in _entries(folder) if _FILE.fullmatch(path.name))])


def _remember(where: Path, customer: str, number: int) -> None:
    replace_text(where / "keys" / customer / "last", f"{max(number, _highest(where, customer))}\n")


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _fields(line: str) -> list[str]:
    return line.split() or [""]


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not text in UTF-8"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
