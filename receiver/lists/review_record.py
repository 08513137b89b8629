"""What a person has been shown of a held list: whom it removes, what it closes, who had mail. `accept` checks it.

It lies in `held/review.json`, on every relay of the customer the same, and stays until a list passes. What the first
release noted there (`reviewed.json`) has no names, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from receiver.addresses import domain_of, without_tag
from receiver.outcome import FORMAT, Failed
from receiver.system import atomic_files
from receiver.system.checked_json import decode_json

NAME = "review.json"
LIMIT = 512 << 20  # bytes: a million of the longest addresses that go, and who had mail


class BadRecord(Exception):
    """The record of a review is damaged. The text says how."""


class MailSeen(NamedTuple):
    """Mail that an address had, or that waits for it."""

    last: str  # the day of the last one, YYYY-MM-DD
    days: int  # on how many days at least


class Numbers(NamedTuple):
    """The numbers that `accept` must be given, each counted over all relays that were asked."""

    first: int = 0  # addresses of the list in domains without an accepted list
    adding: int = 0  # other addresses that are not in force, because the list grows too much
    removing: int = 0  # addresses in force that are not on the list
    although_mail: int = 0  # of those, and of others in domains that close, how many had mail lately

    @property
    def options(self) -> list[str]:
        """Return the options that say them, without those that are zero."""
        return [f"--{name.replace('_', '-')} {size}" for name, size in self._asdict().items() if size]


class ListEffect(NamedTuple):
    """Whom a list refuses once it is accepted on one relay."""

    going: frozenset[str] = frozenset()  # in force, and not on the list
    closing: frozenset[str] = frozenset()  # open domains that it closes
    listed: frozenset[str] = frozenset()  # addresses of the list in domains without an accepted list
    always: frozenset[str] = frozenset()  # addresses that are listed whatever a list says
    takes_plus: bool = False  # user+tag@ is taken where user@ is

    def refuses(self, address: str) -> bool:
        """Return whether the list refuses mail for an address that is accepted now."""
        if address in self.always:
            return False
        if address in self.going:
            return True
        known = {address, without_tag(address)} if self.takes_plus else {address}
        return domain_of(address) in self.closing and not known & self.listed


def shown_as_listed(effects: Collection[ListEffect]) -> frozenset[str]:
    """Return who is listed in domains that close, by every list that closes them: relays may hold different ones."""
    closing = frozenset[str]().union(*(effect.closing for effect in effects))
    every = frozenset[str]().union(*(effect.listed for effect in effects))
    return frozenset(
        name
        for name in every
        if (domain := domain_of(name)) in closing
        and all(name in effect.listed for effect in effects if domain in effect.closing)
    )


class ReviewRecord(NamedTuple):
    """One review, of all relays that could be asked."""

    list: str  # SHA-256 of the list that was held; of the newest, where relays held different ones
    total: int  # its recipients
    first: int = 0  # as in Numbers
    adding: int = 0
    going: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()  # domains
    listed: frozenset[str] = frozenset()  # in those domains, on the list of every relay that closes them
    mail: Mapping[str, MailSeen] = {}  # by address: whom it refuses though they had mail
    unseen: tuple[str, ...] = ()  # why there may have been more mail, in words; empty: all was seen
    relays: int = 0  # how many were asked; 0: this one alone, by a person there

    @property
    def numbers(self) -> Numbers:
        """Return the numbers that accept must be given."""
        return Numbers(self.first, self.adding, len(self.going), len(self.mail))

    def command(self, customer: str) -> str:
        """Return the exact command that accepts it, for `inv` and for `postern` alike."""
        incomplete = ["--log-incomplete"] if self.unseen else []
        return " ".join(["accept", customer, *self.numbers.options, *incomplete, "--list", self.list])

    def covers(self, going: Collection[str], closing: Collection[str]) -> bool:
        """Return whether everybody who would go, and every domain that would close, has been shown."""
        return self.going.issuperset(going) and self.closing.issuperset(closing)


def encode_record(record: ReviewRecord) -> bytes:
    """Return a record as JSON text, which decode_record() reads."""
    mail = {name: list(seen) for name, seen in record.mail.items()}
    sets = {name: sorted(each) for name, each in record._asdict().items() if isinstance(each, frozenset)}
    fields = {**record._asdict(), **sets, "mail": mail, "unseen": list(record.unseen)}
    return atomic_files.encode_json({"postern": FORMAT, **fields})


def decode_record(content: bytes) -> ReviewRecord:
    """Return what encode_record() gave. Raises BadRecord."""
    try:
        fields = decode_json(content)
        if fields["postern"] != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        going, closing, listed = (frozenset(_texts(fields[name])) for name in ("going", "closing", "listed"))
        unseen = tuple(_texts(fields["unseen"]))
        mail = {name: MailSeen(*_check_types(list(seen), str, int)) for name, seen in fields["mail"].items()}
        name, *numbers = _check_types(
            [fields[each] for each in ("list", "total", "first", "adding", "relays")], str, int
        )
        total, first, adding, relays = numbers
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadRecord(f"it is no record of a review: {type(error).__name__}: {error}") from error
    return ReviewRecord(name, total, first, adding, going, closing, listed, mail, unseen, relays)


def load_record(folder: int) -> ReviewRecord | None:
    """Return the last review in a spool. None: there is none, or it is damaged and must be made again."""
    try:
        with atomic_files.hold_directory("held", folder) as directory:
            content = atomic_files.read(directory, NAME, LIMIT)
        return None if content is None else decode_record(content)
    except (FileNotFoundError, Failed, BadRecord):
        return None


def store_record(folder: int, record: ReviewRecord) -> None:
    """Replace the last review in a spool, also while no list is held."""
    atomic_files.make(folder, "held")
    with atomic_files.hold_directory("held", folder) as directory:
        atomic_files.replace(directory, NAME, encode_record(record))


def unite_mail(seen: Collection[Mapping[str, MailSeen]]) -> dict[str, MailSeen]:
    """Return who had mail on any of several relays: on at least as many days as one of them has seen."""
    found: dict[str, MailSeen] = {}
    for each in seen:
        for name, mail in each.items():
            before = found.get(name, mail)
            found[name] = MailSeen(max(before.last, mail.last), max(before.days, mail.days))
    return found


def sort_by_days(mail: Mapping[str, MailSeen]) -> list[str]:
    """Return addresses that had mail, those with mail on most days first."""
    return sorted(mail, key=lambda name: (-mail[name].days, name))


def _texts(values: Any) -> list[str]:
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise TypeError("a field is no list of texts")
    return values


def _check_types(values: list[Any], first: type, others: type) -> list[Any]:
    """Return values of which the first is a word and the others are numbers. Raises TypeError."""
    if not (isinstance(values[0], first) and all(type(value) is others for value in values[1:])):
        raise TypeError("a field is of the wrong type")
    return values
