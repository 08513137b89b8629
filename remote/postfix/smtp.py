"""Runs on the relay: what its own smtpd answers to RCPT TO, asked from itself. No mail is sent."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from remote.main import Failed
from remote.postfix.listeners import Listener

PAUSES = (1.0, 3.0, 6.0)  # seconds before a temporary answer is asked for again
SECONDS = 60  # for one answer
UNKNOWN, DENIED = "User unknown", "Relay access denied"  # Postfix' words, whatever the code is
FULL = "452 4.5.3"  # no more recipients in one message
TAKEN, MUST_ENCRYPT = "250", "530"


class Caller(NamedTuple):
    """The client address and sender with which the relay is asked."""

    source: str  # the address the connection comes from
    claims: str = ""  # the address that smtpd is told instead
    by: str = ""  # how it is told: XCLIENT or PROXY
    is_outside: bool = False  # not in mynetworks, as the world is not

    @property
    def address(self) -> str:
        """Return the address by which smtpd knows the client."""
        return self.claims or self.source

    def __str__(self) -> str:
        """Return its name for messages."""
        how = f"{self.address} by {self.by}" if self.by else self.address
        return f"an outsider ({how})" if self.is_outside else f"a client in mynetworks ({how})"


class Refused(OSError):
    """The relay does not go on with the conversation; the text is what it said, and to what."""


class Session:
    """One SMTP conversation, up to the point where recipients are named."""

    def __init__(self, where: Listener, caller: Caller) -> None:
        """Connect and say who writes: nobody, as a bounce does. Raises OSError."""
        self._where, self._caller = where, caller
        self._socket = socket.create_connection((where.host, where.port), SECONDS, (caller.source, 0))
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def say(self, line: str) -> str:
        """Send a line and return the reply; the lines of a longer one are joined by newlines."""
        self._socket.sendall(line.encode() + b"\r\n")
        return self._reply()

    def _begin(self) -> None:
        self._stream = self._socket.makefile("rb")
        if self._caller.by == "PROXY":
            addresses = f"{self._caller.claims} {self._caller.claims} 50000 {self._where.port}"
            self._socket.sendall(f"PROXY TCP4 {addresses}\r\n".encode())
        self._must("220", "a connection", self._reply())
        if self._caller.by == "XCLIENT":
            self._hello()
            self._must("220", "XCLIENT", self.say(f"XCLIENT NAME=[UNAVAILABLE] ADDR={self._caller.claims}"))
        extensions = self._hello()
        sender = "MAIL FROM:<>" + (" SMTPUTF8" if "SMTPUTF8" in extensions else "")
        answer = self.say(sender)
        if answer.startswith(MUST_ENCRYPT) and "STARTTLS" in extensions:
            self._encrypt()
            self._hello()
            answer = self.say(sender)
        self._must(TAKEN, "MAIL FROM:<>", answer)

    def _hello(self) -> str:
        address = self._caller.address
        literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        return self._must(TAKEN, f"EHLO {literal}", self.say(f"EHLO {literal}")).upper()

    def _encrypt(self) -> None:
        """Start TLS. The certificate is the relay's own, and nothing is secret."""
        import ssl  # 10 ms, which a relay that does not insist does not pay

        self._must("220", "STARTTLS", self.say("STARTTLS"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)
        self._stream = self._socket.makefile("rb")

    def _must(self, code: str, what: str, answer: str) -> str:
        if not answer.startswith(code):
            raise Refused(f"it answers {what} with {answer}")
        return answer

    def _reply(self) -> str:
        lines = []
        while True:
            line = self._stream.readline(4096).decode("utf-8", "replace")
            if not line.endswith("\n"):
                raise OSError("it hangs up")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)


def ask(where: Listener, caller: Caller, addresses: Sequence[str]) -> dict[str, str]:
    """Return the answer to each recipient, as `550 5.1.1 <...>: ...`; temporary ones are asked for again.

    Raises Failed if nobody answers there.
    """
    found = ask_once(where, caller, addresses)
    for pause in PAUSES:
        again = [address for address, answer in found.items() if is_temporary(answer)]
        if not again:
            break
        time.sleep(pause)
        found.update(ask_once(where, caller, again))
    return found


def ask_once(where: Listener, caller: Caller, addresses: Iterable[str]) -> dict[str, str]:
    """Return the first answer to each of these recipients. Raises Failed."""
    found: dict[str, str] = {}
    todo = list(addresses)
    while todo:
        some = _session(where, caller, todo)
        if not some:
            raise Failed(f"{where} hangs up before it answers about {todo[0]}")
        found.update(some)
        todo = todo[len(some) :]
    return found


def is_temporary(answer: str) -> bool:
    """Return whether another moment may bring another answer."""
    return answer.startswith("4") and UNKNOWN not in answer and DENIED not in answer


def is_about_recipient(answer: str) -> bool:
    """Return whether an answer accepts or refuses the recipient for good, and is not about the client."""
    if answer.startswith("2") or UNKNOWN in answer or DENIED in answer:
        return True
    return answer.startswith("5") and "Recipient address rejected" in answer


def _session(where: Listener, caller: Caller, addresses: Sequence[str]) -> dict[str, str]:
    """Return the answers of one connection, to as many recipients as it takes."""
    found: dict[str, str] = {}
    try:
        with Session(where, caller) as session:
            refused = 0
            for address in addresses:
                answer = session.say(f"RCPT TO:<{address}>")
                if answer.startswith("421") or (found and answer.startswith(FULL)):
                    break
                found[address] = answer
                refused += not answer.startswith("2")
                if refused >= where.errors:
                    break
    except OSError as error:
        if not found:
            raise Failed(f"{where} cannot be asked as {caller}: {error}") from error
    return found
