"""Runs on the relay: what its own smtpd answers to RCPT TO, asked from itself. No mail is sent."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from deploy.agent import Failed
from roles.postfix.there.members import members
from roles.postfix.there.postfix import Postfix, Service

if TYPE_CHECKING:
    import smtplib

PORT = ("smtp", "25")
PAUSES = (1.0, 3.0, 6.0)  # seconds before a temporary answer is asked for again
ERRORS = 8  # refusals taken on one connection; Postfix slows down after 10 and hangs up after 20
UNKNOWN, DENIED = "User unknown", "Relay access denied"  # Postfix' words, whatever the code is
TAKEN, GONE, MUST_ENCRYPT = 250, 421, 530


class Endpoint(NamedTuple):
    """Where an smtpd listens."""

    host: str
    port: int

    @property
    def literal(self) -> str:
        """Name who says EHLO there."""
        return f"[IPv6:{self.host}]" if ":" in self.host else f"[{self.host}]"


def public(postfix: Postfix) -> list[Service]:
    """Find the services that take mail from anywhere: smtpd on port 25, or else wherever it listens first."""
    found = [one for one in postfix.services() if one.type == "inet" and one.command in ("smtpd", "postscreen")]
    usual = [one for one in found if one.name.rpartition(":")[2] in PORT]
    if not found:
        raise Failed(f"master.cf in {postfix.directory} has no smtpd that listens: this Postfix takes no mail")
    return usual or found[:1]


def endpoint(postfix: Postfix) -> Endpoint:
    """Find the first address the relay's smtpd listens on."""
    host, _, port = public(postfix)[0].name.rpartition(":")
    values = postfix.values("inet_interfaces", "inet_protocols")
    if not host:
        everywhere = "::1" if values.get("inet_protocols") == "ipv6" else "127.0.0.1"
        first = (members(values.get("inet_interfaces", "")) or ["all"])[0]
        host = everywhere if first in ("all", "loopback-only") else first
    return Endpoint(host.strip("[]"), _number(port))


def _number(port: str) -> int:
    """Return a port by its number; /etc/services may be missing, and smtp is the one everybody has."""
    if port.isdigit():
        return int(port)
    return 25 if port == "smtp" else socket.getservbyname(port, "tcp")


def ask(where: Endpoint, addresses: Sequence[str]) -> dict[str, str]:
    """Get the answer to each of these recipients, as `550 5.1.1 <...>: ...`; temporary ones are asked for again.

    Raises Failed if nobody answers there.
    """
    found = _ask(where, addresses)
    for pause in PAUSES:
        again = [address for address, answer in found.items() if is_temporary(answer)]
        if not again:
            break
        time.sleep(pause)
        found.update(_ask(where, again))
    return found


def fault(where: Endpoint) -> str:
    """Say why it cannot be asked; nothing if it can."""
    try:
        _ask(where, ["postmaster"])
    except Failed as error:
        return str(error)
    return ""


def is_temporary(answer: str) -> bool:
    """Tell whether another moment may bring another answer."""
    return answer.startswith("4") and UNKNOWN not in answer and DENIED not in answer


def _ask(where: Endpoint, addresses: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    todo = list(addresses)
    while todo:
        some = _session(where, todo)
        if not some:
            raise Failed(f"smtpd on {where.host} port {where.port} hangs up before it answers about {todo[0]}")
        found.update(some)
        todo = todo[len(some) :]
    return found


def _session(where: Endpoint, addresses: Sequence[str]) -> dict[str, str]:
    """Ask on one connection as many as it takes."""
    import smtplib  # 30 ms, which a relay that is only looked at does not pay

    found: dict[str, str] = {}
    refused = 0
    try:
        with smtplib.SMTP(where.host, where.port, where.literal, 60, (where.host, 0)) as session:
            session.command_encoding = "utf-8"
            _begin(session)
            for address in addresses:
                code, text = session.docmd(f"RCPT TO:<{address}>")
                if code == GONE:
                    break
                found[address] = f"{code} {text.decode('utf-8', 'replace')}"
                refused += code >= 400
                if refused == ERRORS:
                    break
    except (OSError, smtplib.SMTPException) as error:
        if not found:
            said = b" ".join(part for part in error.args if isinstance(part, bytes)).decode(errors="replace")
            raise Failed(f"smtpd on {where.host} port {where.port} cannot be asked: {said or error}") from error
    return found


def _begin(session: smtplib.SMTP) -> None:
    """Say who writes: nobody, as a bounce does. The certificate is the relay's own, and there is nothing to hide."""
    session.ehlo_or_helo_if_needed()
    sender = "MAIL FROM:<>" + (" SMTPUTF8" if session.has_extn("smtputf8") else "")
    code, text = session.docmd(sender)
    if code == MUST_ENCRYPT and session.has_extn("starttls"):
        session.starttls()
        session.ehlo_or_helo_if_needed()
        code, text = session.docmd(sender)
    if code != TAKEN:
        raise OSError(f"it answers MAIL FROM with {code} {text.decode('utf-8', 'replace')}")
