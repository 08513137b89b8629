"""One relay's list of a customer brought to its others: whom it lists is listed there, a domain open there opens.

Whom it does not list stays there, unless the lists are to be exactly the same: then the number of who goes is named.
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
from fleet.relay_cli import Answer, Answers, CustomerRelays, RelayAnswer, restrict_relays
from fleet.relays import connect, run_parallel
from inventory.model import Relay
from inventory.validators import near
from receiver.formatting import NAMED

_VERB = "merge-list"


class MergeRequest(NamedTuple):
    """Whose list is brought to the others, and how."""

    relay: str
    exact: bool = False
    removing: int = 0
    dry_run: bool = False


def merge_lists(place: CustomerRelays, request: MergeRequest, as_json: bool) -> int:
    """Bring one relay's list to the customer's others; returns the exit code. Raises Refused."""
    names = [relay.name for relay in place.relays]
    if request.relay not in names:
        raise Refused(f"--from {request.relay}: no relay of {place.customer.id}{near(request.relay, names)}")
    others = restrict_relays(place, [name for name in names if name != request.relay])
    if not others.relays:
        raise Refused(f"{request.relay} is the only relay of {place.customer.id}: there is none to bring its list to")
    answers = {**_bring_to_upload_relays(place, others.upload_relays(), request)}
    followers = restrict_relays(others, place.customer.followers)
    if followers.relays:
        answers.update(_bring_to_followers(place, followers, request))
    return relay_cli.print_answers(answers, as_json)


def _bring_to_upload_relays(place: CustomerRelays, others: CustomerRelays, request: MergeRequest) -> Answers:
    if not others.relays:
        return {}
    given = _hand_over(place, request.relay)
    looked = _merge(others, given, {relay.name: ["--look"] for relay in others.relays}, request)
    if request.dry_run:
        return {name: _with_code(said) for name, said in looked.items()}
    leaving = {name: _leaving_addresses(said) for name, said in looked.items() if isinstance(said, RelayAnswer)}
    _refuse_unnamed(leaving, request)
    numbers = {name: [f"--removing={len(going)}"] for name, going in leaving.items() if _may_change(looked[name])}
    return {**looked, **_merge(restrict_relays(others, numbers), given, numbers, request)}


def _bring_to_followers(place: CustomerRelays, followers: CustomerRelays, request: MergeRequest) -> Answers:
    """Have followers take a relay's lists beside their own, as the store would bring them. Nobody goes by it."""
    customer = place.customer.id
    if request.dry_run:
        text = f"{customer}: would take what {request.relay} has beside its own list (-0)"
        return {relay.name: _answer(text, exit_codes.PENDING) for relay in followers.relays}
    (source,) = restrict_relays(place, [request.relay]).relays
    with connect(source) as host:
        heads = store_access.call_store(host, "heads", customer)

    def one(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            said = store_access.call_store(host, "merge", customer, stdin=json.dumps(heads).encode())
        return _answer(f"{customer}: {said['total']} recipients, with what {request.relay} has (-0)")

    return run_parallel(followers.relays, one, "bringing to")


def _answer(line: str, code: int = exit_codes.DONE) -> RelayAnswer:
    return RelayAnswer(code, {"code": code, "line": line})


def _hand_over(place: CustomerRelays, name: str) -> bytes:
    """Return what a relay hands over of the customer: its list in force and what goes with it. Raises HostError."""

    def one(relay: Relay) -> bytes:
        with connect(relay) as host:
            return copy_lists.read_lists(place.customer.id, host)

    given = run_parallel(restrict_relays(place, [name]).relays, one, "asking")[name]
    if not isinstance(given, bytes):
        raise given
    return given


def _merge(
    place: CustomerRelays, given: bytes, words: Mapping[str, Sequence[str]], request: MergeRequest
) -> Mapping[str, Answer]:
    exact = ["--exact"] if request.exact else []

    def one(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            relay_cli.require_verb(host, place.customer.id, _VERB)
            return relay_cli.ask(host, place.customer.id, _VERB, *exact, *words[relay.name], stdin=given)

    return run_parallel(place.relays, one, "comparing with" if request.dry_run else "bringing to")


def _with_code(said: Answer) -> Answer:
    """Return the answer to a look with the exit code that says whether anything would change."""
    if isinstance(said, RelayAnswer) and not said.code and said.record.get("changes"):
        return said._replace(code=exit_codes.PENDING)
    return said


def _leaving_addresses(said: RelayAnswer) -> frozenset[str]:
    """Return who would go from a relay. Raises HostError: it may be anybody's work."""
    names = said.record.get("leaving", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise HostError("what it answers cannot be understood: who would go is no list of addresses")
    return frozenset(names)


def _may_change(said: Answer) -> bool:
    return isinstance(said, RelayAnswer) and not said.code


def _refuse_unnamed(leaving: Mapping[str, frozenset[str]], request: MergeRequest) -> None:
    """Raise Refused where somebody would go and their number was not named, after saying who."""
    going = frozenset[str]().union(*leaving.values())
    if len(going) == request.removing:
        return
    for name, names in leaving.items():
        if names:
            terminal.answer(
                [name], "\n".join([f"{len(names)} would go", *(f"- {one}" for one in sorted(names)[:NAMED])])
            )
    would = f"{len(going)} would go in all, and --removing says {request.removing}; nothing is changed"
    raise Refused(f"{would}. If that is meant, say --exact --removing {len(going)}" if going else would)
