"""Show the store beside the relays, every customer's head in both; or merge, forget or initialise as a person says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.grouping import name_some
from console.options import is_number
from deploy.plan import HostError
from deploy.relay_host import RelayHost
from fleet import store_access
from fleet.relay_cli import operator_name
from fleet.relays import connect, load_for, run_parallel
from inventory import Inventory, find, find_relay
from inventory.model import Relay
from receiver.formatting import NAMED, count

COLUMNS = ("customer", "where", "state", "list", "recipients", "held", "frozen", "settings")

Found = Mapping[str, Mapping[str, Any] | HostError | Refused]


class StoreOptions(NamedTuple):
    """The options of `inv store`; without any it shows the store."""

    merge: str = ""  # a relay whose lists an upload relay takes among its own
    forget: str = ""  # a relay that gives up what the store does not know
    removing: str = ""  # how many go by that
    init: bool = False  # write the recorded id into an empty database
    as_json: bool = False


def store(customer: str, options: StoreOptions) -> int:
    """Show the store beside the relays, or do what the options say. Raises InventoryError, Refused."""
    everything = load_for(customer)
    inventory.require_provider(everything)
    if everything.store is None:
        raise Refused("provider.toml has no [store]: each relay has its lists by itself")
    if sum(map(bool, (options.merge, options.forget, options.init))) > 1:
        raise Refused("--merge, --forget and --init are three things: name one")
    names = [find(everything, customer).id] if customer else list(everything.customers)
    if options.init:
        return _init(everything)
    if options.merge:
        return _merge(everything, names, options.merge)
    if options.forget:
        return _forget(everything, names, options)
    return _show(everything, names, options.as_json)


# ---- show


def _show(everything: Inventory, names: list[str], as_json: bool) -> int:
    relays = [relay for relay in everything.relays.values() if relay.host_keys]
    found = run_parallel(relays, _status, "asking")
    given = {name: said for name, said in found.items() if isinstance(said, Mapping)}
    codes = [terminal.print_result(name, said) for name, said in found.items() if not isinstance(said, Mapping)]
    if as_json:
        terminal.print_document(given)
    else:
        terminal.print_table(COLUMNS, [row for name in names for row in _rows(name, given)])
    for text in dict.fromkeys(str(said["why"]) for said in given.values() if not said.get("reached") and "why" in said):
        away = [name for name, said in given.items() if not said.get("reached") and str(said.get("why")) == text]
        terminal.error(f"{', '.join(away)}: the store is not reached: {text}")
        codes.append(exit_codes.PERSON)
    return exit_codes.worst([*codes, *(exit_codes.PERSON for name in names if _differ(name, given)), everything.code])


def _status(relay: Relay) -> Mapping[str, Any]:
    with connect(relay) as host:
        return store_access.call_store(host, "status")


def _rows(customer: str, given: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield a row for the store's head of a customer, and one for each head of each relay."""
    heads = [said["customers"].get(customer, {}).get("store") for said in given.values() if said.get("reached")]
    yield _row(customer, "(store)", next((head for head in heads if head), None))
    for name, said in given.items():
        for head in said["customers"].get(customer, {}).get("here", ()):
            yield _row("", name, head)


def _row(customer: str, where: str, head: Mapping[str, Any] | None) -> tuple[str, ...]:
    if head is None:
        return (customer, where, "none", "", "", "", "", "")
    held, frozen = str(head["held"])[:12], str(head["frozen"])
    named = (str(head["point"])[:12], str(head["list"])[:12], str(head["total"]))
    return (customer, where, *named, held, frozen, str(head["settings"]))


def _differ(customer: str, given: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a relay that reaches the store has something else of a customer than the store."""
    both = (said["customers"][customer] for said in given.values() if customer in said["customers"])
    return any(each["store"] and [head["point"] for head in each["here"]] != [each["store"]["point"]] for each in both)


# ---- do


def _init(everything: Inventory) -> int:
    relay = _upload_relay(everything, everything.relays)
    with connect(relay) as host:
        terminal.say(f"{relay.name}: the store has the id {store_access.call_store(host, 'init')['id']}")
    return exit_codes.DONE


def _merge(everything: Inventory, names: list[str], name: str) -> int:
    """Merge a relay's lists of these customers, each into that of an upload relay of its own; return an exit code."""
    codes: list[int] = []
    hosts: dict[str, RelayHost] = {}
    with ExitStack() as connections:
        there = connections.enter_context(connect(find_relay(everything, name)))

        def merge_one(customer: str) -> str:
            target = _upload_relay(everything, everything.customers[customer].upload_relays, but=name)
            if target.name not in hosts:
                hosts[target.name] = connections.enter_context(connect(target))
            heads = json.dumps(store_access.call_store(there, "heads", customer)).encode()
            who = f"--operator={operator_name()}"
            done = store_access.call_store(hosts[target.name], "merge", customer, who, stdin=heads)
            return f"{count(done['total'], 'recipient')} in force, as {str(done['point'])[:12]}"

        for customer in _served(everything, names, name):
            result: str | HostError | Refused
            try:
                result = merge_one(customer)
            except (HostError, Refused) as error:  # of this customer; the others are merged all the same
                result = error
            codes.append(terminal.print_result(customer, result))
    return exit_codes.worst(codes)


def _forget(everything: Inventory, names: list[str], options: StoreOptions) -> int:
    """Make a relay forget what the store does not know; without the right number it shows who would be removed."""
    if options.removing and not is_number(options.removing):
        raise Refused(f"--removing {options.removing}: a number is wanted, how many are removed")
    if options.removing and len(names) > 1:
        raise Refused("--removing goes with one customer: name it")
    number = [f"--removing={options.removing}"] if options.removing else []
    codes = []
    with connect(find_relay(everything, options.forget)) as host:
        for customer in _served(everything, names, options.forget):
            try:
                answer = store_access.ask_store(host, "forget", customer, *number)
            except HostError as error:
                codes.append(terminal.print_result(customer, error))
                continue
            going = list(map(str, answer.get("going", ())))
            lines = [str(answer.get("why") or f"{len(going)} gone"), *(f"- {one}" for one in going[:NAMED])]
            terminal.print_answer([customer], "\n".join(lines))
            codes.append(int(answer["code"]))
    return exit_codes.worst(codes)


def _served(everything: Inventory, names: list[str], relay: str) -> list[str]:
    """Return those of the customers that are on a relay. Raises Refused where none is."""
    found = [name for name in names if relay in everything.customers[name].relays]
    if not found:
        raise Refused(f"{relay} is no relay of {name_some(names) or 'any customer'}")
    return found


def _upload_relay(everything: Inventory, names: Iterable[str], but: str = "") -> Relay:
    """Return the first of the relays of these names that judges. Raises Refused."""
    for relay in map(everything.relays.__getitem__, names):
        if relay.role == "upload" and relay.host_keys and relay.name != but:
            return relay
    raise Refused("no upload relay is set up" + (f" besides {but}" if but else ""))
