"""Which refusals look wrong, and what a person is told of them. Pure: data in, questions and alarms out.

There are two steps. find_suspects() returns the addresses that must be asked about; find_refusal_alarms() returns what
the answers mean. A refusal may be right: bounces and call-outs (from=<>), and a client that tries many names, raise no
alarm by themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from common.next_hop_probe import RANDOM, Answers, Reply
from receiver.addresses import domain_of, without_tag
from receiver.formatting import escape, name_some
from receiver.monitoring.postfix_message import DEFERRED, UNLISTED
from receiver.monitoring.refusals import Refusals, RefusedAddress

DAILY = "refused-today"  # the kind of the line of the day
MOST = 20  # addresses of each kind that are asked about in one run
_NAMED = 5  # addresses that a line names
_MANY = 10  # invented names that one network tries, after which it counts as guessing
_ENTRIES = 3  # removals that a line names
_OFTEN = 3  # days, and networks, after which an address that was never listed is named
_STRANGE = re.compile(r'.*[%!"@].*@')  # local parts to which Postfix denies relaying, whoever asks
_REJECTED = "Recipient address rejected"


class RecentRemoval(NamedTuple):
    """An address that was removed from the list lately."""

    entry: str  # of `inv history`: the upload that removed it
    by_person: bool  # a person accepted that removal by its number
    since: str = ""  # the day before: log lines may be of another time zone


class ListSnapshot(NamedTuple):
    """A customer's list at one moment: in force, held, and recent removals."""

    customer: str
    listed: Collection[str]  # in force
    held: Collection[str] = frozenset()  # on the list that waits
    gone: Mapping[str, RecentRemoval] = {}  # removed in the last 14 days and not listed since
    shrink_floor: int = 2
    may_be_asked: bool = True  # False: its mail goes by MX records, so no server can be asked


class Suspects(NamedTuple):
    """Addresses that are to be asked about."""

    removed: tuple[str, ...] = ()  # (a) an upload removed them; those asked today are among them
    broken: tuple[str, ...] = ()  # (b) a table could not be read, or their domain was not taken
    unlisted: tuple[str, ...] = ()  # (c) they wait on a held list, or had mail and were never listed
    overruled: tuple[str, ...] = ()  # (d) they are listed, and another rule refused them
    asked: frozenset[str] = frozenset()  # today, so that they are not asked about again
    guessed: frozenset[str] = frozenset()  # of the removed, those that only dictionaries of names tried

    @property
    def for_tables(self) -> list[str]:
        """Return those that are looked up in the built tables."""
        return list(dict.fromkeys((*self.removed, *self.unlisted)))

    @property
    def for_next_hop(self) -> list[str]:
        """Return those about which the customer's server is asked."""
        removed = [name for name in self.removed if name not in self.asked]
        return list(dict.fromkeys((*removed[:MOST], *self.unlisted)))

    @property
    def for_relay(self) -> list[str]:
        """Return those about which this relay is asked."""
        return list(dict.fromkeys((*self.broken, *self.overruled)))


class SuspectAnswers(NamedTuple):
    """What the tables, the relay and the next hop answer about suspects."""

    next_hop: Mapping[str, Answers] = {}  # by domain
    relay: Mapping[str, Reply] = {}  # what this relay's own smtpd says
    missing: Collection[str] = frozenset()  # in the tables that Postfix reads


class RefusalAlarm(NamedTuple):
    """One line for a person, about some addresses."""

    text: str
    addresses: tuple[str, ...]
    is_daily: bool = False  # one line a day, and nothing that is urgent

    @property
    def kind(self) -> str:
        """Return what identifies it: the same addresses are named once, and the line of the day comes once a day."""
        return DAILY if self.is_daily else f"refusal {sha256(repr(sorted(self.addresses)).encode()).hexdigest()[:12]}"


def find_suspects(refusals: Refusals, known: ListSnapshot, today: str) -> Suspects:
    """Return the addresses that look wrong: none that was told before, none asked twice on a day.

    While a table cannot be read that is told every day: it has few addresses, and they are the same ones the next time.
    """
    asked = frozenset(name for name, day in refusals.asked.items() if day == today)
    new = {name: each for name, each in _refused_with_sender(refusals) if _is_new(name, refusals, known)}
    failed = {name: each for name, each in refusals.faults.items() if name not in asked}
    faults = {name: each for name, each in failed.items() if _is_new(name, refusals, known)}
    removed = tuple(name for name, each in new.items() if _is_removed(name, each, known))
    unlisted = [name for name, each in new.items() if name not in asked and _is_missed(name, each, refusals, known)]
    broken = [name for name, fault in failed.items() if fault.is_broken and not _STRANGE.match(name)]
    broken = [name for name in broken if refusals.named.get(name) != today and not _is_made_up(name, refusals, known)]
    overruled = [name for name, fault in faults.items() if not fault.is_broken and name in known.listed]
    unlisted, broken, overruled = unlisted[:MOST], broken[:MOST], overruled[:MOST]
    guessed = _guessed_names(removed, refusals, known)
    return Suspects(removed, tuple(broken), tuple(unlisted), tuple(overruled), asked, guessed)


def find_refusal_alarms(known: ListSnapshot, asked: Suspects, answered: SuspectAnswers) -> list[RefusalAlarm]:
    """Return the alarms that the answers confirm."""
    return [
        *_alarm_removed(known, asked, answered),
        *_alarm_broken(known, asked, answered),
        *_alarm_unlisted(known, asked, answered),
        *_alarm_overruled(known, asked, answered),
    ]


def find_mended(asked: Suspects, answered: SuspectAnswers) -> list[str]:
    """Return those whose table can be read by now: whatever is wrong with them later is something new."""
    replies = ((name, answered.relay.get(name)) for name in asked.broken)
    return [name for name, reply in replies if reply and not _is_broken(reply)]


def daily_line(refusals: Refusals, known: ListSnapshot) -> RefusalAlarm | None:
    """Return the line of the day: addresses worth a look, each named once. None: there are none."""
    unnamed = ((name, each) for name, each in refusals.refused.items() if _is_new(name, refusals, known))
    new = [(name, each) for name, each in unnamed if name not in refusals.noticed]
    often = [name for name, each in new if _is_asked_for(each) and name not in known.listed and name not in known.gone]
    tagged = [name for name, _ in new if without_tag(name) in known.listed and name not in known.listed]
    leavers = [name for name, _ in new if name in known.gone and known.gone[name].by_person]
    often = [name for name in often if name not in tagged]
    parts = [
        _names_with_word(often, f"never listed, refused on {_OFTEN} days to {_OFTEN} networks"),
        _names_with_word(tagged, "refused with a tag, while the address without it is listed: see plus_addresses"),
        _names_with_word(leavers, "removed by a person, and still written to"),
    ]
    text = "; ".join(part for part in parts if part)
    named = tuple(dict.fromkeys((*often, *tagged, *leavers)))
    return RefusalAlarm(f"{text}; `inv refusals {known.customer}` shows them", named, is_daily=True) if text else None


def _refused_with_sender(refusals: Refusals) -> Iterator[tuple[str, RefusedAddress]]:
    """Yield who was refused because no list has them, by somebody who had a sender."""
    for name, each in refusals.refused.items():
        is_ours = each.kinds.get(UNLISTED) or each.kinds.get(DEFERRED)
        if is_ours and any(seen.has_sender for seen in each.seen):
            yield name, each


def _guessed_names(removed: Iterable[str], refusals: Refusals, known: ListSnapshot) -> frozenset[str]:
    """Return who was refused only to networks that try many names which nobody ever had.

    A large provider that writes to many whom an upload removed tries many names too, and none of them is invented.
    """
    strangers = refusals.of_strangers.items()  # our own questions make no network one that guesses
    invented = (each for name, each in strangers if not _is_real(name, each, refusals, known))
    tried = Counter(network for each in invented for network in each.networks)
    seen = {name: refusals.refused[name].seen for name in removed}
    return frozenset(
        name for name, some in seen.items() if all(tried[each.network] > _MANY for each in some if each.has_sender)
    )


def _is_real(name: str, refused: RefusedAddress, refusals: Refusals, known: ListSnapshot) -> bool:
    was_known = refused.was_listed or name in refusals.had_mail
    return was_known or name in known.gone or name in known.held or name in known.listed


def _is_new(name: str, refusals: Refusals, known: ListSnapshot) -> bool:
    """Return whether nobody was told of an address, and Postern has not made it up itself."""
    return name not in refusals.named and not _is_made_up(name, refusals, known)


def _is_made_up(name: str, refusals: Refusals, known: ListSnapshot) -> bool:
    """Return whether Postern has made an address up, which nobody ever had."""
    is_real = _is_real(name, refusals.refused.get(name, RefusedAddress({}, ())), refusals, known)
    return bool(RANDOM.fullmatch(name)) and not is_real


def _is_removed(name: str, refused: RefusedAddress, known: ListSnapshot) -> bool:
    """Return whether an upload removed an address, no person accepted that, and it was refused since."""
    gone = known.gone.get(name)
    return gone is not None and not gone.by_person and refused.days[-1] >= gone.since


def _is_missed(name: str, refused: RefusedAddress, refusals: Refusals, known: ListSnapshot) -> bool:
    """Return whether an unlisted address may be missing from the list."""
    if name in known.listed or name in known.gone:
        return False
    return name in known.held or (name in refusals.had_mail and not refused.was_listed)


def _alarm_removed(known: ListSnapshot, asked: Suspects, answered: SuspectAnswers) -> Iterator[RefusalAlarm]:
    """Yield a line: whom the server takes; and one where its answer proves nothing: more than a few of one upload."""
    names = [name for name in asked.removed if name in answered.missing]
    taken = _taken_by_next_hop(names, answered)
    yield from _alarm_entries(known, taken, 0, "though the server takes them")
    likely = [name for name in names if name not in asked.guessed]
    open_to_all = [name for name in likely if _answers_for(name, answered).takes_everybody]
    yield from _alarm_entries(known, open_to_all, known.shrink_floor, "though the server takes everybody")
    unknown = [name for name in likely if not known.may_be_asked or _answers_for(name, answered).is_refused]
    how = "though it cannot be asked whether the server takes them"
    yield from _alarm_entries(known, unknown, known.shrink_floor, how)


def _alarm_entries(known: ListSnapshot, names: Iterable[str], fewest: int, how: str) -> Iterator[RefusalAlarm]:
    """Yield one line about the uploads that removed more than `fewest` of some names."""
    by_entry: dict[str, list[str]] = {}
    for name in names:
        by_entry.setdefault(known.gone[name].entry, []).append(name)
    many = {entry: some for entry, some in by_entry.items() if len(some) > fewest}
    entries = sorted(many, key=lambda entry: -len(many[entry]))[:_ENTRIES]
    if entries:
        told = tuple(name for entry in entries for name in many[entry])
        cure = ", ".join(f"`inv rollback {known.customer} --entry {entry}`" for entry in entries)
        yield RefusalAlarm(f"removed by an upload and now refused, {how}: {_names(told)}; {cure}", told)


def _alarm_broken(known: ListSnapshot, asked: Suspects, answered: SuspectAnswers) -> Iterator[RefusalAlarm]:
    found = {name: reply for name in asked.broken if (reply := answered.relay.get(name)) and _is_broken(reply)}
    if found:
        text = f"mail cannot be taken: this relay answers {_names(found)} with {_reply(next(iter(found.values())))}"
        cure = f"a table that Postfix names in its log cannot be read, or `inv provision {known.customer}` mends it"
        yield RefusalAlarm(f"{text}; {cure}", tuple(found))


def _alarm_unlisted(known: ListSnapshot, asked: Suspects, answered: SuspectAnswers) -> Iterator[RefusalAlarm]:
    taken = _taken_by_next_hop([name for name in asked.unlisted if name in answered.missing], answered)
    held = [name for name in taken if name in known.held]
    had_mail = [name for name in taken if name not in known.held]
    if held:
        text = f"refused while the list they are on is held, and the server takes them: {_names(held)}"
        yield RefusalAlarm(f"{text}; `inv review {known.customer}`", tuple(held))
    if had_mail:
        text = f"had mail, are on no list and are refused, and the server takes them: {_names(had_mail)}"
        cure = f"`include` in customers/{known.customer}.toml and `inv provision {known.customer}`"
        yield RefusalAlarm(f"{text}; {cure}", tuple(had_mail))


def _alarm_overruled(known: ListSnapshot, asked: Suspects, answered: SuspectAnswers) -> Iterator[RefusalAlarm]:
    replies = {name: answered.relay[name] for name in asked.overruled if name in answered.relay}
    found = {name: reply for name, reply in replies.items() if reply.is_refused and _REJECTED in reply.text}
    if found:
        text = f"listed, and refused by another rule of this relay: {_names(found)}"
        yield RefusalAlarm(
            f"{text}: {_reply(next(iter(found.values())))}; `inv verify {known.customer}` asks again", tuple(found)
        )


def _taken_by_next_hop(names: Iterable[str], answered: SuspectAnswers) -> list[str]:
    """Return those that the next hop takes, while it refuses a name of their domain that nobody has."""
    return [name for name in names if _is_taken(name, _answers_for(name, answered))]


def _is_taken(name: str, answers: Answers) -> bool:
    is_proof = answers.random is not None and answers.random.is_refused
    return is_proof and name in answers.replies and answers.replies[name].is_taken


def _answers_for(name: str, answered: SuspectAnswers) -> Answers:
    return answered.next_hop.get(domain_of(name), Answers())


def _is_broken(reply: Reply) -> bool:
    words = ("Temporary lookup failure", "Server configuration error", "Relay access denied")
    return any(word in reply.text for word in words)


def _is_asked_for(refused: RefusedAddress) -> bool:
    with_sender = [seen for seen in refused.seen if seen.has_sender]
    days, networks = {seen.day for seen in with_sender}, {seen.network for seen in with_sender}
    return not refused.was_listed and len(days) >= _OFTEN and len(networks) >= _OFTEN


def _names_with_word(names: Collection[str], what: str) -> str:
    return f"{what}: {_names(names)}" if names else ""


def _names(names: Collection[str]) -> str:
    return name_some(names, _NAMED, 330)


def _reply(reply: Reply) -> str:
    return f"`{reply.code} {escape(reply.text, 300)}`"
