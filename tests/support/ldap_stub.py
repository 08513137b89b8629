"""An LDAP server that answers wrongly on purpose, over TLS: what slapd never does, and others have been seen to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lab.host import LabHost
from tests.support.listener import Listener

LAST_PAGE = b"\x30\x05\x02\x01\x00\x04\x00"  # size 0, an empty cookie
_PAGED = b"1.2.840.113556.1.4.319"
_DISCONNECTED = b"1.3.6.1.4.1.1466.20036"
_MOST = 1 << 16


def ber(tag: int, *parts: bytes) -> bytes:
    """Return an element of BER with this tag."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def number(value: int, tag: int = 2) -> bytes:
    """Return an integer, or with tag 10 an enumerated value."""
    return ber(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def text(value: str, tag: int = 4) -> bytes:
    """Return an octet string."""
    return ber(tag, value.encode())


def entry(name: str, attributes: dict[str, Sequence[str]]) -> bytes:
    """Return a SearchResultEntry."""
    listed = [ber(0x30, text(kind), ber(0x31, *map(text, values))) for kind, values in attributes.items()]
    return ber(0x64, text(name), ber(0x30, *listed))


def reference(url: str) -> bytes:
    """Return a SearchResultReference."""
    return ber(0x73, text(url))


def people(count: int) -> list[bytes]:
    """Return entries with an address each, as those of a Directory."""
    return [entry(f"cn=user{n},dc=acme", {"mail": [f"user{n}@acme.example"]}) for n in range(count)]


def result(tag: int, code: int, said: str = "") -> bytes:
    """Return a BindResponse (0x61), SearchResultDone (0x65) or ExtendedResponse (0x78) of this code."""
    return ber(tag, number(code, 10), text(""), text(said))


def done(code: int = 0) -> bytes:
    """Return the end of a search."""
    return result(0x65, code)


def paged(value: bytes = LAST_PAGE) -> bytes:
    """Return the control of a page, the last one's if nothing else is said."""
    return ber(0xA0, ber(0x30, ber(4, _PAGED), ber(4, value)))


def disconnection(code: int) -> bytes:
    """Return a whole message: the notice that the connection ends."""
    ended = ber(0x78, number(code, 10), text(""), text("restarting"), ber(0x8A, _DISCONNECTED))
    return ber(0x30, number(0), ended)


@contextmanager
def serve(
    host: LabHost, answer: Sequence[bytes], control: bytes = b"", bind: bytes = b"", last: bytes = b"", port: int = 0
) -> Iterator[str]:
    """Serve at the address of a host that is a Directory; gives the URL.

    `answer`: what any search is answered; `control`: goes with the last of it. `bind`: what a bind is answered.
    `last`: a whole message in place of the answer's last. `port`: 0 takes any.
    """
    lab = host.root / "etc/ldap/lab"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(lab / "server.pem", lab / "server.key")
    said = (bind or result(0x61, 0), answer, control, last)

    def serve(client: socket.socket) -> None:
        with suppress(OSError), tls.wrap_socket(client, server_side=True) as connection:
            _answer(connection, said)

    with Listener(serve, host.address, port) as door:
        yield f"ldaps://dc1.acme.example:{door.port}"


_Said = tuple[bytes, Sequence[bytes], bytes, bytes]


def _answer(connection: ssl.SSLSocket, said: _Said) -> None:
    bind, answer, control, last = said
    while request := connection.recv(_MOST):
        # all requests of ldapsearch are short: one length octet, or 0x81 or 0x82 and more; then its number, below 128
        at = 2 + (request[1] & 0x7F if request[1] & 0x80 else 0)
        id_, operation = request[at : at + 3], request[at + 3]
        if operation == 0x60:
            connection.sendall(ber(0x30, id_, bind))
        elif operation == 0x63:
            whole = [ber(0x30, id_, one) for one in answer]
            whole[-1] = last or ber(0x30, id_, answer[-1], control)
            connection.sendall(b"".join(whole))
        else:
            return
