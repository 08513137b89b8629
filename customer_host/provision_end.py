"""Bring a customer's end to its wanted state: a kit is written, a server that is reached over SSH is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused
from console.grouping import CUSTOMER, Sentence, merge_sentences
from console.options import ProvisionOptions
from customer_host import customer_host
from customer_host.customer_host import Connect
from customer_host.kit_numbers import number_kit
from deploy.kit import Kit
from deploy.plan import ExchangeEnd, HostError, Machine, Plan
from deploy.plan_summary import summarize
from inventory import Inventory, InventoryError, inventory_path
from inventory.model import Customer, Provider, Relay
from roles import customer_host as customer_role
from roles.customer_host import KitPages
from templates import BadTemplate


class KeyUsage(NamedTuple):
    """What a customer's relays know of its keys."""

    seen: frozenset[str]  # used on every one of them
    used: frozenset[str]  # used on one of them at least
    behind: tuple[str, ...]  # relays that may lack what is on record
    failed: tuple[str, ...] = ()  # those of them that could not be set up: nobody knows whether they can be used


class EndResult(NamedTuple):
    """The result of provisioning one customer's end."""

    code: int
    said: tuple[Sentence, ...] = ()
    is_changed: bool = False  # or would be, in a dry run
    waits: bool = False  # it stays as it is until its relays are as wanted
    is_there: bool = True  # there is a kit or a server of ours, or would be after a dry run

    @property
    def is_well(self) -> bool:
        """Return whether nothing failed and nothing was refused."""
        return self.code in (exit_codes.DONE, exit_codes.PENDING)

    def document(self, dry_run: bool) -> dict[str, Any]:
        """Return it as docs/json.md has it."""
        changed = "would change" if dry_run else "changed"
        said = [text.partition(": ")[2] for text, _ in merge_sentences(self.said)]
        return {"result": changed if self.is_changed else "unchanged", "code": self.code, "said": said}


def provision_ends(
    everything: Inventory,
    customers: Sequence[Customer],
    usage: Mapping[str, KeyUsage],
    options: ProvisionOptions,
    ends: Connect,
) -> list[EndResult]:
    """Bring each customer's end to its wanted state, and print the result. `usage`: by customer.

    An interrupted run prints what it has written, since the next run finds nothing to change there and prints nothing.
    """
    results: list[EndResult] = []
    try:
        results.extend(_provision_end(everything, one, usage[one.id], options, ends) for one in customers)
    finally:
        terminal.print_sentences(sentence for result in results for sentence in result.said)
    return results


def _provision_end(
    everything: Inventory, customer: Customer, usage: KeyUsage, options: ProvisionOptions, ends: Connect
) -> EndResult:
    relays = [everything.relays[name] for name in customer.upload_relays]
    if blockers := customer_role.blockers(customer, relays):
        said = (Sentence(customer.id, f"nothing is put at its end: {text}", is_note=True) for text in blockers)
        return EndResult(exit_codes.REFUSED, tuple(said), is_there=False)
    if not customer.keys:
        return _announce(customer) if options.dry_run else EndResult(exit_codes.DONE, is_there=False)
    if len(customer.keys) > 1 and usage.behind:
        lacking = f"{', '.join(usage.behind)} may not know key {customer.keys[-1].name} yet"
        text = f"its end is left as it is: {lacking}; run the same again"
        return EndResult(exit_codes.DONE, (Sentence(customer.id, text, is_note=True),))
    try:
        with ends(customer) as end:
            return _plan_and_write(end, customer, relays, usage, options, everything.provider)
    except HostError as error:
        return EndResult(terminal.print_result(customer.id, error))
    except (InventoryError, BadTemplate) as error:  # its kit's record, or a page of ours; other customers go on
        return EndResult(terminal.print_result(customer.id, Refused(str(error))))


def _plan_and_write(
    end: ExchangeEnd,
    customer: Customer,
    relays: Sequence[Relay],
    usage: KeyUsage,
    options: ProvisionOptions,
    provider: Provider | None,
) -> EndResult:
    if isinstance(end, Machine):
        items = customer_role.items(_choose_keys(customer, end, usage.seen), relays)
        return _write(end, customer, Plan.of(end, items), usage, options)
    where = inventory_path()
    number = number_kit(where, customer, relays, not usage.behind, datetime.now(UTC).date())
    pages = KitPages(provider, where / "templates")
    items = customer_role.items(customer, relays, number.kit.number, pages)
    result = _write(end, customer, Plan.of(end, items), usage, options)
    if options.dry_run or result.waits or not number.is_new:
        return result
    number.record(where, customer.id)
    text = f"kit {number.kit.number} recorded; commit {where / 'kits' / CUSTOMER}.json"
    return result._replace(said=(*result.said, Sentence(customer.id, text)))


def _announce(customer: Customer) -> EndResult:
    """Return what a run would do for a customer without a key."""
    if customer_host.client_makes_key(customer):
        text = "its key is made by its own client, and taken with --public-key FILE"
        return EndResult(exit_codes.DONE, (Sentence(customer.id, text),), is_there=False)
    brought = "a kit written" if customer.exchange.reach == "kit" else f"{customer.exchange.server} set up"
    text = f"a key is made and {brought} once a relay is ready for it"
    return EndResult(exit_codes.PENDING, (Sentence(customer.id, text),), is_changed=True)


def _write(end: ExchangeEnd, customer: Customer, plan: Plan, usage: KeyUsage, options: ProvisionOptions) -> EndResult:
    place = f"{'server' if isinstance(end, Machine) else 'kit'} {shared_name(end, customer)}"
    if reason := _reason_to_wait(plan, usage):
        return EndResult(exit_codes.DONE, (Sentence(customer.id, f"{place} {reason}", is_note=True),), waits=True)
    if not plan.changes:
        said = [Sentence(customer.id, f"{place}: nothing to change")]
    else:
        said = [Sentence(customer.id, f"{place}: {summarize((one.item, one.before) for one in plan.changes)}")]
        if options.diff or options.full:
            terminal.print_plan(f"{customer.id}: {end.name}:", plan.text(brief=not options.full))
    if options.dry_run:
        return EndResult(exit_codes.PENDING if plan.changes else exit_codes.DONE, (*said,), bool(plan.changes))
    changed = {change.item.name for change in plan.changes}
    if isinstance(end, Machine) and "runexport.bat" in changed:
        customer_host.wait_for_batch(end)  # cmd.exe goes on in the middle of a batch that is replaced while it runs
    plan.apply()
    if not isinstance(end, Machine):  # a kit has been carried; a machine is where the key is used
        for key in usage.seen:
            customer_host.delete_key(end, customer, key)
        again = [one.item.name for one in plan.changes if one.before and one.item.name.startswith("schedule.")]
        said += _carrying_steps(end, customer, usage, changed, again)
    return EndResult(exit_codes.DONE, (*said,), bool(changed))


def _reason_to_wait(plan: Plan, usage: KeyUsage) -> str:
    """Return why the customer's end is left as it is; empty when it may be changed."""
    if usage.behind and any(change.before is not None for change in plan.changes):
        # It works as it is. What would be written, e.g. another host key, is not tested yet: a relay was not reached.
        return f"is left as it is, until {', '.join(usage.behind)} is as wanted"
    if usage.failed and plan.changes:
        return f"is not written before {', '.join(usage.failed)} is as wanted: run the same again"
    return ""


def shared_name(end: ExchangeEnd, customer: Customer) -> str:
    """Return the end's name for messages, with CUSTOMER for the id, so that several customers can share a message."""
    folder, slash, name = end.name.rpartition("/")
    return f"{folder}{slash}{CUSTOMER}" if isinstance(end, Kit) and name == customer.id else end.name


def _carrying_steps(
    end: ExchangeEnd, customer: Customer, usage: KeyUsage, changed: Collection[str], again: Sequence[str]
) -> Iterator[Sentence]:
    """Yield what is to be done with a kit; nothing in an open rotation, whose own command says it.

    `again`: scripts that were there before and must be run once more.
    """
    if len(customer.keys) > 1:
        return
    (key,) = customer.keys
    held = isinstance(end, Kit) and end.has_file(customer_role.key_file(customer, key.name))
    if changed:
        rerun = "".join(f"; run {name} there again" for name in again if name != "schedule.xml")
        way = "by a way you would trust with a key, " if held else ""
        how = f"{way}and let its admin follow README.txt{rerun}"
        place = f"{shared_name(end, customer)} to {customer.exchange.directory} on its server"
        yield Sentence(customer.id, f"carry {place}, {how}")
    if key.name not in usage.used and not held:
        cure = f"if it never reached the server, `inv rotate-key {CUSTOMER}` makes another"
        text = f"nobody has used {key.name} yet, and its private half is not in the kit: {cure}"
        yield Sentence(customer.id, text, is_note=True)


def _choose_keys(customer: Customer, end: ExchangeEnd, seen: frozenset[str]) -> Customer:
    """Return the customer with the keys that its files may name: of a machine those used from there, else the oldest.

    A kit's batch prefers the new key where its file is, and that only comes with the kit.
    """
    if not isinstance(end, Machine):
        return customer
    proved = tuple(key for key in customer.keys if key.name in seen)
    return customer.model_copy(update={"keys": proved or customer.keys[:1]})
