"""Whom a rollback would add and remove on each relay, also where a relay's release cannot say so itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from common import exit_codes
from console.errors import Refused
from deploy.plan import HostError
from deploy.relay_host import RelayHost
from fleet import relay_cli
from fleet.relay_answers import RelayAnswer
from fleet.relay_cli import CustomerRelays
from fleet.relays import connect, run_parallel
from inventory.model import Customer, Relay


class Preview(NamedTuple):
    """Whom a rollback would add and remove on one relay."""

    coming: frozenset[str]
    going: frozenset[str]
    is_asked: bool  # its release wants the number of those who go; the first one removes without a word


def preview_rollbacks(
    scope: CustomerRelays, name: str, histories: Mapping[str, Iterable[Mapping[str, Any]]]
) -> Mapping[str, Preview | HostError | Refused]:
    """Return whom a rollback to the list of this hash would add and remove. `histories`: the kept lists, by relay."""

    def preview(relay: Relay) -> Preview:
        with connect(relay) as host:
            if relay_cli.knows_option(host, "rollback", "--removing"):
                said = relay_cli.ask(host, scope.customer, "rollback", "--list", name, "--dry-run")
                _check(said)
                return Preview(frozenset(said.record["coming"]), frozenset(said.record["going"]), is_asked=True)
            back = next(int(each["back"]) for each in histories[relay.name] if each["list"] == name)
            return _by_history(host, scope.customer, back)

    return run_parallel(scope.relays, preview, "asking")


def _by_history(host: RelayHost, customer: Customer, back: int) -> Preview:
    """Return whom the rollback would add and remove, computed from the differences between the lists since."""
    coming: set[str] = set()
    going: set[str] = set()
    for number in range(back):
        said = relay_cli.ask(host, customer, "history", "--diff", str(number))
        _check(said)
        came, went = set(said.record["came"]), set(said.record["went"])
        coming, going = (coming | (went - going)) - came, (going | (came - coming)) - went
    return Preview(frozenset(coming), frozenset(going), is_asked=False)


def _check(said: RelayAnswer) -> None:
    if said.code != exit_codes.DONE:
        raise Refused(said.text)
