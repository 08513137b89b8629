"""A name server for lab hosts: it knows the MX records put into it, and answers long lists over TCP alone."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

NETWORK = "127.77.254"
MOST = 3  # records an answer over UDP may have


class NameServer:
    """Runs while it is entered; `address` is where, `mx` what it knows: domain, then preferences and hosts."""

    def __init__(self) -> None:
        self.mx: dict[str, list[tuple[int, str]]] = {}
        self.address, self._streams = _first_free()
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((self.address, 53))
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._over_udp, self._over_tcp)]

    def __enter__(self) -> NameServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", (self.address, 53))
        socket.create_connection((self.address, 53)).close()
        for thread in self._threads:
            thread.join()
        self._datagrams.close()
        self._streams.close()

    def _over_udp(self) -> None:
        while (received := self._datagrams.recvfrom(512))[0]:
            self._datagrams.sendto(self._answer(received[0], MOST), received[1])

    def _over_tcp(self) -> None:
        while True:
            with self._streams.accept()[0] as connection, connection.makefile("rwb") as stream:
                size = stream.read(2)
                if not size:
                    return
                said = self._answer(stream.read(*struct.unpack(">H", size)), 1000)
                stream.write(struct.pack(">H", len(said)) + said)

    def _answer(self, question: bytes, most: int) -> bytes:
        """Answer with compressed names; an answer with more than `most` records is cut to none."""
        name, end = _name(question)
        records = self.mx.get(name, [])
        cut = len(records) > most
        shown = [] if cut else records
        head = question[:2] + struct.pack(">BBHHHH", 0x83 if cut else 0x81, 0x80, 1, len(shown), 0, 0)
        return head + question[12 : end + 4] + b"".join(map(_record, shown))


def _first_free() -> tuple[str, socket.socket]:
    """Listen on an address that no other name server of these tests has, in whichever checkout."""
    for number in range(100, 250):
        address = f"{NETWORK}.{number}"
        with suppress(OSError):
            return address, socket.create_server((address, 53))
    raise OSError(f"every address from {NETWORK}.100 on is in use")


def _name(question: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1


def _record(record: tuple[int, str]) -> bytes:
    preference, host = record
    labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".") if label)
    data = struct.pack(">H", preference) + labels + b"\0"
    return b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 60, len(data)) + data
