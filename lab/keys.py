"""The lab's SSH keys: the operator's own, and those of each address; made once, kept in the cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import roots

HOST_KEY_TYPES = {"ed25519": (), "rsa": ("-b", "2048"), "ecdsa": ()}


def admin_key() -> Path:
    """Return the operator's key: one for all hosts, made once."""
    key = roots.cache() / "admin_key"
    with _one_at_a_time():
        if not key.exists():
            _make_key(key, "ed25519")
    return key


def host_keys(number: int) -> Path:
    """Return the directory of an address' host keys: made once, as RSA takes longer than all the rest of a start."""
    keys = roots.cache() / "host_keys" / str(number)
    with _one_at_a_time():
        if not keys.exists():
            keys.parent.mkdir(exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=roots.cache(), prefix=".host_keys."))
            for kind, options in HOST_KEY_TYPES.items():
                _make_key(draft / f"ssh_host_{kind}_key", kind, *options)
            draft.rename(keys)
    return keys


def _make_key(path: Path, kind: str, *options: str) -> None:
    """Make a pair; the private half last, so that where it is, the public one is."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".key.") as draft:
        pair = Path(draft, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", "", "-f", pair], check=True)
        shutil.move(pair.with_suffix(".pub"), path.with_suffix(".pub"))
        shutil.move(pair, path)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    roots.cache().mkdir(parents=True, exist_ok=True)
    lock = os.open(roots.cache() / ".keys.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
