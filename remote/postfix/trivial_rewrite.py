"""Runs on the relay: asks trivial-rewrite(8) where mail for an address goes, as the other daemons do; kind `routes`.

Nothing else knows it all: transport_maps, relayhost, every kind of table, and which class a domain is of. The protocol
is names and values that end in NUL, an empty name at the end; seen alike with Postfix 3.5 to 3.11.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from io import BufferedRWPair
from typing import NamedTuple

from remote.main import Failed, Kind, Request, State
from remote.postfix.instance import Postfix

LOCAL, ALIAS, VIRTUAL, RELAY, OTHER = "local", "virtual alias", "virtual mailbox", "relay", "other"
_CLASSES = {1 << 8: LOCAL, 1 << 9: ALIAS, 1 << 10: VIRTUAL, 1 << 11: RELAY, 1 << 12: OTHER}
_FAILED = 1 << 3
NOTICED = 15.0  # seconds within which trivial-rewrite sees a new table: it looks every ten


class Resolved(NamedTuple):
    """Where Postfix would take an address."""

    kind: str  # the class of its domain
    transport: str
    next_hop: str


def resolve(postfix: Postfix, addresses: Iterable[str]) -> dict[str, Resolved]:
    """Return where mail for each of these addresses would go. Raises Failed."""
    path = os.path.join(postfix.value("queue_directory"), "private", "rewrite")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(path)
            with connection.makefile("rwb") as stream:
                return {address: _resolve(stream, address) for address in addresses}
    except OSError as error:
        raise Failed(f"trivial-rewrite cannot be asked at {path}: {error}; is Postfix running?") from error


def _resolve(stream: BufferedRWPair, address: str) -> Resolved:
    question = ("request", "resolve", "sender", "", "address", address, "")
    stream.write("".join(f"{word}\0" for word in question).encode())
    stream.flush()
    answer = dict(_pairs(stream))
    if "protocol" in answer:  # its greeting, since 3.6
        answer = dict(_pairs(stream))
    flags = int(answer["flags"])
    if flags & _FAILED:
        raise Failed(f"Postfix cannot say where mail for {address} goes: one of its tables cannot be read; see its log")
    kind = next((kind for flag, kind in _CLASSES.items() if flags & flag), OTHER)
    return Resolved(kind, answer["transport"], answer["nexthop"])


def _pairs(stream: BufferedRWPair) -> Iterator[tuple[str, str]]:
    """Yield names and values of one answer; of a name that comes twice (flags) the last is the one that counts."""
    while name := _word(stream):
        yield name, _word(stream)


def _word(stream: BufferedRWPair) -> str:
    found = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            raise OSError("it closed the connection")
        found += byte
    return found.decode("utf-8", "surrogateescape")


def _read(asked: list[Request]) -> list[State | None]:
    return [_read_one(one) for one in asked]


def _read_one(one: Request) -> State | None:
    """Read the next hop of each domain; None where Postfix cannot say: it may be what is about to change."""
    postfix = Postfix(one.name)
    try:
        return _routes(postfix, one.wanted or {}) if postfix.is_there() else None
    except Failed:
        return None


def _routes(postfix: Postfix, domains: Iterable[str]) -> State:
    found = resolve(postfix, [f"postmaster@{domain}" for domain in domains])
    return {address.partition("@")[2]: f"{one.transport}:{one.next_hop}" for address, one in found.items()}


def _make(name: str, wanted: State | None) -> None:
    """Wait until Postfix has noticed the new tables. Nothing is changed."""
    until = time.monotonic() + NOTICED
    while wrong := _find_wrong(_routes(Postfix(name), wanted or {}), wanted or {}):
        if time.monotonic() > until:
            raise Failed(f"Postfix takes mail elsewhere: {'; '.join(wrong)}. Does an entry of another map win?")
        time.sleep(0.5)


def _find_wrong(now: State, wanted: State) -> list[str]:
    return [f"{domain} to {now[domain]} and not to {hop}" for domain, hop in wanted.items() if now[domain] != hop]


KINDS = {"routes": Kind(_read, _make)}
