"""Runs on the relay: the proof that an edit of main.cf changes no answer it should not. It only asks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from common.main_cf_params import RECIPIENTS, REJECT, RESTRICTIONS, TABLE_OF, is_others, is_ours, members
from remote.main import Failed, State
from remote.postfix.instance import Postfix
from remote.postfix.outsider import Way, ask_inside, is_counting
from remote.postfix.relay_domains import (
    find_adopted_domains,
    find_delivered_domains,
    find_foreign_domains,
    find_open_domains,
    read_our_domains,
)
from remote.postfix.smtp import TAKEN, UNKNOWN, is_temporary
from remote.postfix.trivial_rewrite import RELAY, resolve
from remote.postfix.unlisted import ASK, find_our_table, find_relayed, find_words

PUT_OFF = "45"  # how a code begins that tells a sender to try again; access_map_defer_code may be another than 450
MOST = 1000  # addresses that are asked about; of more, so many, evenly chosen


class Answer(NamedTuple):
    """How the relay takes one address."""

    reply: str  # smtpd's, to RCPT TO
    kind: str  # the class of its domain

    def __str__(self) -> str:
        """Return it in a sentence."""
        return f"answered {self.reply!r} (domain class: {self.kind})"


Answers = Mapping[str, Answer]


def ask_domains(postfix: Postfix, way: Way) -> Answers:
    """Return the answers about addresses that nobody has: in relay domains of others, in ours, below ours, in its own.

    Its own domains are those that it delivers itself: their lists may contain what we add. Raises Failed.
    """
    word = f"q{os.urandom(12).hex()}"
    others = [f"{word}{domain}" if domain.startswith(".") else domain for domain in find_foreign_domains(postfix)]
    domains = [*others, *(f"{word}.{domain}" for domain in read_our_domains()), *find_delivered_domains(postfix)]
    mine = [domain for domain in read_our_domains() if domain not in domains]
    few = [*domains[:: len(domains) // MOST + 1], *mine[:: len(mine) // MOST + 1]]
    return _ask(postfix, way, [f"{word}@{domain}" for domain in dict.fromkeys(few)])


def check_tables(postfix: Postfix, before: Answers, had_none: bool, wanted: State) -> None:
    """Raise Failed unless our tables can be read and accept whom they must, before any mail uses them.

    `had_none`: there was no recipient map, so that every address of other relay domains was accepted.
    """
    here = {*read_our_domains()}
    theirs = [address for address, one in before.items() if one.kind == RELAY and _domain(address) not in here]
    asked = find_our_table(wanted.get(RESTRICTIONS, ""))
    if asked and (answered := postfix.lookup(asked, theirs or ["postmaster"])):
        raise Failed(
            f"our tables would answer for {next(iter(answered))}, which is not ours; main.cf is left as it was"
        )
    found: set[str] = set()
    for name in TABLE_OF:
        for member in members(wanted.get(name, "")):
            if is_ours(name, member) or is_others(member):
                found.update(postfix.lookup(member, theirs or ["postmaster"]))
    lost = [address for address in theirs if address not in found]
    if lost and had_none and wanted.get(RECIPIENTS):
        raise Failed(f"our tables would have mail to {lost[0]} refused, which is not ours; main.cf is left as it was")


def find_faults(postfix: Postfix, way: Way, before: Answers) -> Iterator[str]:
    """Ask again; yield each answer that is not as it should be now."""
    here, words, adopted = {*read_our_domains()}, find_words(postfix, read_our_domains()), find_adopted_domains()
    asked = {domain for domain, word in words.items() if word == ASK}
    codes = {**dict.fromkeys(here, postfix.value(REJECT)), **dict.fromkeys(words, PUT_OFF)}
    codes.update(dict.fromkeys(find_open_domains() - asked, TAKEN))
    for address, after in _ask_again(postfix, way, [*before], here).items():
        domain, was = _domain(address), before[address]
        if domain in adopted or domain not in here:
            what = "is being adopted" if domain in adopted else "is not ours"
            if not _is_same(was, after):
                yield f"{domain} {what}, and an unlisted address in it was {was}, and is now {after}"
        elif domain in asked and after.kind == RELAY:
            continue  # its own server says, if it can be asked just now
        elif is_temporary(after.reply):
            yield f"an unlisted address in {domain} is {after}: while it is, nothing can be proved of {domain}"
        elif codes[domain] != TAKEN and _is_still_refused(was, after):
            continue
        elif not _is_right(after, code := codes[domain]):
            wanted = "taken, as all its addresses are listed" if code == TAKEN else f"refused with {code}"
            yield f"an unlisted address in {domain} must be {wanted}; it was {was}, and is now {after}"
    yield from find_relayed(way, words)


def _ask_again(postfix: Postfix, way: Way, addresses: list[str], here: set[str]) -> Answers:
    """Return the answers to the same questions.

    Where strangers are deferred, our domains are asked about again as by a client in mynetworks.
    """
    found = dict(_ask(postfix, way, addresses))
    put_off = [one for one, answer in found.items() if _domain(one) in here and is_temporary(answer.reply)]
    if put_off and way.caller.is_outside:
        found.update(_ask(postfix, ask_inside(way, ""), put_off))
    return found


def _ask(postfix: Postfix, way: Way, addresses: list[str]) -> Answers:
    """Return the answers.

    Where smtpd counts clients' requests, a stranger asks about our domains alone: others may be hundreds.
    """
    here, found = {*read_our_domains()}, resolve(postfix, addresses)
    mine = [address for address in addresses if _domain(address) in here]
    rest = ask_inside(way, "") if is_counting(postfix) else way
    replies = {**way.ask(mine), **rest.ask([address for address in addresses if _domain(address) not in here])}
    return {address: Answer(replies[address], found[address].kind) for address in addresses}


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _is_same(before: Answer, after: Answer) -> bool:
    """Return whether others notice no change. A temporary fault may be over, and `unknown` may get another code."""
    over = is_temporary(before.reply) and after.reply.startswith(TAKEN)
    unknown = UNKNOWN in before.reply and UNKNOWN in after.reply
    return before.kind == after.kind and (over or unknown or before.reply[:9] == after.reply[:9])


def _is_still_refused(before: Answer, after: Answer) -> bool:
    """Return whether another rule, such as a last `reject`, refuses all unlisted addresses as it did before."""
    return after.reply.startswith("5") and after.kind == RELAY and _is_same(before, after)


def _is_right(answer: Answer, code: str) -> bool:
    """Return whether a domain of ours answers from our tables."""
    unknown = code not in (TAKEN, PUT_OFF) and UNKNOWN in answer.reply  # with soft_bounce, in another code
    return answer.kind == RELAY and (answer.reply.startswith(code) or unknown)
