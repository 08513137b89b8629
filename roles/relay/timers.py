"""What runs Postern on a relay by itself: timers of systemd where that runs the machine, else cron; never both."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from common.paths import REBUILD
from deploy.items import Item, file, timer
from inventory.model import Relay
from templates import render

_UNITS = "/etc/systemd/system"
_POSTFIX = ("postfix.service", "postfix@.service")  # Debian 12 starts it by the second, others by the first


def timers(relay: Relay, systemd: bool) -> Iterator[Item]:
    """Yield what runs `postern tick`, and with a store `postern follow`, and what runs before Postfix starts.

    Lines of cron go after timers are there.
    """
    if systemd:
        yield timer("postern", render("relay/postern.service.j2"), render("relay/postern.timer.j2"))
    yield file("/etc/cron.d/postern", None if systemd else render("relay/cron.j2", rebuild=REBUILD))
    follows, second = relay.store is not None, crc32(relay.name.encode()) % 60
    if systemd:
        yield _follow_timer(second) if follows else Item("timer", "postern-follow", None)
        text = render("relay/postfix-starts.conf.j2", follows=follows, rebuild=REBUILD)
        yield from (file(f"{_UNITS}/{unit}.d/postern.conf", text) for unit in _POSTFIX)
    in_cron = follows and not systemd
    yield file("/etc/cron.d/postern-follow", render("relay/cron-follow.j2", second=second) if in_cron else None)


def _follow_timer(second: int) -> Item:
    """Return the timer of `postern follow`.

    Each minute, in a second that differs from relay to relay, to spread the load.
    """
    service = render("relay/postern-follow.service.j2")
    return timer("postern-follow", service, render("relay/postern-follow.timer.j2", second=second))
