"""Runs on the relay: from which address to ask it so that it answers as it answers strangers.

Clients in mynetworks pass restrictions that stop strangers. An outsider is an address of this machine that is not in
mynetworks, or one that smtpd is told by XCLIENT or by a proxy's line, where it accepts these from us.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common.main_cf_params import members
from remote.files import read_text
from remote.main import Failed
from remote.postfix.instance import Postfix, first_words
from remote.postfix.listeners import Listener, find_listener
from remote.postfix.relay_domains import find_delivered_domains, find_foreign_domains
from remote.postfix.smtp import Caller, ask, is_about_recipient, is_temporary

STRANGERS = ("203.0.113.77", "198.51.100.77", "192.0.2.77")  # what smtpd is told; no host has them (RFC 5737)
LOOPBACK = "127.81.67.1"  # this machine's as well, and in fewer mynetworks than 127.0.0.1
RATES = [f"smtpd_client_{what}_rate_limit" for what in ("connection", "recipient", "message", "new_tls_session")]
NO_OUTSIDER = "no address of this machine is outside mynetworks"
POSTMASTER = "postmaster"  # which Postfix accepts for its name, whatever the restrictions say


class Way(NamedTuple):
    """How the relay is asked."""

    where: Listener
    caller: Caller
    why: str = ""  # why not as an outsider, where it is not

    def ask(self, addresses: Sequence[str]) -> dict[str, str]:
        """Return the answer to each of these recipients. Raises Failed."""
        return ask(self.where, self.caller, addresses)


def find_way(postfix: Postfix) -> Way:
    """Return the first way on which the relay answers, an outsider's if possible. Raises Failed if there is none."""
    where = find_listener(postfix)
    why: list[str] = []
    probes = _probes(postfix)
    for caller in find_callers(postfix, where):
        fault = _fault(where, caller, probes)
        if not fault:
            return Way(where, caller, "" if caller.is_outside else why[0] if why else NO_OUTSIDER)
        why.append(fault)
    raise Failed("\n".join(why))


def _fault(where: Listener, caller: Caller, probes: Sequence[str]) -> str:
    """Return why the answers to a caller are about the caller or temporary; empty if they are about recipients."""
    try:
        answers = ask(where, caller, probes)
    except Failed as error:
        return str(error)
    wrong = [(one, answer) for one, answer in answers.items() if not is_about_recipient(answer)]
    return f"{where} answers {caller} about {wrong[0][0]}: {wrong[0][1]}" if wrong else ""


def _probes(postfix: Postfix) -> list[str]:
    """Return addresses that the relay accepts, or refuses only because of the address itself."""
    domains = [*find_delivered_domains(postfix)[:1], *find_foreign_domains(postfix)[:1]]
    return [POSTMASTER, *(f"{POSTMASTER}@{domain.lstrip('.')}" for domain in domains)]


def ask_inside(way: Way, why: str) -> Way:
    """Return the way of a client in mynetworks instead, and why it is taken."""
    caller = way.caller
    mine = Caller(way.where.host, way.where.host, caller.by) if caller.by == "PROXY" else Caller(way.where.host)
    return Way(way.where, mine, why)


def ask_outside(postfix: Postfix, addresses: Sequence[str]) -> tuple[Way, dict[str, str]]:
    """Return the answers to an outsider; where all are temporary, as with greylisting, those to a client inside.

    Returns how it was asked as well. Raises Failed.
    """
    way = find_way(postfix)
    answers = way.ask(addresses)
    if not way.caller.is_outside or not answers or not all(map(is_temporary, answers.values())):
        return way, answers
    address, answer = next(iter(answers.items()))
    own = ask_inside(way, f"{way.where} answers {way.caller} about {address}: {answer}")
    return own, own.ask(addresses)


def is_counting(postfix: Postfix) -> bool:
    """Return whether strangers who call too often, or name too many recipients, are put off: anvil(8)."""
    return any(value not in ("", "0") for value in postfix.values(*RATES).values())


def find_callers(postfix: Postfix, where: Listener) -> Iterator[Caller]:
    """Yield the callers as whom the relay can be asked, outsiders first."""
    values = postfix.values("mynetworks", "smtpd_authorized_xclient_hosts")
    networks, trusted = values.get("mynetworks", ""), values.get("smtpd_authorized_xclient_hosts", "")
    stranger = next((one for one in STRANGERS if not has_address(postfix, networks, one)), STRANGERS[0])
    if where.proxied:
        yield Caller(where.host, stranger, "PROXY", is_outside=True)
        yield Caller(where.host, where.host, "PROXY")
        return
    if trusted and has_address(postfix, trusted, where.host):
        yield Caller(where.host, stranger, "XCLIENT", is_outside=True)
    for address in [where.host, *find_own_addresses(":" in where.host)]:
        if not has_address(postfix, networks, address):
            yield Caller(address, is_outside=True)
    if has_address(postfix, networks, where.host):
        yield Caller(where.host)


def has_address(postfix: Postfix, networks: str, address: str) -> bool:
    """Return whether a list such as mynetworks has an address: the first pattern that matches says it."""
    for pattern in members(networks):
        if _matches(postfix, pattern.lstrip("!"), address):
            return not pattern.startswith("!")
    return False


def _matches(postfix: Postfix, pattern: str, address: str) -> bool:
    if pattern.startswith("/"):
        return has_address(postfix, " ".join(first_words(pattern)), address)
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(re.sub(r"[\[\]]", "", pattern), strict=False)
    except ValueError:
        return ":" in pattern and bool(postfix.lookup(pattern, [address]))


def find_own_addresses(ipv6: bool) -> list[str]:
    """Return the addresses of this machine that a connection to itself may come from, those of its networks first."""
    if ipv6:
        rows = [line.split() for line in read_text("/proc/net/if_inet6").splitlines()]
        return [str(ipaddress.ip_address(bytes.fromhex(row[0]))) for row in rows if row[3] == "00"]
    found = re.findall(r"\|-- (\S+)\n\s*/32 host LOCAL", read_text("/proc/net/fib_trie"))
    return [*dict.fromkeys(one for one in found if not one.startswith("127.")), LOOPBACK]
