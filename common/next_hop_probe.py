"""Asks a mail server by RCPT whether it takes addresses, as Postfix's address verification would. No mail is sent.

Where Postfix routes a domain by MX records nobody is asked: Python's standard library has no resolver for them.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MOST = 50  # addresses asked in one conversation
SECONDS = 30.0  # for all of it
_LINE = 4_096  # octets of a reply's line
_LINES = 50  # of a reply
RANDOM = re.compile(r"q[0-9a-f]{24}@.*")  # addresses that nobody has: this module and `inv` ask about them
_ADDRESS = re.compile(r"[^\x00-\x20\x7f<>]{1,320}|\"[^\x00-\x1f\x7f<>]{1,310}\"@[^\x00-\x20\x7f<>]+")
_ROUTE = re.compile(r"[a-z][a-z0-9_-]*:(?:inet:)?(?P<host>\[[^\[\]]+\]|[\d.]+)(?::(?P<port>\d{1,5}))?")


class Server(NamedTuple):
    """Where a server listens."""

    host: str
    port: int = 25


class Sender(NamedTuple):
    """The names used in a probe: in EHLO, and as the sender of the mail that is not sent; empty: `<>`."""

    name: str
    address: str = ""
    source: str = ""  # the address of this machine that the connection comes from; empty: as it comes


class Reply(NamedTuple):
    """The server's reply to one RCPT."""

    code: int
    text: str  # its lines, joined by blanks

    @property
    def is_taken(self) -> bool:
        """Return whether the server takes the address."""
        return self.code // 100 == 2

    @property
    def is_refused(self) -> bool:
        """Return whether the server refuses the address for good."""
        return self.code // 100 == 5


class Answers(NamedTuple):
    """The server's replies to some addresses and, in the same conversation, to one that does not exist."""

    replies: Mapping[str, Reply] = {}  # an address without a reply was not asked
    random: Reply | None = None
    problem: str = ""  # why nobody was asked: not reached, or it refuses the question itself

    @property
    def is_refused(self) -> bool:
        """Return whether the server refuses the question itself for good, for example because of the sender."""
        return bool(re.match(r"it (?:greets|answers [^ ]+ [^ ]+) with 5\d\d ", self.problem))

    @property
    def takes_everybody(self) -> bool:
        """Return whether a random name is taken, so that the other replies prove nothing."""
        return self.random is not None and self.random.is_taken


def server_of(route: str) -> Server | None:
    """Return where TRANSPORT:NEXTHOP leads; None: by MX records, or not over TCP."""
    found = _ROUTE.fullmatch(route)
    if not found:
        return None
    host = found["host"].strip("[]")
    return Server(re.sub(r"(?i)^ipv6:", "", host), int(found["port"] or (24 if route.startswith("lmtp:") else 25)))


def verify_sender(postfix: Mapping[str, str]) -> Sender:
    """Return the sender of Postfix's own address verification, by settings of main.cf."""
    name, sender = postfix.get("myhostname", "") or "localhost", postfix.get("address_verify_sender", "double-bounce")
    if sender in ("", "<>"):
        return Sender(name)
    return Sender(name, sender if "@" in sender else f"{sender}@{name}")


def ask(where: Server, sender: Sender, addresses: Sequence[str], domain: str = "", seconds: float = SECONDS) -> Answers:
    """Return the replies to addresses, at most MOST, on one connection.

    With a domain, an invented address comes first.
    """
    replies: dict[str, Reply] = {}
    random = f"q{os.urandom(12).hex()}@{domain}"
    try:
        with _Conversation(where, sender.source, time.monotonic() + seconds) as conversation:
            if problem := conversation.begin(sender):
                return Answers(problem=problem)
            for address in [random] * bool(domain) + list(addresses[:MOST]):
                if address.isascii() and _ADDRESS.fullmatch(address):
                    replies[address] = conversation.say(f"RCPT TO:<{address}>")
                    if replies[address].code == 421:
                        break
    except (OSError, ValueError) as error:
        if not replies:
            return Answers(problem=f"{where.host}:{where.port}: {error}")
    first = replies.pop(random, None)
    return Answers({name: reply for name, reply in replies.items() if reply.code != 421}, first)


class _Conversation:
    """One SMTP conversation that ends at a time that is set, however slowly the server speaks."""

    def __init__(self, where: Server, source: str, end: float) -> None:
        """Connect. Raises OSError."""
        self._end = end
        own = (source, 0) if source else None
        self._socket = socket.create_connection((where.host, where.port), self._seconds_left(), own)
        self._unread = b""

    def __enter__(self) -> _Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def begin(self, sender: Sender) -> str:
        """Send EHLO and MAIL FROM; return why the server refuses them, empty where it does not. Raises OSError."""
        greeting = self._reply()
        if not greeting.is_taken:
            return f"it greets with {greeting.code} {greeting.text}"
        hello = self.say(f"EHLO {sender.name}")
        if not hello.is_taken:
            return f"it answers EHLO {sender.name} with {hello.code} {hello.text}"
        if "STARTTLS" in hello.text.upper().split():
            self._encrypt(sender)
        mail = self.say(f"MAIL FROM:<{sender.address}>")
        return "" if mail.is_taken else f"it answers MAIL FROM:<{sender.address}> with {mail.code} {mail.text}"

    def say(self, line: str) -> Reply:
        """Send a line and return the reply. Raises OSError, ValueError."""
        self._socket.settimeout(self._seconds_left())
        self._socket.sendall(line.encode() + b"\r\n")
        return self._reply()

    def _encrypt(self, sender: Sender) -> None:
        """Start TLS where it is offered: some servers take no mail otherwise. Nothing secret is sent."""
        import ssl  # 10 ms, for the servers that offer it

        if not self.say("STARTTLS").is_taken:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)
        self._unread = b""  # what came before TLS may have been sent by anybody
        self.say(f"EHLO {sender.name}")

    def _reply(self) -> Reply:
        lines: list[str] = []
        while len(lines) < _LINES:
            line = self._line()
            lines.append(line[4:].strip())
            if line[3:4] != "-":
                return Reply(int(line[:3]), " ".join(lines))
        raise OSError("its reply does not end")

    def _line(self) -> str:
        """Return the next line. The time limit holds even for a server that sends octet by octet."""
        while b"\n" not in self._unread:
            if len(self._unread) > _LINE:
                raise OSError("its line does not end")
            self._socket.settimeout(self._seconds_left())
            more = self._socket.recv(_LINE)
            if not more:
                raise OSError("it hangs up")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode("utf-8", "replace")

    def _seconds_left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise OSError("it takes too long")
        return left
