"""Lines of a mail log as Postfix 3.7 to 3.11 writes them, and what a reader makes of a file of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.settings import Settings
from receiver.monitoring.collector import Collector, map_owners
from receiver.monitoring.last_hop import LastHops
from receiver.monitoring.log_content import open_log
from receiver.monitoring.log_reading import Part, Reading, find_cut_lengths
from receiver.monitoring.mail_log import Losses, MailLog
from receiver.monitoring.refusals import Refusals

SETTINGS = Settings("acme", "exchange-5.5", ("acme.example",))
HEAD = "2026-11-20T10:00:00.000001+00:00 mx1 "
VICTIM = "victim@acme.example"
UNKNOWN = "User unknown in relay recipient table"


def refusal(
    address: str, why: str = UNKNOWN, code: str = "550 5.1.1", to: str = "", sender: str = "s@x.example"
) -> str:
    """smtpd's message."""
    who = f"from=<{sender}> to=<{to or address}> proto=ESMTP helo=<x.example>"
    said = f"{code} <{address}>: Recipient address rejected: {why}"
    return f"NOQUEUE: reject: RCPT from x.example[192.0.2.10]: {said}; {who}"


def delivery(
    address: str,
    status: str = "sent",
    text: str = "250 ok",
    relay: str = "192.0.2.25[192.0.2.25]:25",
    qid: str = "4ABC12",
) -> str:
    """A delivery agent's message."""
    times = "delay=0.31, delays=0.1/0.01/0.05/0.15"
    return f"{qid}: to=<{address}>, relay={relay}, {times}, dsn=2.0.0, status={status} ({text})"


def smtpd(message: str, head: str = HEAD) -> bytes:
    return f"{head}postfix/smtpd[7]: {message}\n".encode()


def smtp(message: str, head: str = HEAD) -> bytes:
    return f"{head}postfix/relay/smtp[8]: {message}\n".encode()


def read_files(files: Iterable[Path], settings: Settings = SETTINGS, route: str = "") -> dict[str, Any]:
    """Read log files as `inv refusals --log` does."""
    refused, losses = Refusals(), Losses()
    hops = LastHops(dict.fromkeys(settings.domains, route))
    opened = [open_log(str(file)) for file in files]
    some = [Part(file) for file in opened]
    collector = Collector(map_owners([(settings, refused)]), hops)
    Reading(MailLog(losses, find_cut_lengths(some)), losses, collector, lambda: False).read(some)
    collector.settle(hops.settle())
    for file in opened:
        os.close(file.descriptor)
    return {**refused.document, "gaps": losses.gaps, "unread": losses.unread}


def read(folder: Path, *lines: bytes, route: str = "") -> dict[str, Any]:
    """Read these lines as one file."""
    file = folder / "mail.log"
    file.write_bytes(b"".join(lines))
    return read_files([file], route=route)
