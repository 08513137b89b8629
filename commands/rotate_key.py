"""Replace a customer's key: a new one beside the old, a test of it, the old one removed; or the new one removed again.

The content of keys/CUSTOMER/ is the state: (old), (old, new), (new). An interrupted rotation is visible in it, or in
keys that relays still have and the inventory has no longer; the next run goes on from there and begins no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import ProvisionOptions
from customer_host import customer_host, customer_keys
from customer_host.customer_host import Connect
from customer_host.customer_keys import KeyRemoval, NewKeys
from deploy.plan import HostError, Machine
from fleet.key_state import KeyState, RelayKeys, read_key_states
from fleet.provisioning import ProvisionResult, provision_customers
from fleet.relays import load_for, select_customers, split_names
from inventory import Inventory
from inventory.model import Customer, Key
from roles.customer_host import key_file


class RotationOptions(NamedTuple):
    """The options of `inv rotate-key`."""

    due: bool = False  # only those that are due, or open
    finish: bool = False
    undo: bool = False
    force: bool = False


def rotate_key(customer: str, every: bool, rotation: RotationOptions, options: ProvisionOptions, as_json: bool) -> int:
    """Begin, continue, finish or undo the rotations of the selected customers. Raises InventoryError, Refused."""
    if (options.public_key or options.kit_dir) and len(split_names(customer)) != 1:
        raise Refused("--public-key and --kit-dir are for one customer")
    if rotation.finish and rotation.undo:
        raise Refused("either --finish or --undo, not both")
    if rotation.force and not (rotation.finish or rotation.undo):
        raise Refused("--force goes with --finish or --undo")
    if options.public_key and (rotation.finish or rotation.undo):
        raise Refused("--public-key begins a rotation; it does not go with --finish or --undo")
    everything = load_for("" if every else customer)
    customers = _select_customers(everything, customer, every, rotation)
    with terminal.document_alone(as_json):
        code = exit_codes.worst([_rotate(customers, rotation, options), everything.code])
    if as_json:
        terminal.print_document({"code": code, "customers": _key_documents(customers)})
    return code


def _rotate(customers: Sequence[Customer], rotation: RotationOptions, options: ProvisionOptions) -> int:
    if not customers:
        terminal.say("no key is due, and no rotation is open" if rotation.due else "no customer has a key yet")
        return exit_codes.DONE
    return Rotation(rotation, options, customer_host.prepare_connect(customers, options.kit_dir)).run(customers)


def _key_documents(customers: Sequence[Customer]) -> dict[str, Any]:
    """Return the keys that customers have on record now; two of them: a rotation is open."""
    now = _inventory(customers).customers if customers else {}
    return {
        one.id: {
            "keys": [{"name": key.name, "recorded": key.recorded} for key in now[one.id].keys],
            "is_open": len(now[one.id].keys) > 1,
        }
        for one in customers
    }


def _select_customers(
    everything: Inventory, customer: str, every: bool, rotation: RotationOptions
) -> Sequence[Customer]:
    """Return the selected customers that have a key; provision makes the first one."""
    customers = select_customers(everything, customer, every or (rotation.due and not customer))
    if customer and (keyless := [one.id for one in customers if not one.keys]):
        names = ",".join(keyless)
        verb, whose = ("has", "its") if len(keyless) == 1 else ("have", "their")
        raise Refused(f"{', '.join(keyless)} {verb} no key yet: `inv provision {names}` makes {whose} first")
    today = datetime.now(UTC).date()
    return [one for one in customers if one.keys and (not rotation.due or one.key_due(today) or len(one.keys) > 1)]


def _inventory(customers: Iterable[Customer]) -> Inventory:
    return inventory.load(inventory.inventory_path(), [one.id for one in customers])


class Rotation(NamedTuple):
    """One run of `inv rotate-key`, for some customers at once."""

    rotation: RotationOptions
    options: ProvisionOptions
    ends: Connect

    def run(self, customers: Sequence[Customer]) -> int:
        """Do the next step of each customer's rotation; return the exit code. Raises InventoryError, Refused."""
        everything = _inventory(customers)
        given = customer_keys.read_given_key(self.options.public_key, everything, customers)
        _refuse_third_key(customers, given)
        states = read_key_states(everything, customers)
        if self.rotation.finish or self.rotation.undo:
            return self._end_rotations(states)
        cut_short = self._end_rotations([state for state in states if state.is_cut_short])
        return exit_codes.worst(
            [cut_short, self._continue([state for state in states if not state.is_cut_short], given)]
        )

    # ---- old and new

    def _continue(self, states: Sequence[KeyState], given: str) -> int:
        """Provision an old and a new key for each customer.

        Where the new one can be tested, test it and end the rotation.
        """
        beginning = frozenset(state.customer.id for state in states if not state.is_open)
        unasked = frozenset[tuple[str, str]]().union(*(state.removable_unasked() for state in states))
        new_keys = NewKeys(inventory.inventory_path(), self.ends, given, beginning)
        for customer in sorted(beginning) if self.options.dry_run else ():
            terminal.say(f"{customer}: a new key is written at its end and recorded; its public half then goes here:")
        result = self._provision([state.customer for state in states], unasked, new_keys)
        if self.options.dry_run:
            return result.code
        now = _inventory(state.customer for state in states).customers
        fresh = [state._replace(customer=now[state.customer.id]) for state in states]
        return exit_codes.worst(
            [
                result.code,
                self._try_new_keys([one for one in fresh if one.is_open and not result.behind[one.customer.id]]),
            ]
        )

    def _try_new_keys(self, states: Sequence[KeyState]) -> int:
        """Test each customer's new key from its end.

        Remove the old keys where it works, and the new one where it does not.
        """
        tried = [(state.customer, self._test_new_key(state)) for state in states]
        ours = not self.options.public_key
        failed = [KeyRemoval(one, _names(one.keys[-1:]), ours) for one, code in tried if code == exit_codes.PROOF]
        proved = [one for one, code in tried if code == exit_codes.DONE]
        return exit_codes.worst(
            [*(code for _, code in tried if code), self._remove_keys(failed), self._switch_to_new_keys(proved)]
        )

    def _test_new_key(self, state: KeyState) -> int | None:
        """Test the new key from the customer's end.

        Return an exit code, or None for a kit, which a person must carry first.
        """
        customer = state.customer
        relays = _inventory([customer]).relays
        try:
            with self.ends(customer) as end:
                if not isinstance(end, Machine):
                    _print_next_step(state, end.name)
                    return None
                faults = customer_host.test_key_login(
                    end, customer, [relays[name] for name in customer.upload_relays], customer.keys[-1].name
                )
        except HostError as error:
            return terminal.print_result(customer.id, error)
        for fault in faults:
            terminal.error(f"{customer.id}: {fault}")
        return exit_codes.PROOF if faults else exit_codes.DONE

    def _switch_to_new_keys(self, customers: Sequence[Customer]) -> int:
        """Make the customers' ends use the tested key, and only then remove the old ones."""
        result = self._provision(customers)
        codes = {one.id: self._wait_for_batch(one) for one in customers if not result.behind[one.id]}
        using = [KeyRemoval(one, _names(one.keys[:-1])) for one in customers if codes.get(one.id) == exit_codes.DONE]
        return exit_codes.worst([result.code, *codes.values(), self._remove_keys(using)])

    def _wait_for_batch(self, customer: Customer) -> int:
        """Wait for the end of an export that began with the old key; return an exit code."""
        try:
            with self.ends(customer) as end:
                customer_host.wait_for_batch(end)
        except HostError as error:
            return terminal.print_result(customer.id, error)
        return exit_codes.DONE

    # ---- only one of them

    def _end_rotations(self, states: Sequence[KeyState]) -> int:
        """Remove keys where that stops no upload, or where --force is given; return the exit code."""
        codes, removals, switching = [], [], []
        for state in states:
            names = state.keys_to_remove(self.rotation.undo)
            if not names:
                terminal.say(f"{state.customer.id}: no rotation is open; both ends are checked all the same")
            if code := self._check_removal(state, names):
                codes.append(code)
            elif self._must_switch_first(state.customer, names):
                switching.append(state.customer)
            else:
                removals.append(KeyRemoval(state.customer, names))
        return exit_codes.worst([*codes, self._remove_keys(removals), self._switch_to_new_keys(switching)])

    def _must_switch_first(self, customer: Customer, names: Sequence[str]) -> bool:
        """Return whether a server that we reach may still upload with an old key, as its switch was cut short."""
        is_meant = self.rotation.force or self.options.dry_run
        is_old = bool(names) and {*names} <= {key.name for key in customer.keys[:-1]}
        return is_old and customer.exchange.reach == "ssh" and not is_meant

    def _check_removal(self, state: KeyState, names: Sequence[str]) -> int:
        """Print why these keys may not be removed, or which uploads that will stop; return an exit code."""
        customer, blockers = state.customer.id, list(state.blockers(self.rotation.undo)) if names else []
        if self.rotation.force or not blockers:
            for text in blockers:
                terminal.note(f"{customer}: {text}; where its server needs {', '.join(names)}, its uploads end now")
            return exit_codes.DONE
        for text in blockers:
            terminal.error(f"{customer}: {text}")
        way = "--undo" if self.rotation.undo else "--finish"
        terminal.error(
            f"{customer}: {', '.join(names)} stays; `inv rotate-key {customer} {way} --force` removes it all the same"
        )
        answered = all(isinstance(look, RelayKeys) for look in state.found.values())
        return exit_codes.REFUSED if answered else exit_codes.FAILED

    def _remove_keys(self, removals: Sequence[KeyRemoval]) -> int:
        """Remove keys from the inventory, then from both ends; return an exit code."""
        codes = [
            exit_codes.DONE if self.options.dry_run else one.apply(inventory.inventory_path(), self.ends)
            for one in removals
        ]
        removals = [one for one, code in zip(removals, codes, strict=True) if not code]
        meant = {(one.customer.id, f"key:{name}") for one in removals for name in one.names}
        result = self._provision([one.rest() for one in removals], meant)
        for one in removals:
            if one.names and not self.options.dry_run:
                _print_removed(one, result.behind[one.customer.id])
        return exit_codes.worst([*codes, result.code])

    def _provision(
        self,
        customers: Sequence[Customer],
        meant: Iterable[tuple[str, str]] = (),
        new_keys: NewKeys | None = None,
    ) -> ProvisionResult:
        """Provision these customers; `meant`: keys that this removes, by customer."""
        if not customers:
            return ProvisionResult(exit_codes.DONE, {})
        options = self.options._replace(meant=frozenset(meant))
        return provision_customers(
            _inventory(customers), customers, options, new_keys or NewKeys(inventory.inventory_path(), self.ends)
        )


def _names(some: Iterable[Key]) -> tuple[str, ...]:
    return tuple(key.name for key in some)


def _refuse_third_key(customers: Sequence[Customer], given: str) -> None:
    """Raise Refused for a --public-key where a rotation with another key is open, or that the customer has already."""
    for customer in customers:
        names = [key.name for key in customer.keys]
        if not given or (len(names) > 1 and given == customer.keys[-1].public):
            continue
        if len(names) > 1:
            raise Refused(f"{customer.id} has a rotation open ({', '.join(names)}): --finish or --undo it first")
        if given == customer.keys[-1].public:
            raise Refused(f"{customer.id} has this key already, as {names[-1]}")


# ---- messages


def _print_next_step(state: KeyState, kit: str) -> None:
    """Print what the customer's admin must do, or that it is done."""
    customer, new = state.customer, state.customer.keys[-1].name
    old = ", ".join(_names(customer.keys[:-1]))
    if not state.relays_without_use():
        terminal.say(
            f"{customer.id}: every relay has seen {new}: `inv rotate-key {customer.id} --finish` removes {old}"
        )
        return
    terminal.say(
        f"{customer.id}: {old} and {new} both work. Carry {kit} to {customer.exchange.directory} on the customer's "
        f"server, leave the old key file there, and run runexport; {key_file(customer, new)} must then lie there. "
        f"Once {_have_seen(state.relays_without_use())} {new}: `inv rotate-key {customer.id} --finish`"
    )


def _have_seen(relays: Sequence[str]) -> str:
    *others, last = relays
    return f"{', '.join(others)} and {last} have seen" if others else f"{last} has seen"


def _print_removed(removal: KeyRemoval, behind: Sequence[str]) -> None:
    customer, names = removal.customer, ", ".join(removal.names)
    if behind:
        terminal.note(f"{customer.id}: {names} may still open {', '.join(behind)}: run the same again")
        return
    files = ", ".join(key_file(customer, name) for name in removal.names)
    terminal.say(
        f"{customer.id}: {names} gone, {files} on the customer's server is of no more use; "
        f"commit {inventory.inventory_path() / 'keys' / customer.id}"
    )
