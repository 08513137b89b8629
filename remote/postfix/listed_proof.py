"""Runs on the relay: kind `listed`, the proof that our list is in force in domains that something else closed before.

Only then may our route be put before the other one, which may be what closed the domain.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from common.main_cf_params import RECIPIENTS, is_others, is_ours, members
from remote.main import Kind, ProofFailed, Request, State
from remote.postfix.instance import Postfix
from remote.postfix.outsider import ask_outside
from remote.postfix.smtp import TAKEN
from remote.postfix.smtp_verify import read_samples


def _read(asked: list[Request]) -> list[State | None]:
    return [None for _ in asked]  # it is proved anew each time


def _make(name: str, wanted: State | None) -> None:
    """Reload Postfix, so that no smtpd uses an older table, and test the answers. Raises ProofFailed."""
    postfix, domains = Postfix(name), (wanted or {}).get("domains", [])
    postfix.reload()
    found = list(_faults(postfix, domains))
    if found:
        raise ProofFailed("\n".join(found))


def _faults(postfix: Postfix, domains: Iterable[str]) -> Iterator[str]:
    """Yield what shows that our list is not in force: first in our own tables, then in the answers to strangers.

    Something else may still refuse people whom only our list has, so these are looked up in our tables alone.
    """
    tables = [one for one in members(postfix.value(RECIPIENTS)) if is_ours(RECIPIENTS, one) or is_others(one)]
    people = read_samples(domains)
    random = {domain: f"q{os.urandom(12).hex()}@{domain}" for domain in domains}
    listed = [address for sample in people.values() for address in sample.addresses]
    keys = [*listed, *random.values(), *(f"@{domain}" for domain in domains)]
    found = {key for table in tables for key in postfix.lookup(table, keys)}
    yield from (f"{address} is on our list and not in our tables" for address in listed if address not in found)
    for domain, address in random.items():
        if found & {address, f"@{domain}"}:
            yield f"our tables still accept everybody in {domain}"
        elif not people[domain].addresses:
            yield f"our tables have nobody in {domain}"
    _, replies = ask_outside(postfix, [*random.values()])
    yield from (f"{address} is answered {reply!r}" for address, reply in replies.items() if reply.startswith(TAKEN))


KINDS = {"listed": Kind(_read, _make)}
