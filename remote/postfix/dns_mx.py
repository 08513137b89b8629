"""Runs on the relay: whether a domain has an MX other than the relay. DNS by hand: no tool is sure to be there."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

RESOLVERS = "/etc/resolv.conf"
SECONDS = 2.0
_MX, _INTERNET = 15, 1


class Exchanger(NamedTuple):
    """An answer to the question where a domain's mail goes."""

    preference: int
    host: str


def obstacle(domain: str, own: Iterable[str]) -> str:
    """Say why mail for the domain cannot go where DNS says, or nothing. `own`: names and addresses of the relay."""
    try:
        found = sorted(exchangers(domain))
    except (OSError, ValueError, struct.error) as error:
        return f"DNS does not say where its mail goes ({error})"
    itself = [one.preference for one in found if _is_own(one.host, set(own))]
    better = [one for one in found if not itself or one.preference < itself[0]]
    if better:
        return ""
    return f"its MX is this relay itself ({found[0].host})" if found else "it has no MX"


def exchangers(domain: str) -> list[Exchanger]:
    """Ask the relay's own resolvers for the MX records of a domain (A-labels). Raises OSError, ValueError."""
    with open(RESOLVERS, encoding="utf-8", errors="replace") as lines:
        servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    fault: Exception = OSError(f"{RESOLVERS} names no nameserver")
    for server in servers * 2:
        try:
            return list(_answers(_ask(server, domain)))
        except (OSError, ValueError, struct.error) as error:  # noqa: PERF203  # what is slow here is the network
            fault = error
    raise fault


def _ask(server: str, domain: str) -> bytes:
    """Ask over UDP, and over TCP where the answer was cut."""
    number = os.urandom(2)
    name = b"".join(bytes([len(label)]) + label for label in domain.encode("ascii").split(b"."))
    question = number + b"\x01\0\0\x01\0\0\0\0\0\0" + name + b"\0" + struct.pack(">HH", _MX, _INTERNET)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(SECONDS)
        asking.connect((server, 53))
        asking.send(question)
        answer = asking.recv(4096)
    if answer[2:3] and answer[2] & 2:
        with socket.create_connection((server, 53), SECONDS) as longer, longer.makefile("rwb") as stream:
            stream.write(struct.pack(">H", len(question)) + question)
            stream.flush()
            answer = stream.read(struct.unpack(">H", stream.read(2))[0])
    if answer[:2] != number:
        raise ValueError(f"{server} answers another question")
    return answer


def _answers(message: bytes) -> Iterator[Exchanger]:
    code = message[3] & 15
    if code not in (0, 3):
        raise ValueError(f"DNS error {code}")
    questions, answers = struct.unpack(">HH", message[4:8])
    at = 12
    for _ in range(questions):
        at = _name(message, at)[1] + 4
    for _ in range(answers):
        at = _name(message, at)[1]
        kind, _, _, length = struct.unpack(">HHIH", message[at : at + 10])
        if kind == _MX:
            host = _name(message, at + 12)[0]
            if host:  # a lone dot means: no mail at all (RFC 7505)
                yield Exchanger(struct.unpack(">H", message[at + 10 : at + 12])[0], host)
        at += 10 + length


def _name(message: bytes, at: int) -> tuple[str, int]:
    """Read the name at this place, and where what follows begins. Each pointer must lead back, so none leads round."""
    labels, after, limit = [], 0, at
    while length := message[at]:
        if length >= 0xC0:
            after = after or at + 2
            at = struct.unpack(">H", message[at : at + 2])[0] & 0x3FFF
            if at >= limit:
                raise ValueError("a name in the answer has no end")
            limit = at
            continue
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), after or at + 1


def _is_own(host: str, own: set[str]) -> bool:
    """Tell whether a name is the relay's: by name, or by an address of it or before it (proxy_interfaces)."""
    if host in own:
        return True
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, 25, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(addresses & own) or any(map(_is_local, addresses))


def _is_local(address: str) -> bool:
    """Tell whether this machine has the address: only then can a socket be bound to it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
