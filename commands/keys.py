"""Keys that come and go: taken from a file or made, placed at the customer's end, recorded; forgotten, deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from commands import exchange, fleet, screen
from commands.exchange import Ends
from commands.fleet import Refused
from deploy.keys import BadKey, make_pair, read_public
from deploy.plan import Busy, HostError
from inventory import Inventory, keys
from inventory.model import Customer, Key
from receiver import report
from roles.exchange import key_file

NOT_MADE_YET = "ssh-ed25519 (made-when-this-is-applied)"


def given(file: str, everything: Inventory, customers: Sequence[Customer]) -> str:
    """Read the key of --public-key, first of all: nothing is asked or made for one that is no good. Raises Refused."""
    if not file:
        return ""
    try:
        public = read_public(Path(file).read_text("utf-8", errors="replace"))
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    except BadKey as error:
        raise Refused(f"{file}: {error}") from None
    for other in everything.customers.values():
        if other not in customers and public in {key.public for key in other.keys}:
            raise Refused(f"{file}: this key is {other.id}'s: a key says who uploads, so each customer needs its own")
    return public


class NewKeys(NamedTuple):
    """Who gets a new key, and where from."""

    where: Path
    ends: Ends
    given: str = ""  # made elsewhere, for the one customer there is; empty: a pair is made
    renewing: frozenset[str] = frozenset()  # customers who get one beside the one they have

    def lacks(self, customer: Customer) -> bool:
        """Tell whether this customer gets one."""
        return not customer.keys or customer.id in self.renewing

    def planned(self, customer: Customer) -> Customer:
        """Plan with the key to come, or a placeholder; what is applied is planned again with the key itself."""
        if not self.lacks(customer):
            return customer
        key = Key(keys.next_name(self.where, customer.id), self.given or NOT_MADE_YET)
        return customer.model_copy(update={"keys": (*customer.keys, key)})

    def record(self, customer: Customer, seen: Iterable[str]) -> int:
        """Place the private half, then record the public one, which commits; gives an exit code.

        `seen`: keys its relays know of, whose names are not given again.
        """
        if not self.given and exchange.makes_its_own(customer):
            how = "makes its own key: --public-key FILE takes the public half; docs/clients.md says how it is made"
            return fleet.told(customer.id, fleet.Refused(f"client {customer.exchange.client} {how}"))
        try:
            with unchanged(self.where, customer):
                name = keys.next_name(self.where, customer.id, seen)
                public = self._placed(customer, name)
                keys.record(self.where, customer.id, Key(name, public))
        except HostError as error:
            return fleet.told(customer.id, error)
        screen.say(f"{customer.id}: key {name} recorded; commit {self.where / 'keys' / customer.id}")
        if self.given:
            place = f"{customer.exchange.directory} as {key_file(customer, name)}"
            screen.say(f"{customer.id}: its private half must lie in {place} on the customer's server")
        return report.DONE

    def _placed(self, customer: Customer, name: str) -> str:
        """Give the public half of a key whose private half is where it will be used."""
        pair = None if self.given else make_pair(customer.exchange.key_type)
        with self.ends(customer) as end:
            if pair is None:
                exchange.leave(end, customer, name)
                return self.given
            exchange.place(end, customer, name, pair)
            return pair.public


class Going(NamedTuple):
    """Keys that a customer is to lose."""

    customer: Customer
    names: tuple[str, ...]
    ours: bool = True  # their files as well; a key made elsewhere is its maker's

    def rest(self) -> Customer:
        """Give the customer without them."""
        kept = tuple(key for key in self.customer.keys if key.name not in self.names)
        return self.customer.model_copy(update={"keys": kept})

    def forget(self, where: Path, ends: Ends) -> int:
        """Take them off record, which commits, and delete their files; gives an exit code.

        Relays come after this: what a killed run leaves there shows as keys that nobody has on record.
        """
        if not self.names:
            return report.DONE
        try:
            with unchanged(where, self.customer):
                for key in self.customer.keys:
                    if key.name in self.names:
                        keys.forget(where, self.customer.id, key.name)
            with ends(self.customer) as end:
                for name in self.names if self.ours else ():
                    exchange.forget(end, self.customer, name)
        except HostError as error:
            return fleet.told(self.customer.id, error)
        return report.DONE


@contextmanager
def unchanged(where: Path, customer: Customer) -> Iterator[None]:
    """Be the only one who changes a customer's keys, which are as they were read. Raises Busy."""
    try:
        with keys.changing(where, customer.id):
            if keys.read(where, customer.id)[0] != customer.keys:
                raise Busy(f"{where / 'keys' / customer.id} was changed meanwhile: run the same again")
            yield
    except BlockingIOError:
        raise Busy(f"somebody else is changing {where / 'keys' / customer.id}: try again in a minute") from None
