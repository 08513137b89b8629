"""An address of its own on `lo` for each lab host, 127.77.0.1 to 127.77.0.250."""

from __future__ import annotations

import errno
import json
import socket
import subprocess

from lab.roots import LabError

NETWORK = "127.77.0"
LAST = 250


class Address:
    """An address that nobody else has as long as this object, or a process that inherited its lock, lives.

    The lock is a name in the abstract socket namespace: the kernel frees it with its last holder, and it reaches as far
    as the address does, which is this network namespace, whatever the processes' roots and file systems.
    """

    def __init__(self) -> None:
        """Take the lowest free address. Raises LabError when there is none."""
        self.number, self.lock = _first_free()
        self.text = f"{NETWORK}.{self.number}"
        _sweep(besides=self.text)
        # Postfix refuses inet_interfaces that no interface has, though all of 127/8 answers.
        subprocess.run(["ip", "address", "replace", f"{self.text}/32", "dev", "lo"], check=True, capture_output=True)

    def give_back(self) -> None:
        """Remove the address from `lo`, then release it."""
        subprocess.run(["ip", "address", "delete", f"{self.text}/32", "dev", "lo"], check=False, capture_output=True)
        self.lock.close()


def _first_free() -> tuple[int, socket.socket]:
    for number in range(1, LAST + 1):
        if lock := _take(f"{NETWORK}.{number}"):
            return number, lock
    raise LabError(f"all {LAST} addresses of {NETWORK}.0/24 are in use by lab hosts; stop some")


def _take(address: str) -> socket.socket | None:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0postern-lab {address}")
    except OSError as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return lock


def _sweep(besides: str) -> None:
    """Remove addresses from `lo` that killed runs have left."""
    listed = subprocess.run(["ip", "-json", "address", "show", "dev", "lo"], check=True, capture_output=True, text=True)
    there = [entry["local"] for entry in json.loads(listed.stdout)[0]["addr_info"]]
    for address in there:
        if address.startswith(f"{NETWORK}.") and address != besides and (lock := _take(address)):
            subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"], check=False, capture_output=True)
            lock.close()
