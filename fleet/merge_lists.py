"""Merge one relay's list into those of the other relays: they list its recipients, and open its open domains.

Recipients that it does not list stay on the others, unless --exact and their number are given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused
from deploy.plan import HostError
from fleet import copy_lists, relay_cli, store_access
from fleet.relay_answers import Answer, Answers, RelayAnswer, print_answers
from fleet.relay_cli import CustomerRelays
from fleet.relays import connect, run_parallel
from inventory.model import Relay
from inventory.validators import near
from receiver.formatting import NAMED, count

_VERB = "merge-list"


class MergeRequest(NamedTuple):
    """The relay whose list the others take, and how."""

    relay: str
    exact: bool = False
    removing: int = 0
    dry_run: bool = False


def merge_lists(scope: CustomerRelays, request: MergeRequest, as_json: bool) -> int:
    """Merge one relay's list into those of the customer's other relays; return the exit code. Raises Refused."""
    names = [relay.name for relay in scope.relays]
    if request.relay not in names:
        raise Refused(f"--from {request.relay}: no relay of {scope.customer.id}{near(request.relay, names)}")
    others = scope.restrict([name for name in names if name != request.relay])
    if not others.relays:
        raise Refused(f"{request.relay} is the only relay of {scope.customer.id}: there is none to bring its list to")
    answers = {**_bring_to_upload_relays(scope, others.upload_relays(), request)}
    followers = others.restrict(scope.customer.followers)
    if followers.relays:
        answers.update(_bring_to_followers(scope, followers, request))
    return print_answers(answers, as_json)


def _bring_to_upload_relays(scope: CustomerRelays, others: CustomerRelays, request: MergeRequest) -> Answers:
    if not others.relays:
        return {}
    given = _hand_over(scope, request.relay)
    looked = _merge(others, given, {relay.name: ["--look"] for relay in others.relays}, request)
    if request.dry_run:
        return {name: _with_code(said) for name, said in looked.items()}
    leaving = {name: _leaving_addresses(said) for name, said in looked.items() if isinstance(said, RelayAnswer)}
    _refuse_unnamed(leaving, request)
    numbers = {name: [f"--removing={len(going)}"] for name, going in leaving.items() if _may_change(looked[name])}
    return {**looked, **_merge(others.restrict(numbers), given, numbers, request)}


def _bring_to_followers(scope: CustomerRelays, followers: CustomerRelays, request: MergeRequest) -> Answers:
    """Merge a relay's lists into the followers' own, as the store would; nobody is removed."""
    customer = scope.customer.id
    if request.dry_run:
        text = f"{customer}: would take what {request.relay} has beside its own list (-0)"
        return {relay.name: _answer(text, exit_codes.PENDING) for relay in followers.relays}
    (source,) = scope.restrict([request.relay]).relays
    try:
        with connect(source) as host:
            heads = store_access.call_store(host, "heads", customer)
    except HostError as error:  # what was done on the upload relays is told all the same
        why = HostError(f"what {request.relay} has of {customer} cannot be brought there: {error}")
        return dict.fromkeys((relay.name for relay in followers.relays), why)

    def merge_on(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            said = store_access.call_store(host, "merge", customer, stdin=json.dumps(heads).encode())
        return _answer(f"{customer}: {count(said['total'], 'recipient')}, with what {request.relay} has (-0)")

    return run_parallel(followers.relays, merge_on, "bringing to")


def _answer(line: str, code: int = exit_codes.DONE) -> RelayAnswer:
    return RelayAnswer(code, {"code": code, "line": line})


def _hand_over(scope: CustomerRelays, name: str) -> bytes:
    """Return a relay's list of the customer and what goes with it, as bytes for another relay. Raises HostError."""

    def read_from(relay: Relay) -> bytes:
        with connect(relay) as host:
            return copy_lists.read_lists(scope.customer.id, host)

    given = run_parallel(scope.restrict([name]).relays, read_from, "asking")[name]
    if not isinstance(given, bytes):
        raise given
    return given


def _merge(
    scope: CustomerRelays, given: bytes, words: Mapping[str, Sequence[str]], request: MergeRequest
) -> Mapping[str, Answer]:
    exact = ["--exact"] if request.exact else []

    def merge_on(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            relay_cli.require_verb(host, scope.customer.id, _VERB)
            return relay_cli.ask(host, scope.customer, _VERB, *exact, *words[relay.name], stdin=given)

    return run_parallel(scope.relays, merge_on, "comparing with" if request.dry_run else "bringing to")


def _with_code(said: Answer) -> Answer:
    """Return the answer to a dry run with exit code PENDING where something would change."""
    if isinstance(said, RelayAnswer) and not said.code and said.record.get("changes"):
        return said._replace(code=exit_codes.PENDING)
    return said


def _leaving_addresses(said: RelayAnswer) -> frozenset[str]:
    """Return whom a merge would remove from a relay. Raises HostError for an answer of another shape."""
    names = said.record.get("leaving", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise HostError("what it answers cannot be understood: who would go is no list of addresses")
    return frozenset(names)


def _may_change(said: Answer) -> bool:
    return isinstance(said, RelayAnswer) and not said.code


def _refuse_unnamed(leaving: Mapping[str, frozenset[str]], request: MergeRequest) -> None:
    """Raise Refused where another number of recipients would be removed than --removing says, after printing them."""
    going = frozenset[str]().union(*leaving.values())
    if len(going) == request.removing:
        return
    for name, names in leaving.items():
        if names:
            terminal.print_answer(
                [name], "\n".join([f"{len(names)} would go", *(f"- {one}" for one in sorted(names)[:NAMED])])
            )
    would = f"{len(going)} would go in all, and --removing says {request.removing}; nothing is changed"
    raise Refused(f"{would}. If that is meant, say --exact --removing {len(going)}" if going else would)
