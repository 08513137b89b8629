"""What one message of Postfix says, read whole: who was refused and why, or where a mail went.

A stranger chooses the sender, the recipient, the HELO name and much else in these messages, a next hop its reply. So
each message is matched from its first octet to its last, and none of the addresses may hold an angle bracket: Postfix
puts one pair of them around each address, and with no others every border between the fields is Postfix's own.
The forms are those that Postfix 3.7 to 3.11 wrote (smtpd_check.c log_whatsup, log_adhoc.c).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Union

UNLISTED, DEFERRED, ASKED, UNANSWERED = "unlisted", "deferred", "asked", "unanswered"
KINDS = (UNLISTED, DEFERRED, ASKED, UNANSWERED)

_QUEUE_ID = rb"[0-9A-Za-z]{6,32}"
_CLIENT = rb"[^\s\[\]<>]+\[(?P<client>[^\s\[\]<>]*)\](?::\d+)?"
_SASL = rb"(?: sasl_(?:method|username|sender)=[^<>]*)?"
_WHO = rb" from=<(?P<sender>[^<>]*)> to=<(?P<to>[^<>]*)> proto=(?:SMTP|E?SMTP[A-Z]* helo=<[^<>]*>)" + _SASL
_REJECT = re.compile(
    rb"(?:NOQUEUE|" + _QUEUE_ID + rb"): reject: RCPT from " + _CLIENT + rb": "
    rb"(?P<code>[45]\d\d) \d\.\d{1,3}\.\d{1,3} (?P<text>.*);" + _WHO,
    re.DOTALL,
)
_REJECT_END = re.compile(rb" proto=(?:SMTP|E?SMTP[A-Z]* helo=<[^<>]*>)(?: sasl_.*)?\Z", re.DOTALL)
_RECIPIENT = re.compile(rb"<(?P<name>[^<>]*)>: Recipient address rejected: (?P<why>.*)", re.DOTALL)
_BROKEN = re.compile(
    rb"(?:<[^<>]*>: )?(?:[A-Z][a-z]+ (?:address|host|command) rejected: )?"
    rb"(?P<what>Temporary lookup failure|Server configuration error|Relay access denied)"
)
_UNKNOWN = re.compile(rb"User unknown(?: in relay recipient table)?")
_UNANSWERED = (b"unverified address: ", b"address verification problem")
_DELIVERY = re.compile(
    rb"(?P<queue_id>" + _QUEUE_ID + rb"): to=<(?P<to>[^<>]*)>, (?:orig_to=<(?P<orig_to>[^<>]*)>, )?"
    rb"relay=(?P<relay>[^\s,<>]+), (?:conn_use=\d+, )?delay=[\d.]+, delays=[\d./]+, (?:tls=[^,<>()]*, )?"
    rb"dsn=\d\.\d{1,3}\.\d{1,3}, status=(?P<status>[A-Za-z-]+) \((?P<text>.*)\)",
    re.DOTALL,
)
_LATER_END = re.compile(rb"[^<>]*>, (?:orig_to|relay)=")  # of an address that had a bracket, printed unquoted
_QUEUED_AS = re.compile(rb"\bqueued as (" + _QUEUE_ID + rb")\b")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"@([^"@]*)', re.DOTALL)
_DOT_ATOM = re.compile(r"[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+(?:\.[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+)*")


class Refusal(NamedTuple):
    """A recipient was refused, or put off, because no list has it."""

    address: str
    kind: str  # one of KINDS
    client: str
    has_sender: bool  # False: from=<>, as bounces and call-outs have it


class OtherRefusal(NamedTuple):
    """A recipient was refused for good (5xx) by a rule that is not about lists."""

    address: str
    text: str


class Breakage(NamedTuple):
    """A recipient was refused because a table could not be read, or because its domain is not taken at all."""

    address: str
    what: str  # Postfix's words
    client: str


class Delivery(NamedTuple):
    """Where a mail went from here, or did not yet."""

    queue_id: str
    addresses: tuple[str, ...]  # the recipient and, where it was written otherwise, the name it was written to
    relay: str  # as relay= has it
    status: str  # sent, deferred, bounced, ...
    queued_as: tuple[str, ...]  # the queue ids that the next hop's reply names


class Unread(NamedTuple):
    """A message that begins as one of these and does not fit: it was cut, or brackets in it make it ambiguous."""

    is_cut: bool  # its end, which Postfix always writes, is missing


Message = Union[Refusal, OtherRefusal, Breakage, Delivery, Unread]


def read_refusal(message: bytes) -> Message | None:
    """Return what smtpd says of a recipient; None: it is about something else."""
    if b": reject: RCPT from " not in message[:50]:
        return None
    found = _REJECT.fullmatch(message)
    if not found or b"; from=<" in found["text"]:
        return Unread(not _REJECT_END.search(message))
    try:
        return _refusal(found)
    except ValueError:
        return Unread(is_cut=False)


def read_delivery(message: bytes) -> Message | None:
    """Return what a delivery agent or the queue manager says of a recipient; None: it is about something else."""
    queue_id, to, _ = message[:40].partition(b": to=<")
    if not to or not queue_id.isalnum():
        return None
    found = _DELIVERY.fullmatch(message)
    if not found:
        return Unread(not message.endswith(b")"))
    text = found["text"]
    if _LATER_END.match(text):
        return Unread(is_cut=False)
    try:
        names = [plain_address(field.decode()) for field in (found["to"], found["orig_to"]) if field]
    except ValueError:
        return Unread(is_cut=False)
    queued_as = tuple(each.decode() for each in _QUEUED_AS.findall(text))
    relay, status = found["relay"].decode("utf-8", "replace"), found["status"].decode()
    return Delivery(found["queue_id"].decode(), tuple(dict.fromkeys(names)), relay, status, queued_as)


@lru_cache(maxsize=4_096)
def plain_address(address: str) -> str:
    """Return an address in one form: folded, quoted where RFC 5322 wants it, without a dot after the domain."""
    local, at, domain = _unquote(address).rpartition("@")
    if not at:
        return address.casefold()
    if not _DOT_ATOM.fullmatch(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}@{domain.removesuffix('.')}".casefold()


def _refusal(found: re.Match[bytes]) -> Message | None:
    """Return what a whole refusal says. Raises ValueError for an address that is no UTF-8."""
    to, code, client = found["to"].decode(), found["code"], found["client"].decode("ascii", "replace")
    broken = _BROKEN.fullmatch(found["text"])
    if broken:
        return Breakage(plain_address(to), broken["what"].decode(), client)
    recipient = _RECIPIENT.fullmatch(found["text"])
    if not recipient:
        return None
    name, why = recipient["name"].decode(), recipient["why"]
    if name not in (to, _unquote(to)):  # the text has the address unquoted, to= in quotes where it needs them
        return Unread(is_cut=False)
    kind = _kind(why, code)
    if kind:
        return Refusal(plain_address(to), kind, client, bool(found["sender"]))
    return OtherRefusal(plain_address(to), why.decode("utf-8", "replace")) if code.startswith(b"5") else None


def _kind(why: bytes, code: bytes) -> str:
    """Return the kind of a refusal; empty where it has another cause than the list."""
    if _UNKNOWN.fullmatch(why):
        return UNLISTED if code.startswith(b"5") else DEFERRED
    if why.startswith(b"undeliverable address: "):
        return ASKED
    return UNANSWERED if why.startswith(_UNANSWERED) else ""


def _unquote(address: str) -> str:
    """Return an address as Postfix keeps it, from the quoted form that it prints."""
    quoted = _QUOTED.fullmatch(address)
    if not quoted:
        return address
    local = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    return f"{local}@{quoted[2]}"
