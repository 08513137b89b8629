"""All that is known of one address: whose it is, how it is listed, what each relay does with it, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused, code_of
from deploy.plan import HostError
from fleet import explained, relay_cli
from fleet.explained import AddressState
from fleet.relay_cli import CustomerRelays
from fleet.relays import connect, run_parallel
from inventory import domains, near
from inventory.model import Customer, Relay
from receiver.formatting import escape
from roles import relay as relay_role

_LONGEST = 330  # characters of an address
_PASTED = re.compile(r"[^<>]*<([^<>]+)>")  # as a mail program shows it: Anna Doe <anna@acme.example>


class _Asked(NamedTuple):
    local: str
    domain: str  # in its A-label

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"


def explain(address: str, as_json: bool) -> int:
    """Print how an address stands and what to do. Raises Refused for what is no address, InventoryError."""
    asked = _read_address(address)
    everything = inventory.load(inventory.inventory_path(), [])
    owner = next((one for one in everything.customers.values() if asked.domain in one.domains), None)
    if owner is None and everything.unread:
        files = ", ".join(f"customers/{name}.toml" for name in sorted(everything.unread))
        raise Refused(f"{asked.domain} is not found, and may be in a file with faults: {files}; `inv check` names them")
    if owner is None:
        return _explain_foreign(asked, [name for one in everything.customers.values() for name in one.domains], as_json)
    scope = CustomerRelays.of(owner.id)
    found = run_parallel(scope.relays, lambda relay: _ask(relay, scope.customer, asked), "asking")
    states = {name: one for name, one in found.items() if isinstance(one, AddressState)}
    advice = explained.advise(scope.customer, states)
    if as_json:
        terminal.print_document(_document(asked, scope.customer, found, advice))
    else:
        _print(asked, scope.customer, states, advice)
    failed = [terminal.print_result(name, one) for name, one in found.items() if not isinstance(one, AddressState)]
    return exit_codes.worst([*failed, *(exit_codes.FAILED for one in states.values() if one.problem)])


def _read_address(address: str) -> _Asked:
    """Return the parts of an address, or of the one in angle brackets that a mail program puts behind a name."""
    pasted = _PASTED.fullmatch(address.strip())
    local, at, domain = (pasted[1] if pasted else address.strip()).rpartition("@")
    is_quoted = local.startswith('"') and local.endswith('"')
    has_brackets = {*"<>"} & {*domain, *("" if is_quoted else local)}
    if not (at and local) or has_brackets:
        raise Refused(f"{escape(address)}: a whole address is wanted, as anna@acme.example; `inv find` finds parts")
    try:
        return _Asked(local, domains.ascii_form(domain))
    except ValueError as error:
        raise Refused(f"{escape(address)}: its domain {error}") from None


def _ask(relay: Relay, customer: Customer, asked: _Asked) -> AddressState:
    """Return what a relay's Postern and its Postfix answer about an address, on one connection. Raises HostError."""
    with connect(relay) as host:
        record, problem = None, ""
        try:
            said = relay_cli.ask(host, customer, "explain", f"--address={asked.address}")
            record = said.record if said.code == exit_codes.DONE else None
            problem = "" if record else said.text
        except HostError as error:  # its Postfix can be asked all the same
            problem = str(error)
        name = str(record["address"]) if record else asked.address.lower()
        (mail,) = host.read([relay_role.address_item(relay, name)])
        state = AddressState(record, mail or {}, problem)
        return explained.describe(customer, asked.address, state, inventory.inventory_path())


def _explain_foreign(asked: _Asked, known: list[str], as_json: bool) -> int:
    text = f"{asked.domain} is no domain of any customer in this inventory{near(asked.domain, known)}"
    if as_json:
        terminal.print_document({"address": asked.address, "customer": None, "relays": {}, "do": [text]})
    else:
        terminal.say(text)
        terminal.say("Postern decides nothing about mail for it.")
    return exit_codes.DONE


def _document(
    asked: _Asked, customer: Customer, found: Mapping[str, AddressState | HostError | Refused], advice: list[str]
) -> dict[str, Any]:
    relays = {
        name: {"list": one.record, "mail": dict(one.mail), "problem": one.problem}
        if isinstance(one, AddressState)
        else {"code": code_of(one), "error": str(one)}
        for name, one in found.items()
    }
    return {"address": asked.address, "customer": customer.id, "relays": relays, "do": advice}


def _print(asked: _Asked, customer: Customer, states: Mapping[str, AddressState], advice: list[str]) -> None:
    terminal.say(f"{escape(asked.address, _LONGEST)}: customer {customer.id}, {escape(customer.name)}")
    for text in dict.fromkeys("\n".join(one.lines) for one in states.values()):
        terminal.print_answer([name for name, one in states.items() if "\n".join(one.lines) == text], text)
    for line in advice:
        terminal.say(f"What to do: {line}")
