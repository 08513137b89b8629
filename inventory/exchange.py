"""The customer's end, `[exchange]` of its file: where the export is made, what it takes, when it runs."""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator, model_validator

from inventory import validators
from inventory.sources import SERVERS, Ldap, Online, Source
from inventory.table import Table

Client: TypeAlias = Literal["plink", "openssh", "securecrt"]
"""Each a folder of templates/windows/clients."""
Reach: TypeAlias = Literal["kit", "ssh"]
POSIX_DEFAULTS = {"directory": "/opt/userexport", "client": "openssh"}
"""What holds on a POSIX host where the file says nothing."""


class Schedule(Table):
    """The schedule of the customer's exports, in its server's own time: `[exchange.schedule]`."""

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
    """The types of recipients that are listed: `[exchange.take]`.

    With blanks a key is the reason that reports count.
    """

    internal_only: bool = Field(
        False, description="Recipients that accept mail from authenticated senders only, as most groups since 2007."
    )
    system_objects: bool = Field(False, description="Exchange's own: system and audit log mailboxes, role groups.")
    arbitration_mailboxes: bool = Field(False, description="Exchange's own, for moderation, migration, federation.")
    discovery_mailboxes: bool = Field(False, description="Exchange's own, for what searches find.")
    health_mailboxes: bool = Field(False, description="Exchange's own, for monitoring (HealthMailbox...).")
    mailbox_plans: bool = Field(False, description="Templates that mailboxes are made from.")
    public_folder_mailboxes: bool = Field(
        False, description="Those that hold public folders; the folders with an address are always taken."
    )
    hidden: bool = Field(True, description="Recipients in no address list. They get mail like all others.")
    disabled: bool = Field(
        True,
        description="Those whose account nobody can log in to. Shared, room, equipment and linked mailboxes are never "
        "counted among them, but for those that Exchange 2000 or 2003 made.",
    )
    contacts: bool = Field(
        True, description="Contacts, whose mail goes on to another address; that other address is never listed."
    )

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds that are not taken, as a report names them."""
        return tuple(name.replace("_", " ") for name, taken in self if not taken)


class Ssh(Table):
    """How the server is reached over SSH: `[exchange.ssh]`."""

    address: validators.Host | None = Field(None, description="Where `inv` connects; ~/.ssh/config applies to it.")
    user: validators.WindowsUser | None = Field(
        None, description=r"The user that `inv` logs in as: an administrator on that machine, `bob` or `ACME\bob`."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Left out: ~/.ssh/config decides, then 22.")


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
        description="The folder of Postern's files on that machine; a path without blanks. "
        "Left out on Linux: /opt/userexport.",
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
        description="How files get to that machine: `kit`, in a folder that somebody carries; `ssh`, "
        "to Windows' own OpenSSH, or "
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
        _check_belongs(online is not None, "exchange-online", "organization, app_id and a certificate", info)
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
        _check_belongs(ldap is not None, "ldap", "servers, base and bind_dn", info)
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
        """Return whether its client only copies files: the list goes into an SFTP inbox and is taken from there."""
        return self.client == "securecrt"

    @field_validator("ssh")
    @classmethod
    def _as_it_is_reached(cls, ssh: Ssh, info: ValidationInfo) -> Ssh:
        reach = info.data.get("reach")
        if reach == "ssh" and (ssh.address is None or ssh.user is None):
            raise ValueError('must say address and user, as reach is "ssh"')
        if reach == "kit" and ssh != Ssh():
            raise ValueError('must be left out: it belongs to reach = "ssh"')
        return ssh

    @field_validator("take")
    @classmethod
    def _where_kinds_are_known(cls, take: Take, info: ValidationInfo) -> Take:
        if info.data.get("source") == "exchange-5.5" and take != Take():
            raise ValueError("must be left out for exchange-5.5: its export does not tell kinds; exclude works for all")
        return take

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds of recipients that are left out, as far as the source has kinds."""
        return () if self.source == "exchange-5.5" else self.take.left_out

    @field_validator("addresses")
    @classmethod
    def _any_stands_alone(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if validators.ANYWHERE in addresses and len(addresses) > 1:
            raise ValueError(f"must be {validators.ANYWHERE!r} alone, or addresses without it")
        return addresses


def _check_belongs(is_given: bool, owner: str, what: str, info: ValidationInfo) -> None:
    """Raise ValueError where a table is not given for the source that it belongs to, or is given for another one."""
    source = info.data.get("source")
    if source == owner and not is_given:
        raise ValueError(f"must be given for {owner}: {what}")
    if source not in (owner, None) and is_given:
        raise ValueError(f'must be left out: it belongs to source = "{owner}"')


def _is_posix(source: object, online: Online | None) -> bool:
    return source == "ldap" or (online is not None and online.certificate is not None)
