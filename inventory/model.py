"""Relay, Provider and Customer: every key of the inventory's files, its default, and a sentence on it.

The keys of `[exchange]` are in inventory/exchange.py, those of `[store]` in inventory/store.py.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from datetime import date
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from common.names import ACCOUNT_PREFIX, upload_account
from common.opened import Opened
from common.table_types import OurType
from inventory import domains, validators
from inventory.exchange import Exchange
from inventory.table import Table

Count: TypeAlias = Annotated[int, Field(ge=1)]

CANARIES_NEEDED = ("ldap", "exchange-online")
"""Sources of which a list needs a canary for each domain."""

LONGEST_ACCOUNT = 32  # letters of a user's name
KEY_NOTICE = 30  # days before key_max_age_days from which a key is due; half of key_max_age_days where that is less


class Key(NamedTuple):
    """One `keys/CUSTOMER/NAME.pub`. Two of them: a rotation is open."""

    name: str
    public: str  # "TYPE BLOB": the only form in which a public key passes between rooms
    recorded: date | None = None  # the day it was written down, from which its age counts

    def age(self, today: date) -> int | None:
        """Return its age in days; None: nobody wrote down when it was recorded."""
        return (today - self.recorded).days if self.recorded else None


class StoreFiles(NamedTuple):
    """A relay's files about the store, without the password."""

    config: str  # store.json: the store's id and the relay's role
    service: str  # libpq's service file
    authority: str  # the certificate of the authority that the database is verified by


class Relay(Table):
    """A machine with Postfix that stands before customers' Exchange servers: `[NAME]` in relays.toml."""

    given: ClassVar[frozenset[str]] = frozenset({"name", "host_keys", "store"})
    name: validators.RelayName
    host_keys: tuple[str, ...] = ()  # "TYPE BLOB", from known_hosts
    store: StoreFiles | None = None  # from [store] of provider.toml

    address: validators.Host = Field(description="Where `inv` connects; ~/.ssh/config applies to it as `ssh -G` says.")
    role: Literal["upload", "follower"] = Field(
        "upload",
        description="upload: customers' servers send to it. follower: it takes all lists from the store of "
        "provider.toml; no customer's key opens it, and no kit names it.",
    )
    user: validators.User | None = Field(
        None, description="The user that `inv` logs in as. Left out: ~/.ssh/config decides, then root."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Left out: ~/.ssh/config decides, then 22.")
    sudo: bool = Field(False, description="true: that user is not root and may run `inv`'s program through `sudo -n`.")
    uploads: validators.HostPort | None = Field(
        None,
        validate_default=True,
        description="`host` or `host:port` the customers' servers connect to. Left out: address and port.",
    )
    config_directory: validators.UnixPath | None = Field(
        None, description="Postfix's configuration directory. Must be named when the machine has several instances."
    )
    table_type: OurType | None = Field(
        None, description="Type of our tables. Left out: what `postconf -hx default_database_type` says on the relay."
    )
    reject: Literal["hard", "soft"] | None = Field(
        None,
        description="No longer used: hard is ignored; soft keeps 450 for the whole relay until each customer there "
        "says `unlisted`, and warns. Leave it out.",
    )
    alarm: tuple[validators.Line, ...] = Field(
        (),
        description="Program and arguments that take an alarm's text on stdin, run as `postern`. Left out: no alarms. "
        "No secret in them: every account of the relay can read them.",
    )
    metrics: validators.UnixPath = Field(
        "/var/lib/postern/metrics", description="Directory for postern.prom, read by Prometheus' textfile collector."
    )

    @field_validator("uploads")
    @classmethod
    def _known_outside(cls, uploads: str | None, info: ValidationInfo) -> str | None:
        address = info.data.get("address")
        if uploads is None and address and info.data.get("role") == "upload":
            try:
                validators.host_port(address)
            except ValueError:
                raise ValueError(
                    f"must be given: customers' servers do not know {address!r}, a short name of ours"
                ) from None
        return uploads

    @field_validator("alarm")
    @classmethod
    def _absolute(cls, alarm: tuple[str, ...]) -> tuple[str, ...]:
        if alarm and not alarm[0].startswith("/"):
            raise ValueError("must begin with a program's full path: a timer has no PATH to speak of")
        return alarm

    @property
    def uploads_to(self) -> tuple[str, int]:
        """Host and port the customers' servers connect to."""
        host, port = validators.host_and_port(self.uploads or self.address)
        return host, port or (22 if self.uploads else self.port or 22)


class Provider(Table):
    """The provider's name and contact in texts for customers: `[provider]` in provider.toml."""

    name: validators.AsciiLine = Field(description="What customers call you, in a kit's README.txt.")
    contact: validators.AsciiLine = Field(description="How they reach you: a telephone number, an address, a page.")


class Guard(Table):
    """The limits beyond which a list is held until an operator accepts it: `[guard]`."""

    shrink_percent: float = Field(
        10.0,
        ge=0,
        le=100,
        description="Held when more than this share would go, over all or in one domain, and more than shrink_floor.",
    )
    shrink_floor: int = Field(2, ge=0, description="So many recipients may always go, whatever share that is.")
    growth_factor: float = Field(
        3.0, ge=1, description="Held when it grows more than this many times and by more than 100."
    )
    max_recipients: Count = Field(100_000, description="Held when it has more recipients than this.")
    max_megabytes: int = Field(
        64, ge=1, le=4096, description="An export larger than this is refused unread (1 MB is 1,048,576 bytes)."
    )
    no_additions_days: int = Field(
        0, ge=0, description="An alarm is raised when the list has gained nobody for so many days; 0: never."
    )


class Customer(Table):
    """One customer, a file of customers/; the file's stem is the permanent id."""

    given: ClassVar[frozenset[str]] = frozenset({"id", "keys", "host_keys", "opened", "followers"})
    id: validators.CustomerId
    keys: tuple[Key, ...] = ()  # oldest first; each may upload, the batch tries the last first
    host_keys: tuple[str, ...] = ()  # of the server, where it is reached over SSH: "TYPE BLOB", from known_hosts
    opened: Opened | None = None  # a person had all its domains opened, from opened/
    followers: frozenset[str] = frozenset()  # those of its relays that take no uploads

    name: validators.Line = Field(
        max_length=100, description="What people call the customer; may change, the id may not."
    )
    domains: tuple[validators.Domain, ...] = Field(
        min_length=1, description="The customer's mail domains; an internationalised one in either form."
    )
    partial: tuple[validators.Domain, ...] = Field(
        (), description="Domains with mailboxes elsewhere too: they stay open, no mail for them is ever rejected."
    )
    relays: tuple[validators.RelayName, ...] = Field(min_length=1, description="The relays that take their mail.")
    next_hop: validators.NextHop | None = Field(
        None,
        description='Where their mail goes on, as relay:[203.0.113.25]:25; or "mx": where the MX records say. '
        "Left out only where transport_maps or relayhost of the relay has a route.",
    )
    exclude: tuple[validators.Pattern, ...] = Field(
        (),
        description="Recipients that must get no mail from outside: a local part in any domain, "
        "or a shell pattern on the address.",
    )
    include: tuple[validators.Recipient, ...] = Field(
        (), description="Listed whatever the export says; postmaster@ of every domain always is."
    )
    plus_addresses: bool | None = Field(
        None,
        description="user+tag@ is taken when user@ is. Left out, from the first export that says that its server does.",
    )
    unlisted: Literal["refuse", "defer", "ask"] | None = Field(
        None,
        description="What an address gets that is not on the accepted list: refuse 550; defer 450, so that senders try "
        "again and nothing is lost while a list is new; ask has the customer's own server say. Left out: refuse. Open "
        "and partial domains ignore it; docs/unlisted.md.",
    )
    canaries: tuple[validators.Recipient, ...] = Field((), description="A list that lacks one of these is held.")
    open_after_days: Count = Field(
        30, description="Days after which a list that nobody refreshed opens its domains again."
    )
    key_max_age_days: Count = Field(
        365, description="A key should get no older; a month before, `status` and `rotate-key --due` find it due."
    )
    exchange: Exchange = Field(description="The customer's end.")
    guard: Guard = Field(Guard(), description="When a list is held.")

    @field_validator("domains", "partial", "relays", "include", "canaries")
    @classmethod
    def _once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"names {value!r} twice (letter case and the form of a name aside)")
        return values

    @field_validator("partial")
    @classmethod
    def _own_domains(cls, partial: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        own = info.data.get("domains", partial)
        for domain in partial:
            if domain not in own:
                raise ValueError(f"{domain!r} is not one of domains{validators.near(domain, own)}")
        return partial

    @field_validator("exchange")
    @classmethod
    def _has_a_canary(cls, exchange: Exchange, info: ValidationInfo) -> Exchange:
        if exchange.source in CANARIES_NEEDED and "canaries" in info.data and not info.data["canaries"]:
            raise ValueError(
                f"source {exchange.source} needs canaries, one for each domain and part of the directory: a search can "
                "succeed with nearly nothing, where a right is missing"
            )
        return exchange

    @field_validator("exchange")
    @classmethod
    def _account_has_a_name(cls, exchange: Exchange, info: ValidationInfo) -> Exchange:
        if exchange.copies_files and len(info.data.get("id", "")) > LONGEST_ACCOUNT - len(ACCOUNT_PREFIX):
            raise ValueError(
                f"client securecrt needs an account postern-ID on the relays, of {LONGEST_ACCOUNT} letters at most: "
                "the customer's id is too long for it"
            )
        return exchange

    @field_validator("include", "canaries")
    @classmethod
    def _own_addresses(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        own = info.data.get("domains")
        for address in addresses:
            domain = address.rpartition("@")[2]
            if own and domain not in own:
                raise ValueError(f"{address!r} is in none of domains{validators.near(domain, own)}")
            hidden = next((pattern for pattern in info.data.get("exclude", ()) if _matches(pattern, address)), None)
            if hidden:
                raise ValueError(f"{address!r} is excluded by {hidden!r}: one of the two is wrong")
        return addresses

    def key_due(self, today: date) -> bool:
        """Return whether the newest key is so old that another is wanted, a month before it is too old."""
        notice = min(KEY_NOTICE, self.key_max_age_days // 2)
        age = self.keys[-1].age(today) if self.keys else None
        return age is not None and age >= self.key_max_age_days - notice

    @property
    def upload_relays(self) -> tuple[str, ...]:
        """Those of its relays that its server sends to."""
        return tuple(name for name in self.relays if name not in self.followers)

    @property
    def upload_account(self) -> str:
        """Its own account on the relays, where its client only copies files."""
        return upload_account(self.id)

    @property
    def unicode(self) -> Mapping[str, str]:
        """U-labels by A-labels, of the domains that have both."""
        both = {domain: domains.unicode_form(domain) for domain in self.domains}
        return {domain: written for domain, written in both.items() if written}


def _matches(pattern: str, address: str) -> bool:
    if not set(pattern) & set("@*?["):
        return address.rpartition("@")[0] == pattern
    return fnmatch.fnmatchcase(address, pattern)
