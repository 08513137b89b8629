"""The life of a customer's keys: read from a file or made, written at the customer's end, recorded, deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused
from console.grouping import CUSTOMER, Sentence
from customer_host import customer_host
from customer_host.customer_host import Connect
from deploy.key_formats import BadKey, make_pair, read_public
from deploy.plan import Busy, HostError
from inventory import Inventory, inventory_path, key_records
from inventory.model import Customer, Key
from roles.customer_host import key_file

NOT_MADE_YET = "ssh-ed25519 (made-when-this-is-applied)"


def read_given_key(file: str, everything: Inventory, customers: Sequence[Customer]) -> str:
    """Return the public key in the file of --public-key; empty without a file. Raises Refused.

    Called before a relay is asked or a key is made: a bad file then changes nothing.
    """
    if not file:
        return ""
    try:
        public = read_public(Path(file).read_text("utf-8", errors="replace"))
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    except BadKey as error:
        raise Refused(f"{file}: {error}") from None
    others = {one.id: one.keys for one in everything.customers.values() if one not in customers}
    others.update({one: key_records.read(inventory_path(), one)[0] for one in everything.unread})
    for other, keys in others.items():
        if public in {key.public for key in keys}:
            raise Refused(f"{file}: this key is {other}'s: a key says who uploads, so each customer needs its own")
    return public


class RecordedKey(NamedTuple):
    """The result of making and recording a customer's key."""

    code: int
    said: tuple[Sentence, ...] = ()


class NewKeys(NamedTuple):
    """Which customers get a new key, and where it comes from."""

    where: Path
    ends: Connect
    given: str = ""  # made elsewhere, for the one customer there is; empty: a pair is made
    renewing: frozenset[str] = frozenset()  # customers who get one beside the one they have

    def lacks(self, customer: Customer) -> bool:
        """Return whether this customer gets a new key."""
        return not customer.keys or customer.id in self.renewing

    def planned(self, customer: Customer) -> Customer:
        """Return the customer with the key to come, or a placeholder.

        Before it is applied it is planned again with the key.
        """
        if not self.lacks(customer):
            return customer
        key = Key(key_records.next_name(self.where, customer.id), self.given or NOT_MADE_YET)
        return customer.model_copy(update={"keys": (*customer.keys, key)})

    def record(self, customer: Customer, seen: Iterable[str]) -> RecordedKey:
        """Write the private half at the customer's end, then record the public half, which commits the key.

        `seen`: keys its relays know of, whose names are not given again.
        """
        if not self.given and customer_host.client_makes_key(customer):
            how = "makes its own key: --public-key FILE takes the public half; docs/clients.md says how it is made"
            refused = Refused(f"client {customer.exchange.client} {how}")
            return RecordedKey(terminal.print_result(customer.id, refused))
        try:
            with lock_keys(self.where, customer):
                name = key_records.next_name(self.where, customer.id, seen)
                public = self._write_new_key(customer, name)
                key_records.record(self.where, customer.id, Key(name, public))
        except HostError as error:
            return RecordedKey(terminal.print_result(customer.id, error))
        said = [f"key {name} recorded; commit {self.where / 'keys' / CUSTOMER}"]
        if self.given:
            place = f"{customer.exchange.directory} as {key_file(customer, name)}"
            said.append(f"its private half must lie in {place} on the customer's server")
        return RecordedKey(exit_codes.DONE, tuple(Sentence(customer.id, text) for text in said))

    def _write_new_key(self, customer: Customer, name: str) -> str:
        """Write a new private key where it will be used; return its public half."""
        pair = None if self.given else make_pair(customer.exchange.key_type)
        with self.ends(customer) as end:
            if pair is None:
                customer_host.delete_leftover_key(end, customer, name)
                return self.given
            customer_host.write_key(end, customer, name, pair)
            return pair.public


class KeyRemoval(NamedTuple):
    """Keys to be removed from a customer."""

    customer: Customer
    names: tuple[str, ...]
    ours: bool = True  # their files as well; a key made elsewhere is its maker's

    def rest(self) -> Customer:
        """Return the customer without these keys."""
        kept = tuple(key for key in self.customer.keys if key.name not in self.names)
        return self.customer.model_copy(update={"keys": kept})

    def apply(self, where: Path, ends: Connect) -> int:
        """Remove the keys from the inventory, which commits the removal, and delete their files; return an exit code.

        Relays come after this: what a killed run leaves there shows as keys that the inventory does not have.
        """
        if not self.names:
            return exit_codes.DONE
        try:
            with lock_keys(where, self.customer):
                for key in self.customer.keys:
                    if key.name in self.names:
                        key_records.forget(where, self.customer.id, key.name)
            with ends(self.customer) as end:
                for name in self.names if self.ours else ():
                    customer_host.delete_key(end, self.customer, name)
        except HostError as error:
            return terminal.print_result(self.customer.id, error)
        return exit_codes.DONE


@contextmanager
def lock_keys(where: Path, customer: Customer) -> Iterator[None]:
    """Hold the lock of a customer's keys, which are as they were read. Raises Busy."""
    try:
        with key_records.hold_lock(where, customer.id):
            if key_records.read(where, customer.id)[0] != customer.keys:
                raise Busy(f"{where / 'keys' / customer.id} was changed meanwhile: run the same again")
            yield
    except BlockingIOError:
        raise Busy(f"somebody else is changing {where / 'keys' / customer.id}: try again in a minute") from None
