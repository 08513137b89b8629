"""A small SMTP client: what a relay answers, word for word."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType


class Refused(Exception):
    """The relay did not go on with the conversation; the text is its reply."""


class Conversation:
    """One SMTP session, greeted; `from_address` is the address it comes from."""

    def __init__(self, address: str, *, from_address: str | None = None, port: int = 25, timeout: float = 300) -> None:
        """Connect and say EHLO. Raises Refused, and OSError if nobody answers there."""
        source = (from_address, 0) if from_address else None
        self._socket = socket.create_connection((address, port), timeout=timeout, source_address=source)
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        try:
            self._check_reply(self.reply())
            self._check_reply(self.say("EHLO lab.example"))
        except BaseException:
            self.close()
            raise

    def say(self, line: str) -> str:
        """Send a line; return the reply."""
        self._socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def reply(self) -> str:
        """Return the next reply; the lines of a longer one are joined by newlines."""
        lines = []
        while True:
            line = self._lines.readline()
            if not line:
                raise Refused("the relay closed the connection")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, recipient: str, sender: str = "") -> str:
        """Return the reply to RCPT TO; the message ends with it."""
        wide = "" if (recipient + sender).isascii() else " SMTPUTF8"
        reply = self.say(f"MAIL FROM:<{sender}>{wide}")
        if reply.startswith("530"):  # it wants TLS first
            self._encrypt()
            reply = self.say(f"MAIL FROM:<{sender}>{wide}")
        self._check_reply(reply)
        answer = self.say(f"RCPT TO:<{recipient}>")
        self._check_reply(self.say("RSET"))
        return answer

    def send(self, recipient: str, text: str, sender: str = "") -> str:
        """Deliver a message; return the reply to its end, which names the queue id. Raises Refused."""
        wide = "" if (recipient + sender).isascii() else " SMTPUTF8"
        for line in (f"MAIL FROM:<{sender}>{wide}", f"RCPT TO:<{recipient}>", "DATA"):
            self._check_reply(self.say(line))
        stuffed = ["." + line if line.startswith(".") else line for line in text.splitlines()]
        return self._check_reply(self.say("\r\n".join([*stuffed, "."])))

    def _encrypt(self) -> None:
        self._check_reply(self.say("STARTTLS"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._lines.close()
        self._socket = context.wrap_socket(self._socket)
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        self._check_reply(self.say("EHLO lab.example"))

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _check_reply(reply: str) -> str:
        if reply[:1] not in ("2", "3"):
            raise Refused(reply)
        return reply


def ask(address: str, recipient: str, *, sender: str = "", from_address: str | None = None) -> str:
    """Return what the relay at this address answers to one recipient: "250 2.1.5 Ok", "550 5.1.1 <...>: ..."."""
    with Conversation(address, from_address=from_address) as session:
        return session.ask(recipient, sender)
