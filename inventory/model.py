"""Relay and Customer: every key of the inventory's files, its default, and a sentence on it."""

from __future__ import annotations

import fnmatch
import zlib
from collections.abc import Mapping
from datetime import date
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from common.names import ACCOUNT_PREFIX, upload_account
from common.opened import Opened
from common.table_types import OurType
from inventory import domains, validators

# A word here is a folder of templates/windows, templates/posix or templates/windows/clients; a source is also
# a module of receiver/upload/formats, its - and . written _.
Source: TypeAlias = Literal["exchange-5.5", "csvde", "powershell", "ldap", "exchange-online"]
Client: TypeAlias = Literal["plink", "openssh", "securecrt"]
Reach: TypeAlias = Literal["kit", "ssh"]

Count: TypeAlias = Annotated[int, Field(ge=1)]

SERVERS = {"ldap": "ldap-host", "exchange-online": "exchange-online"}
"""What messages call the customer's end where the file names no server."""
POSIX_DEFAULTS = {"directory": "/opt/userexport", "client": "openssh"}
"""What holds on a POSIX host where the file says nothing."""
CANARIES_NEEDED = ("ldap", "exchange-online")

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


class Table(BaseModel):
    """A table of TOML: frozen, of the types written here and no near ones, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)
    given: ClassVar[frozenset[str]] = frozenset()
    """Fields that load() adds from elsewhere; they are no keys of the file."""


def table_of(annotation: object) -> type[Table] | None:
    """Return the table that a field holds, or may hold; None: it holds no table."""
    parts = (annotation, *get_args(annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Table)), None)


class StoreFiles(NamedTuple):
    """What a relay knows of the store, but for the password."""

    config: str  # store.json: the store's id and the relay's role
    service: str  # libpq's service file
    authority: str  # the certificate of the authority that the database is verified by


class Relay(Table):
    """A machine with Postfix that stands before customers' Exchange servers: `[NAME]` in relays.toml."""

    given: ClassVar[frozenset[str]] = frozenset({"name", "host_keys", "store"})
    name: validators.RelayName
    host_keys: tuple[str, ...] = ()  # "TYPE BLOB", from known_hosts
    store: StoreFiles | None = None  # from [store] of provider.toml

    address: validators.Host = Field(description="Where we connect; ~/.ssh/config applies to it as `ssh -G` says.")
    role: Literal["upload", "follower"] = Field(
        "upload",
        description="upload: customers' servers send to it. follower: it takes all lists from the store of "
        "provider.toml; no customer's key opens it, and no kit names it.",
    )
    user: validators.User | None = Field(
        None, description="Who we log in as. Left out: ~/.ssh/config decides, then root."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Left out: ~/.ssh/config decides, then 22.")
    sudo: bool = Field(False, description="true: that user is not root and may run our program through `sudo -n`.")
    uploads: validators.HostPort | None = Field(
        None,
        validate_default=True,
        description="`host` or `host:port` the customers' servers connect to. Left out: address and port.",
    )
    config_directory: validators.UnixPath | None = Field(
        None, description="Postfix's configuration directory. Must be named when the machine has several instances."
    )
    table_type: OurType | None = Field(
        None, description="Type of our tables. Left out: what `postconf -hx default_database_type` says there."
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
    """Who "we" are in what a customer reads: `[provider]` in provider.toml."""

    name: validators.AsciiLine = Field(description="What customers call you, in a kit's README.txt.")
    contact: validators.AsciiLine = Field(description="How they reach you: a telephone number, an address, a page.")


class Schedule(Table):
    """When the customer's server exports: `[exchange.schedule]`, in the server's own time."""

    days: validators.Days = Field(validators.DAYS[:5], description='"MON-FRI", "MON,WED" or a list of days.')
    start: validators.Clock = Field("07:00", alias="from", description="No export starts before this.")
    until: validators.Clock = Field(
        "19:00", alias="to", validate_default=True, description="No export starts after this."
    )
    every_minutes: int = Field(
        60, ge=15, le=1440, description="From one export to the next; below 60 means many `at` jobs on NT 4."
    )
    timezone: validators.TimeZone = Field(
        "UTC", description="The server's time zone, as Europe/Berlin: lateness is judged by it."
    )

    @field_validator("until")
    @classmethod
    def _after_start(cls, until: str, info: ValidationInfo) -> str:
        if "start" in info.data and until <= info.data["start"]:
            raise ValueError(f"must be later than from ({info.data['start']}); a night needs two days' schedule")
        return until

    def starts(self, customer: str) -> tuple[int, ...]:
        """Minutes after midnight at which exports start, moved by the id so that customers do not all call at once."""
        first, last = _minutes(self.start), _minutes(self.until)
        moved = zlib.crc32(customer.encode()) % min(60, self.every_minutes, last - first)
        return tuple(range(first + moved, last + 1, self.every_minutes))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class Take(Table):
    """Which kinds of recipients are taken: `[exchange.take]`. With blanks a key is the reason that reports count."""

    internal_only: bool = Field(
        False, description="Those who take mail from senders Exchange knows alone, as most groups since 2007."
    )
    system_objects: bool = Field(False, description="Exchange's own: system and audit log mailboxes, role groups.")
    arbitration_mailboxes: bool = Field(False, description="Exchange's own, for moderation, migration, federation.")
    discovery_mailboxes: bool = Field(False, description="Exchange's own, for what searches find.")
    health_mailboxes: bool = Field(False, description="Exchange's own, for monitoring (HealthMailbox...).")
    mailbox_plans: bool = Field(False, description="Patterns that mailboxes are made after.")
    public_folder_mailboxes: bool = Field(
        False, description="Those that hold public folders; the folders with an address are always taken."
    )
    hidden: bool = Field(True, description="Those in no address list. They get mail like all others.")
    disabled: bool = Field(
        True,
        description="Those whose account nobody can log in to. Shared, room, equipment and linked mailboxes are never "
        "counted among them, but for those that Exchange 2000 or 2003 made.",
    )
    contacts: bool = Field(
        True, description="Those whose mail goes on to somewhere else; that address of theirs is never taken."
    )

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds that are not taken, as a report names them."""
        return tuple(name.replace("_", " ") for name, taken in self if not taken)


class Ssh(Table):
    """How the server is reached over SSH: `[exchange.ssh]`."""

    address: validators.Host | None = Field(None, description="Where we connect; ~/.ssh/config applies to it.")
    user: validators.WindowsUser | None = Field(
        None, description=r"Who we log in as: an administrator there, `bob` or `ACME\bob`."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Left out: ~/.ssh/config decides, then 22.")


class Ldap(Table):
    """How an LDAP directory is asked: `[exchange.ldap]`."""

    servers: tuple[validators.LdapServer, ...] = Field(
        min_length=1,
        description="As `ldaps://dc1.acme.example:3269`, the first one that answers whole counts. Port left out: 636; "
        "3269 is the global catalog of Active Directory, the whole forest. Plain LDAP is refused.",
    )
    base: validators.DirectoryText = Field(
        description="Below which entry people are, as DC=acme,DC=example; empty where the server takes it for all."
    )
    bind_dn: validators.DirectoryName = Field(
        description="Who asks: a DN, or in Active Directory NAME@DOMAIN; with a keytab its principal. The password "
        "lies on the host that asks, in bind.password, and nowhere here."
    )
    attributes: tuple[validators.Attribute, ...] = Field(
        ("proxyAddresses",),
        min_length=1,
        description="Those that hold addresses. A value without TYPE: in front is an internet address.",
    )
    filter: validators.SearchFilter | None = Field(
        None, description="Which entries are asked for. Left out: all that have one of attributes."
    )
    page_size: int = Field(
        500, ge=0, le=10_000, description="Entries asked for at once; 0 for servers that know no paging."
    )
    ca: validators.UnixFile = Field(
        "ca.pem",
        description="File on that host with the CA of the servers' certificates, in PEM; a name: in directory.",
    )
    pins: tuple[validators.Pin, ...] = Field(
        (),
        alias="pin",
        description="The key that a server must have besides, as `sha256:BASE64`, or several, one for each server.",
    )

    @field_validator("pins", mode="before")
    @classmethod
    def _one_or_several(cls, pins: object) -> object:
        return (pins,) if isinstance(pins, str) else pins

    @property
    def default_filter(self) -> str:
        """The filter that finds whoever has one of the attributes."""
        each = "".join(f"({name}=*)" for name in self.attributes)
        return each if len(self.attributes) == 1 else f"(|{each})"

    @property
    def finds_addresses_alone(self) -> bool:
        """Return whether only who has one of the attributes is asked for; written by hand it is the same filter."""
        return self.filter is None or validators.presences(self.filter) == {name.casefold() for name in self.attributes}


class Online(Table):
    """How Exchange Online is asked: `[exchange.online]`."""

    organization: validators.Organization = Field(description="The tenant's first domain, as acme.onmicrosoft.com.")
    app_id: validators.AppId = Field(description="Application (client) ID of the app registration; docs/sources.md.")
    thumbprint: validators.Thumbprint | None = Field(
        None, description="The certificate in the store of the Windows machine that asks."
    )
    certificate: validators.UnixFile | None = Field(
        None, description="On a Linux host instead: the certificate in PEM; a name: in directory."
    )
    key: validators.UnixFile | None = Field(
        None, validate_default=True, description="And its private key in PEM, without a password, 0600."
    )
    environment: Literal["O365Default", "O365China", "O365USGovGCCHigh", "O365USGovDoD", "O365GermanyCloud"] = Field(
        "O365Default", description="Which of Microsoft's clouds."
    )

    @field_validator("key")
    @classmethod
    def _windows_or_linux(cls, key: str | None, info: ValidationInfo) -> str | None:
        if {"thumbprint", "certificate"} <= info.data.keys():
            thumbprint, certificate = info.data["thumbprint"], info.data["certificate"]
            if (key is None) != (certificate is None) or (key is None) == (thumbprint is None):
                raise ValueError("must be given with certificate (Linux), or thumbprint alone (Windows)")
        return key


class Exchange(Table):
    """The customer's end: `[exchange]`."""

    source: Source = Field("exchange-5.5", description="What the list is exported from; docs/sources.md.")
    online: Online | None = Field(None, validate_default=True, description="How Exchange Online is asked.")
    server: validators.ServerName = Field(
        description="The server that is asked. exchange-5.5: ADMIN's DirectoryService; csvde: a global catalog; "
        "powershell: an Exchange server, only where the one that exports has no Exchange of its own. ldap, "
        "exchange-online: the machine that asks, as messages should call it; may be left out there."
    )
    install: validators.WindowsPath = Field(
        r"C:\exchsrvr", description=r"exchange-5.5: where Exchange lives; `bin\admin.exe` is below it."
    )
    directory: str = Field(
        r"C:\userexport",
        description="Where our files go; a folder without blanks in its path. Left out on Linux: /opt/userexport.",
    )
    basepoint: str | None = Field(
        None,
        validate_default=True,
        description="Where in the directory the export starts. exchange-5.5: must be given, /o=ORGANISATION for all of "
        "it, spelled as Exchange does; csvde: DC=acme,DC=example for a domain and those below it, left out the "
        "server's own; powershell: always all of the forest; ldap: base in [exchange.ldap]; "
        "exchange-online: always all of the tenant.",
    )
    reach: Reach = Field(
        "kit",
        description="How files get there: `kit`, in a folder that somebody carries; `ssh`, to Windows' own OpenSSH, or "
        "to the Linux host of ldap or exchange-online, with Python 3.9 or later.",
    )
    client: Client = Field("plink", description="The SSH client that uploads; docs/clients.md. On Linux: openssh.")
    key_type: Literal["ed25519", "rsa"] = Field("ed25519", description="rsa only for PuTTY before 0.68.")
    addresses: tuple[validators.KeyFrom, ...] = Field(
        min_length=1,
        description='Where uploads come from (from= of the key): addresses or networks, IPv6 too; "any" must be said.',
    )
    ssh: Ssh = Field(Ssh(), validate_default=True, description="How it is reached.")
    ldap: Ldap | None = Field(None, validate_default=True, description="How the directory is asked.")
    schedule: Schedule = Field(Schedule(), description="When the server exports.")
    take: Take = Field(Take(), description="Which kinds of recipients are taken.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_source(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        server, online = SERVERS.get(str(given.get("source"))), given.get("online")
        on_linux = given.get("source") == "ldap" or (isinstance(online, dict) and "certificate" in online)
        return {**({"server": server} if server else {}), **(POSIX_DEFAULTS if on_linux else {}), **given}

    @property
    def is_posix(self) -> bool:
        """Return whether the host that exports is a POSIX one, and no Windows."""
        return _is_posix(self.source, self.online)

    @field_validator("online")
    @classmethod
    def _where_it_is_the_source(cls, online: Online | None, info: ValidationInfo) -> Online | None:
        is_source = info.data.get("source") == "exchange-online"
        if is_source and online is None:
            raise ValueError("must be given for exchange-online: organization, app_id and a certificate")
        if not is_source and online is not None and "source" in info.data:
            raise ValueError('must be left out, or source = "exchange-online" be said')
        return online

    @field_validator("directory")
    @classmethod
    def _path_of_the_system(cls, directory: str, info: ValidationInfo) -> str:
        if _is_posix(info.data.get("source"), info.data.get("online")):
            return validators.unix_path(directory)
        return validators.plain_windows_path(directory)

    @field_validator("ldap")
    @classmethod
    def _where_ldap_is_the_source(cls, ldap: Ldap | None, info: ValidationInfo) -> Ldap | None:
        is_source = info.data.get("source") == "ldap"
        if is_source and ldap is None:
            raise ValueError("must be given for ldap: servers, base and bind_dn")
        if not is_source and ldap is not None and "source" in info.data:
            raise ValueError('must be left out, or source = "ldap" be said')
        return ldap

    @field_validator("basepoint")
    @classmethod
    def _of_the_source(cls, basepoint: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source")
        if source == "exchange-5.5" and basepoint is None:
            raise ValueError("must be given for exchange-5.5: /o= and the organisation's name as Exchange shows it")
        if source == "powershell" and basepoint is not None:
            raise ValueError("must be left out for powershell, which asks for all of the forest")
        if source == "exchange-online" and basepoint is not None:
            raise ValueError("must be left out for exchange-online, which asks for all of the tenant")
        if source == "ldap" and basepoint is not None:
            raise ValueError("must be left out for ldap, which has base in [exchange.ldap]")
        if basepoint is None or source is None:
            return basepoint
        return validators.domain_root(basepoint) if source == "csvde" else validators.base_point(basepoint)

    @field_validator("client")
    @classmethod
    def _runs_where_it_is_reached(cls, client: str, info: ValidationInfo) -> str:
        if _is_posix(info.data.get("source"), info.data.get("online")) and client != "openssh":
            raise ValueError(f"must be openssh, or left out, for {info.data['source']} on Linux")
        if client == "securecrt" and info.data.get("reach") == "ssh":
            raise ValueError("wants somebody at the server, who makes its key and takes the relays': reach must be kit")
        return client

    @property
    def copies_files(self) -> bool:
        """Return whether its client cannot send to a command: the list goes into a drop, from where it is collected."""
        return self.client == "securecrt"

    @field_validator("ssh")
    @classmethod
    def _as_it_is_reached(cls, ssh: Ssh, info: ValidationInfo) -> Ssh:
        reach = info.data.get("reach")
        if reach == "ssh" and (ssh.address is None or ssh.user is None):
            raise ValueError('must say address and user, as reach is "ssh"')
        if reach == "kit" and ssh != Ssh():
            raise ValueError('must be left out, or reach = "ssh" be said')
        return ssh

    @field_validator("take")
    @classmethod
    def _is_told(cls, take: Take, info: ValidationInfo) -> Take:
        if info.data.get("source") == "exchange-5.5" and take != Take():
            raise ValueError("must be left out for exchange-5.5: its export does not tell kinds; exclude works for all")
        return take

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds of recipients that are left out, as far as the source tells kinds."""
        return () if self.source == "exchange-5.5" else self.take.left_out

    @field_validator("addresses")
    @classmethod
    def _any_stands_alone(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if validators.ANYWHERE in addresses and len(addresses) > 1:
            raise ValueError(f"must be {validators.ANYWHERE!r} alone, or addresses without it")
        return addresses


def _is_posix(source: object, online: Online | None) -> bool:
    return source == "ldap" or (online is not None and online.certificate is not None)


class Guard(Table):
    """When a list is held until an operator accepts it: `[guard]`."""

    shrink_percent: float = Field(
        10.0,
        ge=0,
        le=100,
        description="Held when more than this share would go, over all or in one domain, and more than shrink_floor.",
    )
    shrink_floor: int = Field(2, ge=0, description="So many may always go, whatever share that is.")
    growth_factor: float = Field(
        3.0, ge=1, description="Held when it grows more than this many times and by more than 100."
    )
    max_recipients: Count = Field(100_000, description="Held when it has more recipients than this.")
    max_megabytes: int = Field(
        64, ge=1, le=4096, description="An export larger than this is refused unread (1 MB is 1,048,576 bytes)."
    )
    no_additions_days: int = Field(
        0, ge=0, description="An alarm tells when the list has gained nobody for so many days; 0: none does."
    )


class Customer(Table):
    """One customer, a file of customers/; the file's stem is the permanent id."""

    given: ClassVar[frozenset[str]] = frozenset({"id", "keys", "host_keys", "opened", "followers"})
    id: validators.CustomerId
    keys: tuple[Key, ...] = ()  # oldest first; all open the gate, the batch prefers the last
    host_keys: tuple[str, ...] = ()  # of the server, where it is reached over SSH: "TYPE BLOB", from known_hosts
    opened: Opened | None = None  # a person had all its domains opened, from opened/
    followers: frozenset[str] = frozenset()  # those of its relays that take no uploads

    name: validators.Line = Field(
        max_length=100, description="What people call the customer; may change, the id may not."
    )
    domains: tuple[validators.Domain, ...] = Field(
        min_length=1, description="The domains that are theirs; of an internationalised one, either form."
    )
    partial: tuple[validators.Domain, ...] = Field(
        (), description="Those with mailboxes elsewhere too: they stay open, nothing in them is ever rejected."
    )
    relays: tuple[validators.RelayName, ...] = Field(min_length=1, description="The relays that take their mail.")
    next_hop: validators.NextHop | None = Field(
        None,
        description='Where their mail goes on, as relay:[203.0.113.25]:25; or "mx": where the MX records say. '
        "Left out only where transport_maps or relayhost of the relay has a route.",
    )
    exclude: tuple[validators.Pattern, ...] = Field(
        (),
        description="Who must get no mail from outside: a local part in any domain, or a shell pattern on the address.",
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
    open_after_days: Count = Field(30, description="A list nobody refreshed for so long opens its domains again.")
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
