"""One customer's folder under /var/lib/postern/customers: what lies in it, each thing read and written in one place.

recipients            the list in force                           begun.json     a publication to be finished
accepted.json         the domains with an accepted list           unproven.json  one the tables have not shown yet
history/NUMBER.gz     the last lists in force, this one included  keys.json      when each key was seen
reference/DAY.gz      the largest list of each of the last days   last-run.json  the Outcome of the last run
held/                 the list that waits for an operator, and    pinned.json    there while uploads do not take effect
                      which one somebody has reviewed last        last-export.json  what the last export said besides
upload-NUMBER         empty: locked while an export is taken
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from receiver import disk, kept, lock
from receiver.kept import Origin
from receiver.report import Failed, Outcome
from receiver.settings import Places, Settings

DAY = 86_400
KEYS = 20  # names in keys.json


class Accepted(NamedTuple):
    """What has passed the guard, or a person."""

    domains: Mapping[str, int] = {}  # those with an accepted list: when their last good upload came
    list: str = ""  # SHA-256 of the list that passed or was accepted last

    def without(self, open_domains: Container[str]) -> Accepted:
        """Return it without domains in which everybody gets mail: they open, and have a first list when that ends."""
        return self._replace(domains={name: when for name, when in self.domains.items() if name not in open_domains})

    def opens(self, settings: Settings, now: int) -> tuple[str, ...]:
        """Give the domains the build keeps open: partial, or without an accepted list as young as is wanted.

        A date to come is no date, but for a day that clocks may differ by.
        """
        oldest = now - settings.open_after_days * DAY
        closed = {name for name, when in self.domains.items() if oldest <= when <= now + DAY}
        return tuple(name for name in settings.domains if name in settings.partial or name not in closed)


class InForce(NamedTuple):
    """The list in force. Where there is none, or it is damaged, nothing counts as accepted: the domains open."""

    text: bytes = b""
    recipients: frozenset[str] = frozenset()
    accepted: Accepted = Accepted()


class Held(NamedTuple):
    """The list that waits: for `accept`, or while pinned for `resume`."""

    list: str  # its SHA-256
    recipients: frozenset[str]
    origin: Origin
    since: int  # when the first of the lists held in a row came
    reasons: tuple[str, ...]  # empty: it passes, and waits because of the pin
    left_out: Mapping[str, int]
    open_domains: tuple[str, ...] = ()  # in which everybody gets mail, so that it closes none of them


class Pin(NamedTuple):
    """Why uploads do not take effect."""

    since: int
    by: str
    list: str  # SHA-256 of the list that was rolled back to


class LastExport(NamedTuple):
    """What the last export that could be read said besides its recipients."""

    open_domains: tuple[str, ...] = ()  # in which everybody gets mail, whoever is listed
    plus_addresses: bool | None = None  # whether the server takes user+tag@ where it takes user@; None: not said


class Spool:
    """The folder, held open. Everything in it is written by account `postern`, under the customer's lock."""

    def __init__(self, places: Places, customer: str) -> None:
        """Open it. Raises Failed where rebuild-relay-recips has not made it yet."""
        self.places, self.customer = places, customer
        try:
            self.folder = disk.opened(places.spool(customer))
        except OSError as error:
            raise Failed(f"{places.spool(customer)}: {error.strerror}; rebuild-relay-recips makes it") from error

    def __enter__(self) -> Spool:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folder, which ends its lock as well."""
        os.close(self.folder)

    @contextmanager
    def locked(self, seconds: float = lock.CUSTOMER) -> Iterator[None]:
        """Be the only one who writes here. Raises Busy."""
        busy = f"another run is publishing for {self.customer}; try again in a minute"
        with lock.held(self.folder, fcntl.LOCK_EX, seconds, busy):
            yield

    def in_force(self) -> InForce:
        """Read the list in force and what has been accepted of it."""
        text = self.text()
        try:
            return InForce(text, kept.recipients(text), self.accepted()) if text else InForce()
        except ValueError:
            return InForce()

    def text(self) -> bytes:
        """Read the list in force as it is written; nothing where there is none."""
        with suppress(Failed):
            return disk.read(self.folder, "recipients", kept.LIMIT) or b""
        return b""

    def accepted(self) -> Accepted:
        """Read accepted.json alone, as the build does."""
        fields = disk.load(self.folder, "accepted.json") or {}
        domains = fields.get("domains")
        if not isinstance(domains, dict):
            return Accepted()
        known = {str(name): when for name, when in domains.items() if isinstance(when, int)}
        return Accepted(known, str(fields.get("list", "")))

    def accept(self, accepted: Accepted) -> None:
        """Replace accepted.json."""
        disk.store(self.folder, "accepted.json", accepted._asdict())

    def held(self) -> Held | None:
        """Read the list that waits. None: there is none, or it is damaged; the next upload is judged again."""
        try:
            with disk.inside(self.folder, "held") as directory:
                why, text = disk.load(directory, "why.json"), disk.read(directory, "recipients", kept.LIMIT)
            if why is None or text is None or kept.digest(text) != why["list"]:
                return None
            origin, reasons = Origin(**why["origin"]), tuple(why["reasons"])
            held = Held(why["list"], kept.recipients(text), origin, why["since"], reasons, why["left_out"])
            return held._replace(open_domains=tuple(why.get("open_domains", ())))
        except (FileNotFoundError, Failed, ValueError, KeyError, TypeError):
            return None

    def hold(self, held: Held, text: bytes) -> None:
        """Let a list, written as `text`, wait in the place of the one that waits, and since when that one does."""
        before = self.held()
        since = before.since if before and before.reasons else held.since
        why = {**held._asdict(), "recipients": len(held.recipients), "since": since, "origin": held.origin._asdict()}
        disk.make(self.folder, "held")
        with disk.inside(self.folder, "held") as directory:
            disk.replace(directory, "recipients", text)
            disk.store(directory, "why.json", why)

    def unhold(self) -> None:
        """Forget the list that waits."""
        with suppress(FileNotFoundError), disk.inside(self.folder, "held") as directory:
            for name in ("why.json", "recipients", "reviewed.json"):
                disk.remove(directory, name)

    def reviewed(self) -> str:
        """Give the SHA-256 of the list that somebody has looked at last, of those held in a row; nothing: none."""
        with suppress(FileNotFoundError), disk.inside(self.folder, "held") as directory:
            return str((disk.load(directory, "reviewed.json") or {}).get("list", ""))
        return ""

    def review(self, held: Held) -> None:
        """Note that somebody has looked at this list. What has been let go of meanwhile is not noted."""
        if self.held():
            with disk.inside(self.folder, "held") as directory:
                disk.store(directory, "reviewed.json", {"list": held.list})

    def pinned(self) -> Pin | None:
        """Tell why uploads do not take effect; a damaged pin still holds."""
        fields = disk.load(self.folder, "pinned.json")
        if fields is None:
            return Pin(0, "", "") if "pinned.json" in os.listdir(self.folder) else None
        return Pin(fields.get("since", 0), fields.get("by", ""), fields.get("list", ""))

    def pin(self, pin: Pin) -> None:
        """Let no upload take effect."""
        disk.store(self.folder, "pinned.json", pin._asdict())

    def unpin(self) -> None:
        """Let uploads take effect again."""
        disk.remove(self.folder, "pinned.json")

    def keys(self) -> dict[str, dict[str, int]]:
        """Tell when each key was seen first and last."""
        with suppress(Failed, ValueError, TypeError, KeyError, AttributeError):
            seen = json.loads(disk.read(self.folder, "keys.json", disk.SMALL) or b"{}")
            return {name: {"first": int(at["first"]), "last": int(at["last"])} for name, at in seen.items()}
        return {}

    def seen(self, key: str, now: int) -> None:
        """Note that a key was used; the longest unseen is forgotten when there are more than KEYS."""
        keys = self.keys()
        keys[key] = {"first": keys.get(key, {}).get("first", now), "last": now}
        latest = sorted(keys, key=lambda name: keys[name]["last"])[-KEYS:]
        disk.replace(self.folder, "keys.json", disk.text({name: keys[name] for name in sorted(latest)}))

    def last_export(self) -> LastExport:
        """Read last-export.json; a damaged one says nothing."""
        fields = disk.load(self.folder, "last-export.json") or {}
        domains, plus = fields.get("open_domains"), fields.get("plus_addresses")
        names = tuple(map(str, domains)) if isinstance(domains, list) else ()
        return LastExport(names, plus if isinstance(plus, bool) else None)

    def record_export(self, export: LastExport) -> None:
        """Replace last-export.json, where it says something else."""
        if export != self.last_export():
            disk.store(self.folder, "last-export.json", export._asdict())

    def last_run(self) -> Outcome | None:
        """Read what the last run came to."""
        with suppress(Failed, ValueError, TypeError, AttributeError):
            return Outcome.read(json.loads(disk.read(self.folder, "last-run.json", disk.SMALL) or b"{}"))
        return None

    def record(self, outcome: Outcome) -> None:
        """Write what this run came to."""
        disk.replace(self.folder, "last-run.json", disk.text(outcome.record()))
