"""Which values of an export are recipients: `refusal()` says why one is not, `choose()` takes a whole export.

An address is kept as Postfix looks it up: folded as its tables fold keys, the domain as its A-label, and quoted only
where it must be. Encapsulated addresses (IMCEAEX-...) that Exchange lists are recipients like any other: replies to
old mail go there. `exclude` them where that is not wanted.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

from common.settings import Settings
from receiver.addresses import LOCAL_OCTETS, OCTETS
from receiver.upload.formats import Block, Values
from receiver.upload.recipient_types import TYPES

NOT_INTERNET = "not internet"  # X400, MS, CCMAIL, ...
OTHER_DOMAIN = "other domain"
EXCLUDED = "excluded"
NOT_AN_ADDRESS = "not an address"  # neither dot-atom nor properly quoted; nothing is put right by guessing
NO_LOCAL_PART = "no local part"  # as a key it would be the whole domain
WILDCARD = "wildcard"  # `*@domain`, by somebody who meant the whole domain
TOO_LONG = "too long"
COMMENT = "begins with #"  # postmap takes its line for a comment; Postfix would not ask for it in quotes
UNASSIGNED = "unassigned character"  # Postfix' Unicode may know it, and fold it into another as ours cannot
REASONS = (
    *(NOT_INTERNET, OTHER_DOMAIN, EXCLUDED, NOT_AN_ADDRESS, NO_LOCAL_PART, WILDCARD),
    *(TOO_LONG, COMMENT, UNASSIGNED, *TYPES),
)

_WRITTEN = 2 * LOCAL_OCTETS + 2 + 1 + OCTETS  # at most, with a backslash before each character of the local part

_BATCH = 1 << 12  # values taken at once where a format has no blocks
_PLAIN_ATOM = r"[a-z0-9!$%&'+/=?^_`{|}~-]"  # without # and *, which need a closer look
_PLAIN_LOCAL = rf"{_PLAIN_ATOM}{{1,24}}(?:\.{_PLAIN_ATOM}{{1,19}}){{0,2}}"  # so at most 64
_PLAIN_DOMAIN = r"[a-z0-9_-]{1,62}(?:\.[a-z0-9_-]{1,62}){0,2}"  # at most 188
_PLAIN_OCTETS = 190  # of a domain of ours: with any plain local part still within OCTETS
_ATOM = r'[^\x00-\x20\x7f"(),.:;<>@\[\\\]]+'
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LABEL = r"[a-z0-9_\x80-\U0010ffff-]+"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_EMPTY_LINE = re.compile("\n\n")  # where there is a match at every step, `re` is faster than `in`
_INTERNET = re.compile(r"\nsmtp:([^\n]*)")
_NEVER = re.compile("[^\\S ]|[\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")  # controls, odd blanks, what a decoder gave up


class FilteredExport(NamedTuple):
    """The recipients of an export, and how many of its values were left out for which reason."""

    recipients: frozenset[str]
    left_out: Mapping[str, int]
    open_domains: frozenset[str] = frozenset()  # in which everybody gets mail, whoever is listed
    notes: tuple[str, ...] = ()  # what else somebody should hear of
    plus_addresses: bool | None = None  # whether the server takes user+tag@ too; None: the export does not say


def filter_export(values: Iterable[str], settings: Settings) -> FilteredExport:
    """Choose the recipients; with no domains in the settings, in any domain. Raises what reading the values does."""
    left_out: Counter[str] = Counter()
    recipients = frozenset(iterate_recipients(values, settings, left_out))
    counts = {reason: left_out[reason] for reason in REASONS if left_out[reason]}
    if isinstance(values, Values):
        return FilteredExport(recipients, counts, frozenset(values.open_domains), values.notes, values.plus_addresses)
    return FilteredExport(recipients, counts)


def iterate_recipients(values: Iterable[str], settings: Settings, left_out: Counter[str]) -> Iterator[str]:
    """Give the recipients in the order of the export, each as often as it is there, and count what is left out."""
    rules = _rules(settings)
    blocks = values.blocks if isinstance(values, Values) else _blocks(values)
    return chain.from_iterable(_take_block(block, settings.leave_out, rules, left_out) for block in blocks)


def reason_left_out(value: str, settings: Settings) -> str | None:
    """Say why a value is no recipient, in one of REASONS; None: it is one."""
    lowered = value.lower()
    if not lowered.startswith("smtp:"):
        return NOT_INTERNET
    return _judge_address(lowered[5:], _rules(settings))[1]


class _Rules(NamedTuple):
    """The settings, made ready to be asked of a million values."""

    domains: Mapping[str, str]  # as written in lower case: A-label; empty: any
    plain: re.Pattern[str]  # a line that is a recipient beyond doubt, in lower case, just as it is looked up
    excluded: re.Pattern[str] | None  # matches an address as it is looked up


def _rules(settings: Settings) -> _Rules:
    return _compile_rules(settings.domains, tuple(sorted(settings.unicode.items())), settings.exclude)


@lru_cache(maxsize=4)
def _compile_rules(domains: tuple[str, ...], labels: tuple[tuple[str, str], ...], exclude: tuple[str, ...]) -> _Rules:
    known = {**{u_label.lower(): a_label for a_label, u_label in labels}, **{name.lower(): name for name in domains}}
    short = "|".join(re.escape(name) for name in domains if len(name) <= _PLAIN_OCTETS) or "(?!)"
    return _Rules(
        known if domains else {},
        re.compile(rf"\nsmtp:({_PLAIN_LOCAL}@(?:{short if domains else _PLAIN_DOMAIN}))(?=\n)"),
        re.compile("|".join(_exclusion(pattern, known) for pattern in exclude)) if exclude else None,
    )


def _exclusion(pattern: str, domains: Mapping[str, str]) -> str:
    """Give a line of exclude-users.txt as a regular expression: a bare word is a local part in any domain."""
    folded = pattern.casefold()
    if not set(folded) & set("@*?["):
        return re.escape(_as_looked_up(folded) or folded) + r"@[^@]*\Z"
    local, at, domain = folded.rpartition("@")
    shell = fnmatch.translate(f"{local}{at}{domains.get(domain, domain)}")
    try:
        re.compile(shell)
    except re.error:  # a range the wrong way round, as in [z-a]: it matches nothing
        return "(?!)"
    return shell


def _blocks(values: Iterable[str]) -> Iterator[Block]:
    """Give values as lines of long texts. A line end within one becomes another control: no address has any."""
    some = iter(values)
    while batch := list(islice(some, _BATCH)):
        yield Block("\n".join([value.replace("\n", "\r") for value in batch]))


def _take_block(block: Block, leave_out: Container[str], rules: _Rules, left_out: Counter[str]) -> list[str]:
    """Give the recipients of a block; none if its owners are of a kind to leave out, which then is counted."""
    recipients = _filter_block(block.text, rules, left_out)
    kind = next((kind for kind in block.kinds if kind in leave_out), None)
    if kind is None:
        return recipients
    left_out[kind] += len(recipients)
    return []


def _filter_block(block: str, rules: _Rules, left_out: Counter[str]) -> list[str]:
    """Give the recipients among the lines of a block and count the others."""
    pieces = rules.plain.split(f"\n{block.lower()}\n")
    recipients, rest = pieces[1::2], "".join(pieces[::2])
    while _EMPTY_LINE.search(rest):
        rest = rest.replace("\n\n", "\n")
    unclear = _INTERNET.findall(rest)
    left_out[NOT_INTERNET] += rest.count("\n") - 1 - len(unclear)
    if rules.excluded:
        kept = [address for address in recipients if not rules.excluded.match(address)]
        left_out[EXCLUDED] += len(recipients) - len(kept)
        recipients = kept
    recipients += _filter_unclear(unclear, rules, left_out)
    return recipients


def _filter_unclear(unclear: Iterable[str], rules: _Rules, left_out: Counter[str]) -> Iterator[str]:
    """Give the recipients among addresses that need a closer look, and count the others."""
    for address in unclear:
        recipient, reason = _judge_address(address, rules)
        if reason is None:
            yield recipient
        else:
            left_out[reason] += 1


def _judge_address(address: str, rules: _Rules) -> tuple[str, str | None]:
    """Give a lower-case address as it is looked up, and why it is no recipient, if it is none."""
    local, at, domain = address.strip(" ").rpartition("@")
    if len(local) + len(domain) > _WRITTEN:  # looked at no closer: megabytes of it would cost gigabytes
        return "", TOO_LONG
    named = rules.domains.get(domain) if rules.domains else domain.casefold()
    if at and named is None:
        return "", OTHER_DOMAIN
    if not at or named is None or not _DOMAIN.fullmatch(named) or _NEVER.search(named):
        return "", NOT_AN_ADDRESS
    if local in ("", '""'):
        return "", NO_LOCAL_PART
    spelled = _as_looked_up(local.casefold())
    if spelled is None:
        return "", NOT_AN_ADDRESS
    recipient = f"{spelled}@{named}"
    return recipient, _objection(spelled, recipient, rules)


def _objection(local: str, recipient: str, rules: _Rules) -> str | None:
    """Say why an address that is well-formed is no recipient."""
    if local == "*":
        return WILDCARD
    if local.startswith("#"):
        return COMMENT
    if len(local.encode()) > LOCAL_OCTETS or len(recipient.encode()) > OCTETS:
        return TOO_LONG
    if not recipient.isprintable() and "Cn" in map(unicodedata.category, recipient):
        return UNASSIGNED
    return EXCLUDED if rules.excluded and rules.excluded.match(recipient) else None


def _as_looked_up(local: str) -> str | None:
    """Give a local part as Postfix asks its tables for it, quoted only where it must be; None: it is none.

    A table with `"joe.smith"@` would never be asked for that: RFC 5321 has it mean the same as joe.smith@.
    """
    if _NEVER.search(local):
        return None
    if _DOT_ATOM.fullmatch(local):
        return local
    quoted = _QUOTED.fullmatch(local)
    if not quoted:
        return None
    meant = re.sub(r"\\(.)", r"\1", quoted[1])
    return meant if _DOT_ATOM.fullmatch(meant) else '"' + re.sub(r'(["\\])', r"\\\1", meant) + '"'
