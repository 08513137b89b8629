"""What the customer's Exchange server must have: the batch file and all it needs, but not the private key."""

from __future__ import annotations

import base64
import functools
import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deploy.items import Item, access, file, task
from inventory.model import Customer, Provider, Relay
from roles import posix_host
from templates import names, render, render_own

LONGEST_LINE = 2047  # of NT 4's cmd.exe
README = "README.txt"
_END_MARK = "endmark.txt"
_INSIDE = ("export.bat.j2", "check.bat.j2", "upload.bat.j2", "proof.txt.j2", "README.txt.j2")
"""Of a source's or a client's folder: what becomes part of another file, or of a command."""
_BY_HAND = ("README.txt.j2", "install.bat.j2", "schedule.bat.j2")  # of use only where somebody carries the files
_TASK = "schedule.xml"
_AT_DAYS = {"MON": "M", "TUE": "T", "WED": "W", "THU": "Th", "FRI": "F", "SAT": "S", "SUN": "Su"}
_WEEKDAYS = {
    "MON": "Monday",
    "TUE": "Tuesday",
    "WED": "Wednesday",
    "THU": "Thursday",
    "FRI": "Friday",
    "SAT": "Saturday",
    "SUN": "Sunday",
}


class _Exporter(NamedTuple):
    """The program that writes a source's export."""

    program: str
    end_mark: str = _END_MARK  # what makes its export complete: our file, or one it writes with rows and SHA-256
    witness: str = _END_MARK  # the file by which the batch knows that its folder is complete


_EXPORTERS = {
    "exchange-5.5": _Exporter("admin.exe"),
    "csvde": _Exporter("csvde.exe"),
    "powershell": _Exporter("powershell.exe", end_mark="exchusers.end", witness="runexport.ps1"),
    "exchange-online": _Exporter("powershell.exe", end_mark="exchusers.end", witness="runexport.ps1"),
}


class _Client(NamedTuple):
    """The program that sends."""

    program: str
    key_ends: str = ""  # how the name of the key file it reads ends


_CLIENTS = {
    "plink": _Client("plink.exe", key_ends=".ppk"),
    "openssh": _Client("ssh.exe"),
    "securecrt": _Client("vsh.exe"),
}


class KitPages(NamedTuple):
    """The provider and the templates for a kit's README.txt."""

    provider: Provider | None = None  # who "we" are
    templates: Path | None = None  # folder with templates of the operator's own; None: ours


OUR_PAGES = KitPages()


def key_file(customer: Customer, key_name: str) -> str:
    """Return the name of a private key's file in the customer's directory."""
    return f"exchupdate-{key_name}{_CLIENTS[customer.exchange.client].key_ends}"


def items(customer: Customer, relays: Sequence[Relay], kit: int = 0, pages: KitPages = OUR_PAGES) -> Iterator[Item]:
    """Yield what the customer's directory must have, names relative to it. It has a key, each relay host keys.

    A kit has files, and a number that its uploads name; 0: none, as some relay may not know that word yet. Where we
    reach the server, it has closed its directory and keys to others, and runs our task.
    """
    if not customer.keys:
        raise ValueError(f"{customer.id} has no key on record: there is nothing to upload with")
    if customer.exchange.is_posix:
        yield from posix_host.items(customer, _shared_facts(customer, relays, kit, pages))
        return
    facts, own = _facts(customer, relays, kit, pages), pages.templates
    files = {
        name: render_own(own, template, **facts) if own and name == README else render(template, **facts)
        for name, template in _templates(customer)
    }
    reached = customer.exchange.reach == "ssh"
    if reached:
        yield access(".", about=customer.id)
    yield from (file(name, text, about=customer.id) for name, text in files.items())
    if reached:
        yield from (access(key_file(customer, key.name), about=customer.id) for key in customer.keys)
        yield task(task_name(customer), _TASK, files[_TASK], about=customer.id)


def scripts(customer: Customer, relays: Sequence[Relay]) -> dict[str, str]:
    """Return, by name, the files of a kit without a number that do something: all but the page for people."""
    if customer.exchange.is_posix:
        found = posix_host.items(customer, _shared_facts(customer, relays, 0, OUR_PAGES))
        return {one.name: (one.wanted or {})["content"] for one in found if one.kind == "file" and one.name != README}
    facts = _facts(customer, relays, 0, OUR_PAGES)
    return {name: render(template, **facts) for name, template in _templates(customer) if name != README}


def _templates(customer: Customer) -> Iterator[tuple[str, str]]:
    """Yield the name of each file on Windows, and the template that it is made from."""
    parts = f"windows/{customer.exchange.source}", f"windows/clients/{customer.exchange.client}"
    beside = [f"{part}/{name}" for part in parts for name in names(part) if name not in _INSIDE]
    shared = [f"windows/{name}" for name in names("windows")]
    unused = [*_unused_options(customer)]
    for template in (*beside, *shared):
        name = template.rpartition("/")[2]
        if name not in unused:
            yield name.removesuffix(".j2"), template


def task_name(customer: Customer) -> str:
    """Return the name of the task by which Windows runs the batch.

    On a POSIX host, of the systemd unit or cron's file.
    """
    if customer.exchange.is_posix:
        return posix_host.unit(customer)
    return f"Postern {customer.id}"


def key_test_command(customer: Customer, relay: Relay, key_name: str) -> tuple[str, ...]:
    """Return the words of a command, run at the customer's end, by which a relay says which key logged in."""
    if customer.exchange.is_posix:
        return posix_host.key_test_command(customer, _upload_to(relay), key_file(customer, key_name))
    facts = {
        "directory": customer.exchange.directory,
        "folder": customer.exchange.directory.replace("\\", "/"),
        "key": key_file(customer, key_name),
        "relay": _upload_to(relay),
    }
    return tuple(render(f"windows/clients/{customer.exchange.client}/proof.txt.j2", **facts).splitlines())


def blockers(customer: Customer, relays: Sequence[Relay]) -> list[str]:
    """Return what keeps a batch file that works from being written."""
    found = [
        f"{relay.name}: its host keys are not on record; `inv trust {relay.name}` records them"
        for relay in relays
        if not relay.host_keys
    ]
    if customer.exchange.client == "securecrt":
        found += [
            f"{relay.name}: how vcp and vsh are told a port is not known, so uploads must go to port 22 of it"
            for relay in relays
            if relay.uploads_to[1] != 22
        ]
    if customer.keys and not found and not customer.exchange.is_posix:
        batch = render("windows/runexport.bat.j2", **_facts(customer, relays, 0, OUR_PAGES))
        longest = max(map(len, batch.splitlines()))
        if longest > LONGEST_LINE:
            found.append(
                f"runexport.bat: a line of {longest} characters; NT 4's cmd.exe takes {LONGEST_LINE}: pin fewer keys"
            )
    return found


def _unused_options(customer: Customer) -> Iterator[str]:
    """Yield the templates that this customer does not need."""
    if customer.exchange.reach != "kit":
        yield from _BY_HAND
    if _EXPORTERS[customer.exchange.source].end_mark != _END_MARK:
        yield f"{_END_MARK}.j2"


def _facts(customer: Customer, relays: Sequence[Relay], kit: int, pages: KitPages) -> Mapping[str, Any]:
    exchange, schedule = customer.exchange, customer.exchange.schedule
    every = schedule.every_minutes
    exporter = _EXPORTERS[exchange.source]
    return {
        **_shared_facts(customer, relays, kit, pages),
        "install": exchange.install,
        "server": exchange.server,
        "basepoint": exchange.basepoint,
        "online": exchange.online,
        "exporter": exporter.program,
        "end_mark": exporter.end_mark,
        "witness": exporter.witness,
        "export": f"windows/{exchange.source}/export.bat.j2",
        "source_readme": f"windows/{exchange.source}/README.txt.j2",
        "sender": _CLIENTS[exchange.client].program,
        "check": f"windows/clients/{exchange.client}/check.bat.j2",
        "upload": f"windows/clients/{exchange.client}/upload.bat.j2",
        "client_readme": f"windows/clients/{exchange.client}/README.txt.j2",
        "account": customer.upload_account,
        "marks": [f"mark{number}" for number in range(1, -(-120 // every) + 1)],
        "task": task_name(customer),
        "every_minutes": every,
        "at_days": ",".join(_AT_DAYS[day] for day in schedule.days),
        "weekdays": [_WEEKDAYS[day] for day in schedule.days],
    }


def _shared_facts(customer: Customer, relays: Sequence[Relay], kit: int, pages: KitPages) -> Mapping[str, Any]:
    """Return what the files say on any system."""
    exchange, schedule = customer.exchange, customer.exchange.schedule
    by_name = {relay.name: relay for relay in relays}
    starts = schedule.starts(customer.id)
    return {
        "customer": customer.id,
        "kit_word": f" kit={kit}" if kit else "",
        "provider": pages.provider,
        "templates": pages.templates,
        "domains": customer.domains,
        "directory": exchange.directory,
        "addresses": exchange.addresses,
        "keys": [key_file(customer, key.name) for key in reversed(customer.keys)],
        "key_type": exchange.key_type,
        "relays": [_upload_to(by_name[name]) for name in customer.upload_relays],
        "times": [f"{start // 60:02}:{start % 60:02}" for start in starts],
        "days": schedule.days,
    }


@functools.cache  # many customers upload to a few relays
def _fingerprint(key: str) -> Mapping[str, str]:
    """A host key as people compare it: SecureCRT shows MD5 before it showed SHA-256."""
    kind, blob = key.split()
    content = base64.b64decode(blob)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return {"type": kind, "md5": ":".join(textwrap.wrap(md5, 2)), "sha256": f"SHA256:{sha256}"}


def _upload_to(relay: Relay) -> Mapping[str, Any]:
    """Where a relay takes uploads, and its host keys: whole, and as blobs, the one form PuTTY takes since 0.64."""
    host, port = relay.uploads_to
    return {
        "name": relay.name,
        "host": host,
        "port": port,
        "fingerprints": [_fingerprint(key) for key in relay.host_keys],
        "known_as": host if port == 22 else f"[{host}]:{port}",
        "public_keys": relay.host_keys,
        "host_keys": [key.split()[1] for key in relay.host_keys],
    }
