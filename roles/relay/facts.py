"""What one quick read says of a relay, on which depends what it must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from common.main_cf_params import PARAMETERS, Setting
from deploy.items import Item, State
from inventory.model import Customer, Relay
from roles.relay.customer import domain_names

CONFIG = "/etc/postfix"


class Facts(NamedTuple):
    """A machine as it is; the fields that kind `facts` reads there."""

    python: str  # what our launchers name
    manager: str  # "apt-get", "dnf", "yum", or nothing
    systemd: bool  # systemd runs the machine, and so our timer
    has_postfix: bool  # if not, all below is what a fresh one is taken to have
    table_type: str  # the default there
    types: tuple[str, ...]  # those it lists, where the wanted one is not Postfix' own; not all can be loaded
    settings: Mapping[str, Setting]  # the parameters we edit
    record: Mapping[str, Setting]  # those we have edited, as they were before
    customers: tuple[str, ...]  # whose trees are there
    others: Mapping[str, str]  # domains that were asked about, and whose they are there besides, or still
    unserved: tuple[str, ...]  # domains that were asked about, and that no customer has there
    closed_by: Mapping[str, Mapping[str, str]]  # by customer, domains that are being adopted: who else closes each
    unlisted: Mapping[str, str]  # by customer, what its tree says that unlisted addresses get; empty: it does not
    revisions: Mapping[str, Mapping[str, Any]]  # by customer, number and hash: of its `tree`, of what the `store` has
    numbers: Mapping[str, int]  # by customer, the number that its settings are to have in the store
    drops: tuple[str, ...]  # customers who have an upload account, or what is left of one
    delimiter: str  # recipient_delimiter: Postfix itself takes user+tag@ where it has + in it and user@ is listed
    foreign: tuple[str, ...]  # relay domains that are not ours, listed where a plan is going to touch them
    release: str  # of the receiver there; empty: none
    has_store: bool  # it shares a store with other relays
    followed: Mapping[str, Any]  # what its last run of follow noted; nothing where there was none
    timer: Mapping[str, Any]  # when its timer ran last, and what it found; nothing: it never has
    clock: int  # there, in epoch seconds

    @classmethod
    def of(cls, state: State | None) -> Facts:
        """Return the facts from what was read of facts_items()."""
        fields: dict[str, Any] = {**BLANK._asdict(), **(state or {})}
        for name in ("settings", "record"):
            fields[name] = {key: Setting(*value) for key, value in fields[name].items()}
        fields.update({name: tuple(value) for name, value in fields.items() if isinstance(value, list)})
        return cls(**fields)


BLANK = Facts(
    python="/usr/bin/python3",
    manager="apt-get",
    systemd=False,
    has_postfix=False,
    table_type="DEFAULT",  # not known before Postfix is there; a plan that is carried out is made after that
    types=(),
    settings=dict.fromkeys(PARAMETERS, Setting(is_set=False, value="")),
    record={},
    customers=(),
    others={},
    unserved=(),
    closed_by={},
    unlisted={},
    revisions={},
    numbers={},
    drops=(),
    delimiter="",
    foreign=(),
    release="",
    has_store=False,
    followed={},
    timer={},
    clock=0,
)


def facts_items(relay: Relay, customers: Iterable[Customer] = ()) -> tuple[Item, ...]:
    """List what is to be read first; Facts.of() takes in the answer. `customers`: whose domains others may have."""
    domains = {name: customer.id for customer in customers for name in domain_names(customer)}
    facts = {"reject": relay.reject, "table_type": relay.table_type, "domains": domains}
    return (Item("facts", config_directory(relay), facts),)


def config_directory(relay: Relay) -> str:
    """Return where the relay's Postfix has its main.cf."""
    return relay.config_directory or CONFIG
