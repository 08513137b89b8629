"""Open all of a customer's domains by a marker of root's on each relay, until a person ends it.

The record in the inventory is written first, so that provision brings the marker to a relay that was down; at the end
it is removed first, so that no provision brings the marker back.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import inventory
from common import exit_codes
from common.opened import Opened
from common.paths import REBUILD
from console import terminal
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet import relay_cli, store_access
from fleet.relay_answers import Answer, RelayAnswer, print_answers
from fleet.relay_cli import CustomerRelays
from fleet.relays import connect, run_parallel
from fleet.relays_left_behind import print_left_behind
from inventory import opened_records
from inventory.model import Customer, Relay
from roles import relay as relay_role

_VERB = "open"
_STAYS = "its marker stays until an upload relay has made the store forget which lists were accepted"


class OpenOptions(NamedTuple):
    """The options of `inv open`."""

    end: bool = False
    dry_run: bool = False
    as_json: bool = False


def open_customer(customer: str, options: OpenOptions) -> int:
    """Open a customer's domains on every relay, or end that. Raises InventoryError, Refused."""
    scope = CustomerRelays.of(customer)
    opened = scope.customer.opened or Opened(scope.customer.id, int(time.time()), relay_cli.operator_name())
    scope = scope._replace(customer=scope.customer.model_copy(update={"opened": opened}))
    if not options.dry_run:
        _record(opened, options)
    step = _end if options.end else _open

    def run_on(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            return step(host, scope.customer, options.dry_run)

    doing = "ending on" if options.end else "opening on"
    answers = run_parallel(scope.upload_relays().relays, run_on, doing)
    # Followers come last: at the end no marker goes from one before it has heard that no list counts as accepted.
    followers = [relay for relay in scope.relays if relay.name in scope.customer.followers]
    if options.end and not any(_has_ended(said) for said in answers.values()):
        answers = {**answers, **{relay.name: HostError(_STAYS) for relay in followers}}
    else:
        answers = {**answers, **run_parallel(followers, run_on, doing)}
    code = print_answers(answers, options.as_json)
    if not options.dry_run:
        print_left_behind(answers, _later(customer, options.end))
    if options.end and code == exit_codes.DONE and not options.dry_run and not options.as_json:
        terminal.note(f"no domain closes by that: `inv review {customer}` shows the list that does, once one has come")
    return code


def _has_ended(said: Answer) -> bool:
    """Return whether an upload relay has forgotten, in the store too, which lists were accepted, or would."""
    return isinstance(said, RelayAnswer) and said.code in (exit_codes.DONE, exit_codes.PENDING)


def _later(customer: str, ends: bool) -> str:
    """Return which command opens a relay that was down, or ends that there."""
    if ends:
        return f"relays that were opened accept every address until `inv open {customer} --end` ends it there too"
    return f"once it is back, `inv open {customer}`, or `inv provision {customer}`, opens there too"


def _record(opened: Opened, options: OpenOptions) -> None:
    where = inventory.inventory_path()
    if not options.end:
        opened_records.record(where, opened)
    elif not opened_records.forget(where, opened.customer):
        return
    if not options.as_json:
        terminal.note(f"commit {where / 'opened'}: other checkouts learn it from there")


def _open(host: RelayHost, customer: Customer, dry_run: bool) -> RelayAnswer:
    """Write the marker on a relay and forget which lists were accepted. Raises HostError."""
    relay_cli.require_verb(host, customer.id, _VERB)
    plan = Plan.of(host, [relay_role.open_marker(customer)])
    if dry_run:
        would = "would be opened" if plan.changes else "is open already"
        code = exit_codes.PENDING if plan.changes else exit_codes.DONE
        return _answer(customer, f"{would}: {', '.join(customer.domains)}", code)
    plan.apply()
    _build(host)
    if host.name in customer.followers:  # which judges nothing; what the upload relays write reaches it by the store
        return _answer(customer, f"opened: {', '.join(customer.domains)}")
    return _forget_accepted(host, customer)


def _end(host: RelayHost, customer: Customer, dry_run: bool) -> RelayAnswer:
    """Remove the marker, after forgetting which lists were accepted, so that no domain closes by it.

    Raises HostError.
    """
    plan, domains = Plan.of(host, [relay_role.no_marker(customer.id)]), ", ".join(customer.domains)
    if not plan.changes:
        return _answer(customer, "was not opened by `inv open` there; nothing to end")
    if dry_run:
        return _answer(customer, "the marker would be removed, and no domain would close by that", exit_codes.PENDING)
    relay_cli.require_verb(host, customer.id, _VERB)
    answer = _forget_accepted(host, customer)
    if answer.code:
        return answer
    plan.apply()
    _build(host)
    line = f"{customer.id}: not opened by a person any more; open until a list is accepted: {domains}"
    return answer._replace(record={**answer.record, "line": line, "lines": [line]})


def _forget_accepted(host: RelayHost, customer: Customer) -> RelayAnswer:
    """Forget which lists were accepted on a relay; a follower takes that from the store. Raises HostError."""
    if host.name not in customer.followers:
        return relay_cli.ask(host, customer, _VERB)
    if why := store_access.follow(host, customer.id):
        raise HostError(f"its marker stays until it has followed the store: {why}")
    return _answer(customer, f"no list of {', '.join(customer.domains)} counts as accepted any more")


def _build(host: RelayHost) -> None:
    """Build the tables as root, whatever state the account's files are in. Raises HostError."""
    done = host.run(REBUILD)
    if done.code:
        raise HostError(f"the tables are not built yet; the timer tries it again: {done.err.strip()[-500:]}")


def _answer(customer: Customer, text: str, code: int = exit_codes.DONE) -> RelayAnswer:
    return RelayAnswer(code, {"customer": customer.id, "code": code, "line": f"{customer.id}: {text}"})
