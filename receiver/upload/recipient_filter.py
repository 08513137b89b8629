"""Which values of an export are recipients: `refusal()` says why one is not, `choose()` takes a whole export.

An address is kept as Postfix looks it up: folded as its tables fold keys, the domain as its A-label, the local part as
receiver.addresses has it. Encapsulated addresses (IMCEAEX-...) that Exchange lists are recipients like any other:
replies to old mail go there. `exclude` them where that is not wanted.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

from common.addresses import AROUND, LOCAL_CHARACTERS, has_unlisted_characters, listed_local_part
from common.settings import Settings
from receiver.addresses import OCTETS
from receiver.outcome import VALUE, LeftOut
from receiver.upload import joined_values, own_domains
from receiver.upload.formats import BadExport, Block, Values
from receiver.upload.recipient_types import KINDS

NOT_INTERNET = "not internet"  # X400, MS, CCMAIL, ...
OTHER_DOMAIN = "other domain"
EXCLUDED = "excluded"
NOT_AN_ADDRESS = "not an address"  # no domain, controls, or another notation than an address; nothing is guessed
NO_LOCAL_PART = "no local part"  # as a key it would be the whole domain
WILDCARD = "wildcard"  # `*@domain`, by somebody who meant the whole domain
TOO_LONG = "too long"  # for Exchange
UNASSIGNED = "unassigned character"  # Postfix' Unicode may know it, and fold it into another as ours cannot
REASONS = (
    *(NOT_INTERNET, OTHER_DOMAIN, EXCLUDED, NOT_AN_ADDRESS, NO_LOCAL_PART, WILDCARD),
    *(TOO_LONG, UNASSIGNED, *KINDS),
)

NAMED = 100  # values left out in domains of the customer's are named; the rest is counted
KEPT = 10_000  # are kept for `explain`, whoever wished that they are left out
_UNINTENDED = (NOT_AN_ADDRESS, NO_LOCAL_PART, WILDCARD, TOO_LONG, UNASSIGNED)  # nobody decided this, unlike the others

_WRITTEN = 2 * LOCAL_CHARACTERS + 2 + 1 + 255  # characters, with a backslash before each of the local part
_BATCH = 1 << 12  # values taken at once where a format has no blocks
_PLAIN_ATOM = r"[a-z0-9!$%&'+/=?^_`{|}~-]"  # without # and *, which need a closer look
_PLAIN_LOCAL = rf"{_PLAIN_ATOM}{{1,24}}(?:\.{_PLAIN_ATOM}{{1,19}}){{0,2}}"
_PLAIN_DOMAIN = r"[a-z0-9_-]{1,62}(?:\.[a-z0-9_-]{1,62}){0,2}"
_EMPTY_LINE = re.compile("\n\n")  # where there is a match at every step, `re` is faster than `in`
_BLANKS = r"[^\S\n]*"  # before a type: somebody typed them
_INTERNET = re.compile(rf"\n{_BLANKS}smtp:([^\n]*)")
_APART = r"(?:[^\S\n]{0,9}[:;=,][^\S\n]{0,9}|[^\S\n]{1,9})"
_MISTYPED = rf"(?!smtp:)(?:s[mtp]{{2,4}}|\uff53\uff4d\uff54\uff50|mailto|e?-?mail){_APART}"
"""In place of `smtp:`: typed wrong, with a blank, on an East Asian keyboard, or as a browser has it."""


class FilteredExport(NamedTuple):
    """The recipients of an export, and how many of its values were left out for which reason."""

    recipients: frozenset[str]
    left_out: Mapping[str, int]
    open_domains: frozenset[str] = frozenset()  # in which everybody gets mail, whoever is listed
    notes: tuple[str, ...] = ()  # what else somebody should hear of
    plus_addresses: bool | None = None  # whether the server takes user+tag@ too; None: the export does not say
    named: tuple[LeftOut, ...] = ()  # whom nobody meant to leave out, in the order of the export, at most NAMED
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
            if reason and _INTERNET.fullmatch(f"\n{lowered}"):
                self._take(value, reason, is_intended=reason not in _UNINTENDED)
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

    Raises BadExport for a value that holds a second one: another separator stands between them than the one asked for.
    """
    rules = _rules(settings)
    blocks = values.blocks if isinstance(values, Values) else _blocks(values)
    return chain.from_iterable(_take_block(block, settings.leave_out, rules, tally) for block in blocks)


def listed_form(value: str, settings: Settings) -> str:
    """Return how an address, with or without `smtp:`, would be listed; empty: in no domain of the customer."""
    lowered = _INTERNET.fullmatch("\nsmtp:" + re.sub(r"(?i)^\s*smtp:", "", value).lower().replace("\n", "\r"))
    return _judge_address(lowered[1], _rules(settings._replace(exclude=())))[0] if lowered else ""


def reason_left_out(value: str, settings: Settings) -> str | None:
    """Return why a value is no recipient, in one of REASONS; None: it is one."""
    lowered = _INTERNET.fullmatch("\n" + value.lower().replace("\n", "\r"))
    return _judge_address(lowered[1], _rules(settings))[1] if lowered else NOT_INTERNET


class _Rules(NamedTuple):
    """The settings, prepared for a million values."""

    domains: Mapping[str, str]  # as written in lower case: A-label; empty: any
    plain: re.Pattern[str]  # a line that is a recipient beyond doubt, in lower case, just as it is looked up
    untyped: re.Pattern[str]  # a line that is an address of the customer's, without its type before it
    inner: re.Pattern[str]  # an address of the customer's within another value
    excluded: re.Pattern[str] | None  # matches an address as it is looked up


def _rules(settings: Settings) -> _Rules:
    return _compile_rules(settings.domains, tuple(sorted(settings.unicode.items())), settings.exclude)


@lru_cache(maxsize=4)
def _compile_rules(domains: tuple[str, ...], labels: tuple[tuple[str, str], ...], exclude: tuple[str, ...]) -> _Rules:
    known = {**{u_label.lower(): a_label for a_label, u_label in labels}, **{name.lower(): name for name in domains}}
    ours = "|".join(map(re.escape, domains)) if domains else _PLAIN_DOMAIN
    return _Rules(
        known if domains else {},
        re.compile(rf"\nsmtp:({_PLAIN_LOCAL}@(?:{ours}))(?=\n)"),
        re.compile(rf"\n{_BLANKS}((?:{_MISTYPED})?[^\s:@]+@(?:{ours if domains else '(?!)'})){_BLANKS}(?=\n)"),
        joined_values.compile_inner(known),
        re.compile("|".join(_exclusion(pattern, known) for pattern in exclude)) if exclude else None,
    )


def _exclusion(pattern: str, domains: Mapping[str, str]) -> str:
    """Return a line of exclude-users.txt as a regular expression: a bare word is a local part in any domain."""
    folded = pattern.casefold()
    if not set(folded) & set("@*?["):
        return re.escape(listed_local_part(folded) or folded) + r"@[^@]*\Z"
    local, at, domain = folded.rpartition("@")
    shell = fnmatch.translate(f"{local}{at}{domains.get(domain, domain)}")
    try:
        re.compile(shell)
    except re.error:  # a range the wrong way round, as in [z-a]: it matches nothing
        return "(?!)"
    return shell


def _blocks(values: Iterable[str]) -> Iterator[Block]:
    """Yield values as lines of long texts. A line end within one becomes another control: no address has any."""
    some = iter(values)
    while batch := list(islice(some, _BATCH)):
        yield Block("\n".join([value.replace("\n", "\r") for value in batch]))


def _take_block(block: Block, leave_out: Container[str], rules: _Rules, tally: Tally) -> list[str]:
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
        tally.name(block.text, lambda address: kind if _is_own(address, rules) else None)
    return []


def _with_line(error: BadExport, block: Block, rules: _Rules) -> BadExport:
    """Return a refusal of a block's values as that of the first row that must be refused, if its rows are known."""
    faults = ((line, _fault(values, rules)) for line, values in block.rows())
    return next((BadExport(line, fault.why) for line, fault in faults if fault), error)


def _fault(values: str, rules: _Rules) -> BadExport | None:
    try:
        _filter_block(values, rules, Tally())
    except BadExport as error:
        return error
    return None


def _filter_block(block: str, rules: _Rules, tally: Tally) -> list[str]:
    """Return the recipients among the lines of a block and count the others."""
    pieces = rules.plain.split(f"\n{block.lower()}\n")
    recipients, rest = pieces[1::2], "".join(pieces[::2])
    while _EMPTY_LINE.search(rest):
        rest = rest.replace("\n\n", "\n")
    joined_values.check_lines(rest, rules.inner)
    unclear = _INTERNET.findall(rest)
    tally.counts[NOT_INTERNET] += rest.count("\n") - 1 - len(unclear)
    if rules.excluded:
        excluded = {address for address in recipients if rules.excluded.match(address)}
        if excluded:
            tally.counts[EXCLUDED] += sum(address in excluded for address in recipients)
            if tally.has_room:
                tally.name(block, dict.fromkeys(excluded, EXCLUDED).get)
            recipients = [address for address in recipients if address not in excluded]
    untyped = {*rules.untyped.findall(rest)} if tally.has_room else frozenset()
    return recipients + _filter_unclear(block, unclear, untyped, rules, tally)


def _filter_unclear(block: str, unclear: Iterable[str], untyped: Set[str], rules: _Rules, tally: Tally) -> list[str]:
    """Return the recipients among addresses that need a closer look, and count the others. Raises BadExport."""
    recipients: list[str] = []
    to_name: dict[str, str] = {}
    for address in unclear:
        recipient, reason = _judge_address(address, rules)
        if reason is None:
            recipients.append(recipient)
            continue
        tally.counts[reason] += 1
        if reason in (OTHER_DOMAIN, NOT_AN_ADDRESS) and _has_another_behind(address, rules):
            raise joined_values.refusal(f"smtp:{address}")
        is_wanted = reason in _UNINTENDED or (reason != OTHER_DOMAIN and tally.has_room)
        if is_wanted and _is_own(address, rules):
            to_name[address] = reason
    if to_name or untyped:
        tally.name(block, to_name.get, untyped)
    return recipients


def _judge_address(address: str, rules: _Rules) -> tuple[str, str | None]:
    """Return a lower-case address as it is looked up, and why it is no recipient, if it is none."""
    local, at, domain = parts = address.strip(AROUND).rpartition("@")
    if len(local) + len(domain) > _WRITTEN:  # looked at no closer: megabytes of it would cost gigabytes
        return "", TOO_LONG
    named = _our_domain(parts, rules)
    if at and rules.domains and named is None:
        return "", NOT_AN_ADDRESS if _holds_own(parts, rules) else OTHER_DOMAIN
    if named is None or not own_domains.is_domain(named) or has_unlisted_characters(named):
        return "", NOT_AN_ADDRESS
    local = local.strip(AROUND)
    if local in ("", '""'):
        return "", NO_LOCAL_PART
    spelled = listed_local_part(local.casefold())
    if spelled is None:
        return "", NOT_AN_ADDRESS
    recipient = f"{spelled}@{named}"
    return recipient, _objection(spelled, recipient, rules)


def _is_own(address: str, rules: _Rules) -> bool:
    parts = address.strip(AROUND).rpartition("@")
    return bool(_our_domain(parts, rules)) or _holds_own(parts, rules)


def _holds_own(address: tuple[str, str, str], rules: _Rules) -> bool:
    """Return whether there is a whole address of the customer's in something more or else than one."""
    local, at, domain = address
    is_one = at and domain.isascii() and own_domains.is_domain(domain) and "@" not in local
    return not is_one and own_domains.holds_address("".join(address), rules.domains)


def _our_domain(address: tuple[str, str, str], rules: _Rules) -> str | None:
    """Return the domain of an address, cut at its last @, as it is looked up; None: it is none of the customer's."""
    _, at, domain = address
    if not at or len(domain) > _WRITTEN:
        return None
    return own_domains.find(domain, rules.domains) if rules.domains else domain.casefold()


def _has_another_behind(address: str, rules: _Rules) -> bool:
    """Return whether behind an address of ours, and something that could be a separator, another type begins."""
    return bool(_our_domain(("", "@", joined_values.domain_before_type(address)), rules))


def _objection(local: str, recipient: str, rules: _Rules) -> str | None:
    """Return why an address that is well-formed is no recipient."""
    if local == "*":
        return WILDCARD
    if len(local) > LOCAL_CHARACTERS + _count_quoting(local) or len(recipient.encode()) > OCTETS:
        return TOO_LONG
    if not recipient.isprintable() and "Cn" in map(unicodedata.category, recipient):
        return UNASSIGNED
    return EXCLUDED if rules.excluded and rules.excluded.match(recipient) else None


def _count_quoting(local: str) -> int:
    """Count the characters of a local part that only quote it."""
    return 2 + len(re.findall(r"\\.", local)) if local.startswith('"') else 0
