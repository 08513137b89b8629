"""Runs on the relay: whether a customer's own server can be asked about unlisted addresses, as Postfix would ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from common.main_cf_params import TABLES
from common.next_hop_probe import Answers, Sender, ask, server_of, verify_sender
from common.verifying_rules import find_verifying
from remote.postfix.instance import Postfix
from remote.postfix.trivial_rewrite import resolve

PEOPLE = 3  # listed addresses that are asked about
SECONDS = 20.0  # for one server


def find_unaskable(postfix: Postfix, domains: Sequence[str], hops: Mapping[str, str | None]) -> Iterator[str]:
    """Yield why unlisted addresses cannot be asked about on this relay, or in one of these domains."""
    if not any(one.command == "verify" for one in postfix.services()):
        yield "master.cf has no service verify, without which each question would hang"
    yield from find_verifying(lambda program, *words: postfix.run(program, *words).out)
    sender = verify_sender(postfix.values("myhostname", "address_verify_sender"))
    for domain in domains:
        if domain.isascii():
            yield from _unaskable(domain, hops[domain] or _route(postfix, domain), sender)


def _route(postfix: Postfix, domain: str) -> str:
    found = resolve(postfix, [f"postmaster@{domain}"])[f"postmaster@{domain}"]
    return f"{found.transport}:{found.next_hop}"


def _unaskable(domain: str, route: str, sender: Sender) -> Iterator[str]:
    where = server_of(route)
    if where is None:
        yield f"{domain} goes to {route}, of which no server can be told beforehand: name next_hop with an address"
        return
    people = _people(domain)
    found = ask(where, sender, people, domain, SECONDS)
    for why in _faults(found, people):
        yield f"{domain}: its server {where.host}:{where.port}, asked as {sender.address or '<>'}: {why}"


def _faults(found: Answers, people: Sequence[str]) -> Iterator[str]:
    if found.problem:
        yield found.problem
    elif found.random is None or not found.random.is_refused:
        said = f"{found.random.code} {found.random.text}" if found.random else "nothing"
        yield f"it says {said} of an address that nobody has, where a 5xx is needed"
    elif people and not any(reply.is_taken for reply in found.replies.values()):
        name, reply = next(iter(found.replies.items()))
        yield f"it says {reply.code} {reply.text} of {name}, who is listed"


def _people(domain: str) -> list[str]:
    """Return some addresses that our table lists in a domain, postmaster aside."""
    found: list[str] = []
    path = os.path.join(TABLES, "exchange_recipients")
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                local, _, name = line.rpartition(" ")[0].rpartition("@")
                if name == domain and local and local != "postmaster":
                    found.append(f"{local}@{name}")
                    if len(found) == PEOPLE:
                        break
    return found
