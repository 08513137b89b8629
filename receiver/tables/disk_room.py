"""Checks before a build that new tables leave enough room on the disk for mail.

Postfix answers 452 to all mail while its queue's disk has less room than queue_minfree or one and a half times
message_size_limit (smtpd(8), postconf(5)).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from receiver.outcome import Failed
from receiver.tables import postmap

_EACH = 6  # bytes for each of a table's text: its draft, the built file, root's copy, and what a rename frees later
_PLENTY = 4 << 30  # bytes; with as many left nobody has to be asked
_UNLIMITED = 64 << 20  # bytes that count as message_size_limit where there is none
_MORE = 16 << 20  # bytes beyond that, for the mail that comes meanwhile


def check(tables: str, texts: Iterable[bytes], config_directory: str) -> None:
    """Raise Failed where tables of these texts would leave mail, or themselves, too little room."""
    need, free = _EACH * sum(map(len, texts)), _free(tables)
    if free > need + _PLENTY:
        return
    reserve = _for_mail(tables, config_directory)
    if free < need + reserve:
        has = f"its disk has {_megabytes(free)} MB free"
        raise Failed(f"{tables}: {has}; new tables need {_megabytes(need)} MB, and mail keeps {_megabytes(reserve)} MB")


def _free(path: str) -> int:
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def _for_mail(tables: str, config_directory: str) -> int:
    """Return how many bytes stay for mail; none where its queue lies on another disk."""
    names = ("queue_directory", "message_size_limit", "queue_minfree")
    code, out, _ = postmap.run_postfix("/usr/sbin/postconf", "-c", config_directory, "-x", "-h", *names)
    queue, limit, least = (out.decode(errors="replace").split("\n") + [""] * 3)[:3]
    if code or not (limit.isdecimal() and least.isdecimal()):
        raise Failed("postconf cannot tell where mail is queued and how large it may be")
    try:
        is_elsewhere = os.stat(queue).st_dev != os.stat(tables).st_dev
    except OSError as error:
        raise Failed(f"{queue}: {error.strerror}") from error
    return 0 if is_elsewhere else max(int(least), (int(limit) or _UNLIMITED) * 3 // 2) + _MORE


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f}"
