"""One customer's folder under /var/lib/postern/customers: what lies in it, each thing read and written in one place.

recipients            the list in force                           begun.json     a publication to be finished
accepted.json         the domains with an accepted list           unproven.json  one the tables have not shown yet
history/NUMBER.gz     the last lists in force, this one included  keys.json      when each key was seen
log                   each upload, and what the guard counted     last-run.json  the Outcome of the last run
gone                  who left the list in the last 90 days       reference/     of the first release: now in gone
held/                 the list that waits for an operator, and    pinned.json    there while uploads do not take effect
                      the last review of it (review_record)       last-export.json  what the last export said besides
refusals.json         who was refused, says the mail log  had-mail.json  who had mail, or waits for it
refusal-alarms.json   what the timer raised about them   left-out.json  whom the last export had and no list has
judged-mail.json      who had mail, and is refused since somebody has accepted a list by their number
upload-, call-NUMBER  empty: locked while an export is taken, while a call through a key is answered
heads.json, heads/    with a store: this relay's heads, and their lists; heads-in-force.json says what was made of them
parse-NUMBER          empty: locked while an export waits to be parsed, or is
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from common import names, spool_files
from common.adopted_domains import is_closed_by_maps
from common.paths import Places
from common.settings import Settings
from receiver.formatting import is_time
from receiver.lists import list_file
from receiver.outcome import Failed, LeftOut, Origin, Outcome, records
from receiver.system import atomic_files, locks
from receiver.system.checked_json import decode_json

DAY = 86_400
KEYS = 20  # names in keys.json
KEY_FIELDS = ("first", "last", "kit")  # of each; kit is left out where none is known


class Accepted(NamedTuple):
    """The accepted domains, each with the date of its last good upload."""

    domains: Mapping[str, int] = {}  # those with an accepted list: when their last good upload came
    list: str = ""  # SHA-256 of the list that passed or was accepted last
    counts: Mapping[str, int] = {}  # its recipients in each domain; empty: the first release wrote this

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Accepted:
        """Return what _asdict() gave, without what another release may have added; nothing where it is damaged."""
        if not isinstance(fields.get("domains"), dict):
            return cls()
        return cls(_numbers(fields["domains"]), str(fields.get("list", "")), _numbers(fields.get("counts")))

    def without(self, open_domains: Container[str]) -> Accepted:
        """Return it without domains in which everybody gets mail: they open, and have a first list when that ends."""
        return self._replace(domains={name: when for name, when in self.domains.items() if name not in open_domains})

    def unexpired(self, settings: Settings, now: int) -> Accepted:
        """Return it without the domains that are open for their date, too old or to come: their next list is a first.

        Whoever came while they were open is on no list.
        """
        oldest = now - settings.open_after_days * DAY
        return self._replace(domains={name: when for name, when in self.domains.items() if oldest <= when <= now + DAY})

    def only_listed(self, text: bytes) -> Accepted:
        """Return it without the domains of which a list, as it is written, has nobody: they are open."""
        return self.without([name for name in self.domains if f"@{name}\n".encode() not in text])

    def opens(self, settings: Settings, now: int) -> tuple[str, ...]:
        """Return the domains the build keeps open: partial, or without an accepted list as young as is wanted.

        A date to come is no date, but for a day that clocks may differ by. What the relay closed by a list of somebody
        else stays closed by that while it is adopted.
        """
        oldest = now - settings.open_after_days * DAY
        closed = {name for name, when in self.domains.items() if oldest <= when <= now + DAY}
        closed |= {
            name
            for name, closer in settings.closed_by.items()
            if closer and (name not in self.domains or not is_closed_by_maps(closer))
        }
        return tuple(name for name in settings.domains if name in settings.partial or name not in closed)


class InForce(NamedTuple):
    """The list in force. Where there is none, or it is damaged, nothing counts as accepted: the domains open."""

    text: bytes = b""
    recipients: frozenset[str] = frozenset()
    accepted: Accepted = Accepted()


class Summary(NamedTuple):
    """The list in force without its recipients."""

    total: int = 0
    list: str = ""  # its SHA-256; empty: there is none
    accepted: Accepted = Accepted()


class Held(NamedTuple):
    """The list that waits: for `accept`, or while the list is frozen, for `resume`."""

    list: str  # its SHA-256
    recipients: frozenset[str]
    origin: Origin
    since: int  # when the first of the lists held in a row came
    reasons: tuple[str, ...]  # empty: it passes, and waits because the list in force is frozen
    left_out: Mapping[str, int]
    total: int = 0  # of its recipients, where they are not read
    open_domains: tuple[str, ...] = ()  # in which everybody gets mail, so that it closes none of them
    named: tuple[LeftOut, ...] = ()  # values that were left out by nobody's options

    def fields(self) -> dict[str, Any]:
        """Return what why.json says: all of it as plain JSON, but who the recipients are."""
        count = len(self.recipients) or self.total
        fields = {**self._asdict(), "recipients": count, "total": count, "origin": self.origin._asdict()}
        return {**fields, "named": records(self.named)}

    @classmethod
    def read(cls, why: Mapping[str, Any]) -> Held:
        """Return what why.json says, without the recipients. Raises KeyError, TypeError: it may be anybody's work."""
        origin, reasons, total = Origin(**why["origin"]), tuple(why["reasons"]), why["recipients"]
        _check(str, why["list"], origin.key, origin.client, origin.by, *reasons)
        _check(int, origin.when, why["since"], total, *_numbers(why["left_out"]).values())
        if not (is_time(origin.when) and is_time(why["since"])):
            raise TypeError("a date that cannot be")
        opened = tuple(why.get("open_domains", ()))
        _check(str, *opened)
        counts, named = _numbers(why["left_out"]), LeftOut.read(why.get("named", ()))
        return cls(why["list"], frozenset(), origin, why["since"], reasons, counts, total, opened, named)


class ListFreeze(NamedTuple):
    """Who froze the list, when, and to which list: uploads do not take effect."""

    since: int
    by: str
    list: str  # SHA-256 of the list that was rolled back to

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> ListFreeze:
        """Return what _asdict() gave; what is damaged of it says nothing, and it still holds."""
        since = fields.get("since", 0)
        return cls(since if is_time(since) else 0, str(fields.get("by", "")), str(fields.get("list", "")))


class LastExport(NamedTuple):
    """What the last readable export had besides its recipients."""

    open_domains: tuple[str, ...] = ()  # in which everybody gets mail, whoever is listed
    plus_addresses: bool | None = None  # whether the server takes user+tag@ where it takes user@; None: not said


class Spool:
    """The folder, held open. Everything in it is written by account `postern`, under the customer's lock."""

    def __init__(self, places: Places, customer: str) -> None:
        """Open it. Raises Failed where rebuild-relay-recips has not made it yet."""
        self.places, self.customer = places, customer
        self.commit: Callable[[Any], None] | None = None  # called before a decision is published
        try:
            self.folder = atomic_files.open_directory(places.spool(customer))
        except OSError as error:
            raise Failed(f"{places.spool(customer)}: {error.strerror}; rebuild-relay-recips makes it") from error

    def __enter__(self) -> Spool:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folder, which ends its lock as well."""
        os.close(self.folder)

    @contextmanager
    def locked(self, seconds: float = locks.CUSTOMER) -> Iterator[None]:
        """Hold the customer's lock, without which nobody writes here. Raises Busy."""
        busy = f"another run is publishing for {self.customer}; try again in a minute"
        with locks.hold_lock(self.folder, fcntl.LOCK_EX, seconds, busy):
            yield

    def in_force(self) -> InForce:
        """Read the list in force and what has been accepted of it."""
        text = self.text()
        try:
            return InForce(text, list_file.decode_recipients(text), self.accepted()) if text else InForce()
        except ValueError:
            return InForce()

    def summary(self) -> Summary:
        """Count the list in force and name it, a piece at a time: who asks for it holds no list in memory."""
        total, name = 0, hashlib.sha256()
        with suppress(Failed):
            for piece in atomic_files.pieces(self.folder, spool_files.RECIPIENTS, list_file.LIMIT):
                total += piece.count(b"\n")
                name.update(piece)
        return Summary(total, name.hexdigest(), self.accepted()) if total else Summary()

    def text(self) -> bytes:
        """Read the list in force as it is written; nothing where there is none."""
        with suppress(Failed):
            return atomic_files.read(self.folder, spool_files.RECIPIENTS, list_file.LIMIT) or b""
        return b""

    def accepted(self) -> Accepted:
        """Read accepted.json alone, as the build does."""
        return Accepted.read(atomic_files.load_json(self.folder, spool_files.ACCEPTED) or {})

    def accept(self, accepted: Accepted) -> None:
        """Replace accepted.json."""
        atomic_files.store_json(self.folder, spool_files.ACCEPTED, accepted._asdict())

    def held(self) -> Held | None:
        """Read the list that waits. None: there is none, or it is damaged; the next upload is judged again."""
        try:
            with atomic_files.open_subdirectory(self.folder, "held") as directory:
                why, text = (
                    atomic_files.load_json(directory, "why.json"),
                    atomic_files.read(directory, spool_files.RECIPIENTS, list_file.LIMIT),
                )
            if why is None or text is None or list_file.digest(text) != why["list"]:
                return None
            return Held.read(why)._replace(recipients=list_file.decode_recipients(text))
        except (FileNotFoundError, Failed, ValueError, KeyError, TypeError):
            return None

    def waits(self) -> Held | None:
        """Read what is told of the list that waits, without its recipients."""
        try:
            with atomic_files.open_subdirectory(self.folder, "held") as directory:
                why = atomic_files.load_json(directory, "why.json")
            return None if why is None else Held.read(why)
        except (FileNotFoundError, KeyError, TypeError):
            return None

    def hold(self, held: Held, text: bytes) -> None:
        """Store a list, written as `text`, as the one that waits, with the time since when it does."""
        before = self.held()
        since = before.since if before and before.reasons else held.since
        why = {**held.fields(), "since": since}
        atomic_files.make(self.folder, "held")
        with atomic_files.open_subdirectory(self.folder, "held") as directory:
            atomic_files.replace(directory, spool_files.RECIPIENTS, text)
            atomic_files.store_json(directory, "why.json", why)

    def unhold(self) -> None:
        """Delete the list that waits."""
        with suppress(FileNotFoundError), atomic_files.open_subdirectory(self.folder, "held") as directory:
            for name in ("why.json", "recipients", "review.json", "reviewed.json"):
                atomic_files.remove(directory, name)

    def frozen(self) -> ListFreeze | None:
        """Return why uploads do not take effect; a damaged file still freezes."""
        fields = atomic_files.load_json(self.folder, spool_files.PINNED)
        if fields is None:
            return ListFreeze(0, "", "") if spool_files.PINNED in os.listdir(self.folder) else None
        return ListFreeze.read(fields)

    def freeze(self, freeze: ListFreeze) -> None:
        """Freeze the list: no upload takes effect."""
        atomic_files.store_json(self.folder, spool_files.PINNED, freeze._asdict())

    def unfreeze(self) -> None:
        """End the freeze: uploads take effect again."""
        atomic_files.remove(self.folder, spool_files.PINNED)

    def keys(self) -> dict[str, dict[str, int]]:
        """Return when each key was seen first and last, and the number of the kit that used it last, if known.

        What is no key, or does not say both times, is passed over.
        """
        with suppress(Failed, ValueError, AttributeError):
            seen = decode_json(atomic_files.read(self.folder, spool_files.KEYS, spool_files.SMALL) or b"{}")
            found = {name: _numbers(at) for name, at in seen.items() if names.KEY.fullmatch(name)}
            known = {name: at for name, at in found.items() if is_time(at.get("first")) and is_time(at.get("last"))}
            return {name: {field: at[field] for field in KEY_FIELDS if field in at} for name, at in known.items()}
        return {}

    def note_key(self, key: str, now: int, kit: int | None = None) -> None:
        """Record that a key was used, and by which kit; of more than KEYS the one unused longest is forgotten.

        `kit`: 0 for an export whose kit has no number; None: no export was sent, so nothing is known of a kit.
        """
        keys = self.keys()
        before = keys.get(key, {})
        number = before.get("kit", 0) if kit is None else kit
        keys[key] = {"first": before.get("first", now), "last": now, **({"kit": number} if number else {})}
        latest = sorted(keys, key=lambda name: keys[name]["last"])[-KEYS:]
        atomic_files.replace(
            self.folder, spool_files.KEYS, atomic_files.encode_json({name: keys[name] for name in sorted(latest)})
        )

    def last_export(self) -> LastExport:
        """Read last-export.json; a damaged one says nothing."""
        fields = atomic_files.load_json(self.folder, spool_files.LAST_EXPORT) or {}
        domains, plus = fields.get("open_domains"), fields.get("plus_addresses")
        opened = tuple(map(str, domains)) if isinstance(domains, list) else ()
        return LastExport(opened, plus if isinstance(plus, bool) else None)

    def record_export(self, export: LastExport) -> None:
        """Replace last-export.json, where its content changes."""
        if export != self.last_export():
            atomic_files.store_json(self.folder, spool_files.LAST_EXPORT, export._asdict())

    def is_put_off(self) -> bool:
        """Return whether the timer found that the server refuses to be asked about unlisted addresses."""
        return (atomic_files.load_json(self.folder, spool_files.ASKING) or {}).get("put_off") is True

    def last_run(self) -> Outcome | None:
        """Read what the last run came to."""
        with suppress(Failed, ValueError, TypeError, AttributeError):
            return Outcome.read(
                decode_json(atomic_files.read(self.folder, spool_files.LAST_RUN, spool_files.SMALL) or b"{}")
            )
        return None

    def record(self, outcome: Outcome) -> None:
        """Write what this run came to."""
        atomic_files.replace(self.folder, spool_files.LAST_RUN, atomic_files.encode_json(outcome.record()))


def _numbers(found: object) -> dict[str, int]:
    return {str(name): n for name, n in found.items() if isinstance(n, int)} if isinstance(found, dict) else {}


def _check(kind: type, *values: object) -> None:
    if not all(isinstance(value, kind) for value in values):
        raise TypeError(f"something is no {kind.__name__}")
