"""Runs on the relay: kind `smtp_verify`, which asks it over SMTP whether it accepts listed addresses and no others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from common.main_cf_params import REJECT, TABLES
from remote.main import Kind, Request, State, refuse_making
from remote.postfix.instance import Postfix
from remote.postfix.outsider import ask_outside
from remote.postfix.relay_domains import find_adopted_domains
from remote.postfix.restrictions import find_refusals
from remote.postfix.smtp import TAKEN
from remote.postfix.unlisted import ASK, find_words

DEFER_CODE = "access_map_defer_code"
REFUSED = "5"  # however whoever closes a domain that is being adopted says it
NO = "450 or 550"
LISTED = 5  # addresses of a domain that are asked about


class Sample:
    """A table's entries in a domain: whether everybody, how many, and a random few of them."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.everybody = False
        self.addresses: list[str] = []
        self.all = hashlib.sha256()  # what two relays compare
        self._seen = 0

    @property
    def listed(self) -> list[Any]:
        """Return how many addresses there are and their SHA-256, the same on every relay with the same list."""
        return [self._seen, self.all.hexdigest()]

    def add(self, address: str) -> None:
        """Add one entry; one without a local part stands for everybody."""
        self.all.update(f"{address}\n".encode())
        if address.startswith("@"):
            self.everybody = True
            return
        self._seen += 1
        if len(self.addresses) < LISTED:
            self.addresses.append(address)
        elif (place := int.from_bytes(os.urandom(8), "big") % self._seen) < LISTED:
            self.addresses[place] = address


def _read(asked: list[Request]) -> list[State | None]:
    return [_answers(Postfix(one.name), (one.wanted or {})["domains"]) for one in asked]


def _answers(postfix: Postfix, domains: Iterable[str]) -> State:
    """Return by domain, for some listed addresses and one that is not: address, code it should get, answer it got.

    Also what is listed in each domain and as whom it was asked; if not as an outsider, why not, and what its
    restrictions refuse outsiders.
    """
    people = read_samples(domains)
    codes = _codes(postfix, people)
    expected = {
        domain: {
            **dict.fromkeys(sample.addresses, TAKEN),
            f"q{os.urandom(12).hex()}@{domain}": codes[domain],
        }
        for domain, sample in people.items()
    }
    way, said = ask_outside(postfix, [address for addresses in expected.values() for address in addresses])
    asked = {
        domain: [[address, wanted, said[address]] for address, wanted in addresses.items()]
        for domain, addresses in expected.items()
    }
    return {
        "asked": asked,
        "listed": {domain: sample.listed for domain, sample in people.items()},
        "caller": {"is": str(way.caller), "outside": way.caller.is_outside, "why": way.why},
        "refused": {} if way.caller.is_outside else find_refusals(postfix, people),
    }


def _codes(postfix: Postfix, people: Mapping[str, Sample]) -> dict[str, str]:
    """Return by domain with what code the answer to an unlisted address begins."""
    open_to_all = [domain for domain, sample in people.items() if sample.everybody]
    codes = {**dict.fromkeys(people, _unknown(postfix)), **dict.fromkeys(open_to_all, TAKEN)}
    return {**codes, **_put_off(postfix, people), **dict.fromkeys(find_adopted_domains() & people.keys(), REFUSED)}


def _unknown(postfix: Postfix) -> str:
    """Return the code for an unknown recipient; where soft_bounce is set every refusal is a temporary one."""
    values = postfix.values(REJECT, "soft_bounce")
    return f"4{values[REJECT][1:]}" if values.get("soft_bounce") == "yes" else values[REJECT]


def _put_off(postfix: Postfix, domains: Iterable[str]) -> dict[str, str]:
    """Return the code for an unknown recipient by domain, where unlisted addresses are not refused for good.

    Where the customer's own server is asked, 5xx and that it cannot be asked now both count as a refusal.
    """
    words = find_words(postfix, domains)
    deferred = postfix.value(DEFER_CODE) if words else ""
    return {domain: NO if word == ASK else deferred for domain, word in words.items()}


def read_samples(domains: Iterable[str]) -> dict[str, Sample]:
    """Return a sample for each domain, from the text that our table was built from."""
    found = {domain: Sample() for domain in domains}
    with open(os.path.join(TABLES, "exchange_recipients"), encoding="utf-8", errors="replace") as lines:
        for line in lines:
            address = line.rsplit(None, 1)[0]
            sample = found.get(address.rpartition("@")[2])
            if sample:
                sample.add(address)
    return found


KINDS = {"smtp_verify": Kind(_read, refuse_making)}
