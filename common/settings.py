"""What the roles write on a relay and the receiver reads there: one class each, used on both sides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from common.paths import Places

MEGABYTE = 1 << 20  # bytes
FORMAT = 1  # of the two JSON files; the receiver also reads the format of the release before
UNLISTED = ("refuse", "defer", "ask")  # 550; 450; what the customer's own server says


class BadSettings(Exception):
    """A settings file is missing, damaged, or of a release this one cannot read. The text says which and why."""


class Settings(NamedTuple):
    """One customer's settings: `customers/ID/settings.json` and, for `exclude`, `exclude-users.txt` beside it."""

    customer: str
    format: str  # the export's source, which names its module in receiver/upload/formats
    domains: tuple[str, ...]  # lower case; an internationalised one as its A-label (xn--...)
    unicode: Mapping[str, str] = {}  # A-label: U-label, for the domains that have both
    partial: tuple[str, ...] = ()  # domains with mailboxes elsewhere too: never closed
    include: tuple[str, ...] = ()
    canaries: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()  # patterns of exclude-users.txt, comments gone
    leave_out: tuple[str, ...] = ()  # kinds of recipients, in words of receiver.upload.recipient_types
    open_after_days: int = 30
    shrink_percent: float = 10.0
    shrink_floor: int = 2
    growth_factor: float = 3.0
    max_recipients: int = 100_000
    max_megabytes: int = 64  # of an export, 1 MB = 1,048,576 bytes
    no_additions_days: int = 0  # without a new address, after which an alarm is raised; 0: never
    drop: bool = False  # its client only copies files: verb `collect` takes the list from the customer's SFTP inbox
    days: str = ""  # of the customer's schedule, as MON TUE; in words, as the next, so that a plan shows short lines
    starts: str = ""  # of its exports on each of them, as 07:05 08:05
    timezone: str = "UTC"  # of both
    ldap_attributes: tuple[str, ...] = ()  # of source ldap: those that hold addresses
    ldap_filter_is_default: bool = True  # so that only who has one of them was asked for
    ldap_paged: bool = True  # the server was asked for pages
    closed_by: Mapping[str, str] = {}  # A-label: who closes it while its list is adopted; see common.adopted_domains
    unlisted: str | None = None  # what an address gets that is not listed: a word of UNLISTED; None: refuse
    plus_addresses: bool | None = None  # user+tag@ is taken where user@ is; None: from the first export that says so

    def text(self) -> str:
        """Return the content of settings.json, without the exclusions: exclude-users.txt alone has them."""
        return _text({key: value for key, value in self._asdict().items() if key != "exclude"})


class RelaySettings(NamedTuple):
    """The settings of a relay, the same for all its customers: `/etc/postern/relay.json`."""

    config_directory: str
    table_type: str
    alarm: tuple[str, ...] = ()  # argv of the operator's choice; the alarm's text goes to its stdin
    metrics: str = "/var/lib/postern/metrics"

    def text(self) -> str:
        """Return the content of relay.json."""
        return _text(self._asdict())


def list_customers(places: Places) -> list[str]:
    """Return the customers that have a tree here, sorted. Raises OSError."""
    names = os.listdir(os.path.join(places.etc, "customers"))
    return sorted(name for name in names if not name.startswith("."))  # with a dot: a tree that is being changed


def load_settings(places: Places, customer: str) -> Settings:
    """Read one customer's tree. Raises BadSettings."""
    where = places.tree(customer)
    fields = _fields(os.path.join(where, "settings.json"), Settings)
    try:
        with open(os.path.join(where, "exclude-users.txt"), encoding="utf-8") as lines:
            patterns = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    except (OSError, ValueError) as error:
        raise BadSettings(f"{where}/exclude-users.txt: {error}") from error
    return Settings(**{**fields, "exclude": patterns})


def load_all_settings(places: Places) -> list[Settings]:
    """Return every customer's settings, without those that are damaged: the timer raises an alarm for each of these."""
    found = []
    for name in list_customers(places):
        with suppress(BadSettings):
            found.append(load_settings(places, name))
    return found


def load_relay(places: Places) -> RelaySettings:
    """Read the relay's own settings. Raises BadSettings."""
    return RelaySettings(**_fields(os.path.join(places.etc, "relay.json"), RelaySettings))


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps({"postern": FORMAT, **fields}, indent=2, ensure_ascii=False) + "\n"


def _fields(path: str, kind: Any) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        if fields.pop("postern") not in (FORMAT, FORMAT - 1):
            raise BadSettings(f"{path}: not of a format this release of Postern reads; provision this relay again")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadSettings(f"{path}: {type(error).__name__}: {error}") from error
    read = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    known = {name: value for name, value in read.items() if name in kind._fields}
    missing = [name for name in kind._fields if name not in known and name not in kind._field_defaults]
    if missing:
        raise BadSettings(f"{path}: lacks {', '.join(missing)}; provision this relay again")
    return known
