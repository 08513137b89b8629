"""Run `postern` on each of a customer's relays at once."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, NamedTuple

from common.paths import POSTERN
from console.errors import Refused
from deploy.plan import HostError, Machine
from deploy.relay_host import RelayHost
from fleet.relay_answers import SHAPELESS, Answer, Answers, RelayAnswer, check_shape
from fleet.relays import connect, load_for, relays_of, run_parallel, select_customers, select_named, split_names
from inventory import Inventory
from inventory.model import Customer, Relay

_CHANGES = ("offer", "adopt", "accept", "rollback", "resume", "open", "take-over", "merge-list")
"""Verbs that a relay records with the person who asked."""
_SIDE_BY_SIDE = ("find",)  # reads no mail log: of those that do, the second would see less than the first
_AT_ONCE = 4  # commands on one connection; sshd takes ten (MaxSessions)
MOST = 64 << 20  # bytes of an answer, or twice the largest export of the customer: a review names everybody


class CustomerRelays(NamedTuple):
    """A customer and the relays to ask about it."""

    customer: Customer
    relays: tuple[Relay, ...]

    @classmethod
    def of(cls, customer: str, relay: str = "") -> CustomerRelays:
        """Return a customer with its relays, or with those that are named. Raises InventoryError, Refused."""
        if len(split_names(customer)) > 1:
            raise Refused(f"'{customer}': one customer at a time here")
        everything = load_for(customer)
        (one,) = select_named(everything, customer)
        return cls(one, relays_of(everything, [one], relay))

    def upload_relays(self) -> CustomerRelays:
        """Return the scope with the customer's upload relays alone."""
        return self.restrict(self.customer.upload_relays)

    def restrict(self, names: Iterable[str]) -> CustomerRelays:
        """Return the scope with the relays of these names alone."""
        wanted = {*names}
        return self._replace(relays=tuple(relay for relay in self.relays if relay.name in wanted))


def ask_relays(
    scope: CustomerRelays, doing: str, verb: str, *words: str, stdin: bytes = b"", needs: str = ""
) -> Answers:
    """Run `postern` on each of the relays. `needs`: an option; a relay whose release lacks it is not asked."""

    def ask_one(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            if needs and not knows_option(host, verb, needs):
                raise Refused(_too_old(f"cannot {verb} yet by all that `inv` says", scope.customer.id))
            return ask(host, scope.customer, verb, *words, stdin=stdin)

    return run_parallel(scope.relays, ask_one, doing)


def ask_for_all(
    everything: Inventory, verb: str, *words: str, customer: str = "", relay: str = ""
) -> Mapping[str, Answers]:
    """Return what each relay answers about all customers on it, or those named, by customer.

    Each relay is asked over one connection. Raises InventoryError, Refused.
    """
    customers = select_customers(everything, customer, every=not customer)
    return ask_customers(customers_of(everything, customers, relay), verb, *words)


def ask_customers(
    scopes: Sequence[CustomerRelays], verb: str, *words: str, stdin: Mapping[str, bytes] = MappingProxyType({})
) -> Mapping[str, Answers]:
    """Return what each relay answers about several customers, by customer; each relay is asked over one connection.

    `stdin`: what is sent along, by customer.
    """
    relays = {relay.name: relay for scope in scopes for relay in scope.relays}

    def ask_one(relay: Relay) -> Answers:
        theirs = [scope.customer for scope in scopes if relay in scope.relays]
        with connect(relay) as host:

            def ask_about(customer: Customer) -> Answer:
                return _ask_or_error(host, customer, verb, *words, stdin=stdin.get(customer.id, b""))

            return _ask_about_each(theirs, ask_about, _AT_ONCE if verb in _SIDE_BY_SIDE else 1)

    found = run_parallel(list(relays.values()), ask_one, "asking")
    return {scope.customer.id: _answers_about(scope, found) for scope in scopes}


def _ask_about_each(customers: Sequence[Customer], ask_about: Callable[[Customer], Answer], at_once: int) -> Answers:
    """Return the answer about each customer.

    The first question connects to the relay, then `at_once` run side by side.
    """
    answers = [ask_about(each) for each in customers[:1]]
    with ThreadPoolExecutor(at_once) as pool:
        answers += pool.map(ask_about, customers[1:])
    return {each.id: answer for each, answer in zip(customers, answers, strict=True)}


def _answers_about(scope: CustomerRelays, found: Mapping[str, Answers | HostError | Refused]) -> Answers:
    by_relay = {relay.name: found[relay.name] for relay in scope.relays}
    return {name: said if isinstance(said, Exception) else said[scope.customer.id] for name, said in by_relay.items()}


def customers_of(everything: Inventory, customers: Iterable[Customer], relay: str = "") -> list[CustomerRelays]:
    """Return each customer with its relays, or with those that are named. Raises InventoryError."""
    every = list(customers)
    chosen = relays_of(everything, every, relay)
    return [CustomerRelays(one, tuple(each for each in chosen if each.name in one.relays)) for one in every]


def _ask_or_error(host: RelayHost, customer: Customer, verb: str, *words: str, stdin: bytes) -> Answer:
    try:
        return ask(host, customer, verb, *words, stdin=stdin)
    except HostError as error:  # of this customer; the others on the relay are asked all the same
        return error


def require_verb(host: RelayHost, customer: str, verb: str) -> None:
    """Raise HostError where the relay's release does not know a verb, or nothing of ours is there."""
    done = host.run(POSTERN, verb, "--help")
    if done.code:
        raise HostError(_no_answer(done.code, done.err, customer))


def ask(host: RelayHost, customer: Customer, verb: str, *words: str, stdin: bytes = b"") -> RelayAnswer:
    """Run `postern` on a relay for a customer; return its answer. Raises HostError where it gives none."""
    named = person_options(host, verb)
    most = max(MOST, customer.guard.max_megabytes << 21)
    done = host.run(POSTERN, verb, customer.id, *words, *named, "--json", stdin=stdin, most=most)
    try:
        return RelayAnswer(done.code, check_shape(json.loads(done.out)))
    except (ValueError, RecursionError):
        raise HostError(_no_answer(done.code, done.err, customer.id)) from None


def ask_figures(host: RelayHost) -> Mapping[str, Any]:
    """Return what a relay's `postern report` says of every customer on it, of whatever shape. Raises HostError."""
    done = host.run(POSTERN, "report", "--json", most=MOST)
    try:
        figures = json.loads(done.out)["customers"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise HostError(_no_answer(done.code, done.err, "--all")) from None
    if not isinstance(figures, dict):
        raise HostError(SHAPELESS)
    return figures


def person_options(host: Machine, verb: str) -> tuple[str, ...]:
    """Return the option that names the operator, where the verb changes something and the release has that option."""
    if verb not in _CHANGES or not knows_option(host, verb, "--operator"):
        return ()
    return (f"--operator={operator_name()}",)


def knows_option(host: Machine, verb: str, option: str) -> bool:
    """Return whether a relay's release knows an option of a verb."""
    return option in host.run(POSTERN, verb, "--help").out


def operator_name() -> str:
    """Return who is at work here, for a relay's history: $POSTERN_OPERATOR, or user@host."""
    if name := os.environ.get("POSTERN_OPERATOR"):
        return name
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # nobody of that number is in /etc/passwd
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _no_answer(code: int, err: str, customer: str) -> str:
    if "invalid choice" in err:
        return _too_old("does not know that yet", customer)
    if code in (126, 127):
        return f"Postern is not set up there; `inv provision {customer}` does it"
    return f"`postern` there gave no answer and ended with {code}: {err.strip()[-500:]}"


def _too_old(what: str, customer: str) -> str:
    return f"its release of Postern {what}; `inv provision {customer}` brings it up to date"
