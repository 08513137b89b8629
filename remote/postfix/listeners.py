"""Runs on the relay: where its Postfix takes mail from anywhere."""

from __future__ import annotations

import socket
from typing import NamedTuple

from common.main_cf_params import members
from remote.main import Failed
from remote.postfix.instance import Postfix, Service

PORT = ("smtp", "25")
SUBMISSION = ("submission", "587", "smtps", "submissions", "465")
PROXIED = {"smtpd": "smtpd_upstream_proxy_protocol", "postscreen": "postscreen_upstream_proxy_protocol"}
ERRORS = 8  # refusals taken on one connection; by default Postfix slows down after 10 and hangs up after 20
LIMITS = ("smtpd_soft_error_limit", "smtpd_hard_error_limit")


class Listener(NamedTuple):
    """Where an smtpd listens, and how it wants to be spoken to."""

    host: str  # an address
    port: int
    errors: int = ERRORS  # refusals after which it would slow down or hang up
    proxied: bool = False  # a proxy's first line says who calls (HAProxy's protocol)

    def __str__(self) -> str:
        """Return its name for messages."""
        return f"smtpd on {self.host} port {self.port}"


def find_public_services(postfix: Postfix) -> list[Service]:
    """Return the services that strangers reach: port 25 and those behind a proxy, or else the most likely one."""
    found = [one for one in postfix.services() if one.type == "inet" and one.command in PROXIED]
    if not found:
        raise Failed(f"master.cf in {postfix.directory} has no smtpd that listens: this Postfix takes no mail")
    usual = [one for one in found if _port(one) in PORT]
    behind = [one for one in found if is_proxied(postfix, one) and one not in usual]
    open_ = [one for one in usual if not _is_loopback(_host(one))]
    others = [one for one in found if _port(one) not in SUBMISSION and not _is_loopback(_host(one))]
    return [*open_, *behind] or usual or others[:1] or found[:1]


def find_answering_services(postfix: Postfix) -> list[Service]:
    """Return the services that answer strangers' RCPT TO: of a postscreen, its smtpd as well."""
    found = find_public_services(postfix)
    if any(one.command == "postscreen" for one in found):
        found += [one for one in postfix.services() if (one.type, one.command) == ("pass", "smtpd")]
    return found


def find_listener(postfix: Postfix) -> Listener:
    """Return the first of them, at the first address it listens on. Raises Failed."""
    service = find_public_services(postfix)[0]
    values = postfix.values("inet_interfaces", "inet_protocols", *LIMITS)
    host = _host(service)
    if not host:
        everywhere = "::1" if values.get("inet_protocols") == "ipv6" else "127.0.0.1"
        first = (members(values.get("inet_interfaces", "")) or ["all"])[0]
        host = everywhere if first in ("all", "loopback-only") else first
    limits = [service.overrides.get(name, values.get(name, "")) for name in LIMITS]
    errors = max(1, min(ERRORS, *(int(limit) - 1 for limit in limits if limit.isdigit())))
    port = _number(_port(service))
    return Listener(_address(host.strip("[]"), port), port, errors, is_proxied(postfix, service))


def is_proxied(postfix: Postfix, service: Service) -> bool:
    """Return whether a proxy stands before a service and tells it who calls."""
    name = PROXIED[service.command]
    return service.overrides.get(name, postfix.value(name)) == "haproxy"


def _host(service: Service) -> str:
    return service.name.rpartition(":")[0]


def _port(service: Service) -> str:
    return service.name.rpartition(":")[2]


def _is_loopback(host: str) -> bool:
    return host.strip("[]").startswith("127.") or host.strip("[]") in ("::1", "localhost")


def _number(port: str) -> int:
    """Return a port by its number; /etc/services may be missing, and smtp is the one everybody has."""
    if port.isdigit():
        return int(port)
    return 25 if port == "smtp" else socket.getservbyname(port, "tcp")


def _address(host: str, port: int) -> str:
    """Return the address of a name, as inet_interfaces may have one."""
    try:
        return str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise Failed(f"Postfix listens on {host}, of which no address is known here: {error}") from error
