"""Which values of a whole export are recipients, and which are left out and why: many values at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Set
from itertools import chain, islice
from typing import NamedTuple

from common.addresses import AROUND
from common.settings import Settings
from receiver.outcome import VALUE, LeftOut
from receiver.upload import joined_values
from receiver.upload.address_rules import (
    EXCLUDED,
    INTERNET,
    NOT_AN_ADDRESS,
    NOT_INTERNET,
    OTHER_DOMAIN,
    REASONS,
    UNINTENDED,
    Rules,
    check_address,
    has_another_behind,
    is_own,
    rules_of,
)
from receiver.upload.formats import BadExport, Block, Values

NAMED = 100  # values left out in the customer's domains that are named; the rest is counted
KEPT = 10_000  # values left out there that are kept for `explain`, whatever the reason

_BATCH = 1 << 12  # values taken at once where a format has no blocks
_FEW = 4  # domains that are looked for in less time than one regular expression takes
_EMPTY_LINE = re.compile("\n\n")  # where there is a match at every step, `re` is faster than `in`


class FilteredExport(NamedTuple):
    """The recipients of an export, and how many of its values were left out for which reason."""

    recipients: frozenset[str]
    left_out: Mapping[str, int]
    open_domains: frozenset[str] = frozenset()  # in which every address gets mail, listed or not
    notes: tuple[str, ...] = ()  # for a person
    plus_addresses: bool | None = None  # whether the server takes user+tag@ too; None: the export does not say
    named: tuple[LeftOut, ...] = ()  # left out though no option says so, in the order of the export, at most NAMED
    own_left_out: tuple[LeftOut, ...] = ()  # all in domains of the customer's, whatever the reason, at most KEPT


class Tally:
    """The values that have been left out so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts: Counter[str] = Counter()
        self._kept: dict[str, str] = {}
        self._unintended: dict[str, str] = {}

    @property
    def left_out(self) -> dict[str, int]:
        """Return how many values were left out for which reason, in the order of REASONS."""
        return {reason: self.counts[reason] for reason in REASONS if self.counts[reason]}

    @property
    def named(self) -> tuple[LeftOut, ...]:
        """Return the values that are named."""
        return tuple(LeftOut(*each) for each in self._unintended.items())

    @property
    def kept(self) -> tuple[LeftOut, ...]:
        """Return the values that are kept."""
        return tuple(LeftOut(*each) for each in self._kept.items())

    @property
    def has_room(self) -> bool:
        """Return whether more values can be kept."""
        return len(self._kept) < KEPT

    def name(self, block: str, reason_of: Callable[[str], str | None], untyped: Container[str] = ()) -> None:
        """Add the values of a block that are left out; `reason_of` returns the reason for an address in lower case.

        `untyped`: values without their type, in lower case and without blanks around, that are named all the same.
        """
        for value in block.split("\n"):
            lowered = value.lower()
            reason = reason_of(lowered.partition("smtp:")[2])
            if reason and INTERNET.fullmatch(f"\n{lowered}"):
                self._take(value, reason, is_intended=reason not in UNINTENDED)
            elif lowered.strip() in untyped:
                self._take(value, NOT_INTERNET, is_intended=False)

    def _take(self, value: str, reason: str, *, is_intended: bool) -> None:
        value = value.strip(AROUND)[:VALUE]
        if self.has_room:
            self._kept.setdefault(value, reason)
        if not is_intended and len(self._unintended) < NAMED:
            self._unintended.setdefault(value, reason)


def filter_export(values: Iterable[str], settings: Settings) -> FilteredExport:
    """Return the recipients; with no domains in the settings, of any domain. Raises what reading the values raises."""
    tally = Tally()
    recipients = frozenset(iterate_recipients(values, settings, tally))
    if not isinstance(values, Values):
        return FilteredExport(recipients, tally.left_out, named=tally.named, own_left_out=tally.kept)
    said = frozenset(values.open_domains), values.notes, values.plus_addresses
    return FilteredExport(recipients, tally.left_out, *said, tally.named, tally.kept)


def iterate_recipients(values: Iterable[str], settings: Settings, tally: Tally) -> Iterator[str]:
    """Yield the recipients in the order of the export, each as often as it is there; `tally` takes what is left out.

    Raises BadExport for a value that holds a second one, because their separator is not the expected one.
    """
    rules = rules_of(settings)
    blocks = values.blocks if isinstance(values, Values) else _blocks(values)
    return chain.from_iterable(_take_block(block, settings.leave_out, rules, tally) for block in blocks)


def _blocks(values: Iterable[str]) -> Iterator[Block]:
    """Yield values as lines of long texts. A line end within one becomes another control: no address has any."""
    some = iter(values)
    while batch := list(islice(some, _BATCH)):
        yield Block("\n".join([value.replace("\n", "\r") for value in batch]))


def _take_block(block: Block, leave_out: Container[str], rules: Rules, tally: Tally) -> list[str]:
    """Return the recipients of a block; none if its owners are of a kind to leave out, which then is counted."""
    try:
        recipients = _filter_block(block.text, rules, tally)
    except BadExport as error:
        raise _with_line(error, block, rules) from None
    kind = next((kind for kind in block.kinds if kind in leave_out), None)
    if kind is None:
        return recipients
    tally.counts[kind] += len(recipients)
    if recipients and tally.has_room:
        tally.name(block.text, lambda address: kind if is_own(address, rules) else None)
    return []


def _with_line(error: BadExport, block: Block, rules: Rules) -> BadExport:
    """Return the error of the first row of a block that must be refused, or the block's where rows are not known."""
    faults = ((line, _fault(values, rules)) for line, values in block.rows())
    return next((BadExport(line, fault.why) for line, fault in faults if fault), error)


def _fault(values: str, rules: Rules) -> BadExport | None:
    try:
        _filter_block(values, rules, Tally())
    except BadExport as error:
        return error
    return None


def _filter_block(block: str, rules: Rules, tally: Tally) -> list[str]:
    """Return the recipients among the lines of a block and count the others."""
    pieces = rules.plain.split(f"\n{block.lower()}\n")
    recipients, rest = pieces[1::2], "".join(pieces[::2])
    while _EMPTY_LINE.search(rest):
        rest = rest.replace("\n\n", "\n")
    unclear = INTERNET.findall(rest)
    joined_values.check_lines(rest, len(unclear), rules.inner)
    tally.counts[NOT_INTERNET] += rest.count("\n") - 1 - len(unclear)
    if rules.excluded:
        excluded = {address for address in recipients if rules.excluded.match(address)}
        if excluded:
            tally.counts[EXCLUDED] += sum(address in excluded for address in recipients)
            if tally.has_room:
                tally.name(block, dict.fromkeys(excluded, EXCLUDED).get)
            recipients = [address for address in recipients if address not in excluded]
    untyped = {*rules.untyped.findall(rest)} if tally.has_room and _may_have_ours(rest, rules) else frozenset()
    return recipients + _filter_unclear(block, unclear, untyped, rules, tally)


def _may_have_ours(rest: str, rules: Rules) -> bool:
    """Return whether lines may have an address of the customer's: for few domains that is cheap to find out."""
    return len(rules.domains) > _FEW or any(f"@{name}" in rest for name in rules.domains)


def _filter_unclear(block: str, unclear: Iterable[str], untyped: Set[str], rules: Rules, tally: Tally) -> list[str]:
    """Return the recipients among addresses that need a closer look, and count the others. Raises BadExport."""
    recipients: list[str] = []
    to_name: dict[str, str] = {}
    for address in unclear:
        recipient, reason = check_address(address, rules)
        if reason is None:
            recipients.append(recipient)
            continue
        tally.counts[reason] += 1
        if reason in (OTHER_DOMAIN, NOT_AN_ADDRESS) and has_another_behind(address, rules):
            raise joined_values.error_of_joined_value(f"smtp:{address}")
        is_wanted = reason in UNINTENDED or (reason != OTHER_DOMAIN and tally.has_room)
        if is_wanted and is_own(address, rules):
            to_name[address] = reason
    if to_name or untyped:
        tally.name(block, to_name.get, untyped)
    return recipients
