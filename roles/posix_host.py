"""What the customer's end must have where it is a POSIX host: runexport.sh and what it needs, but no private key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.items import Item, file, schedule
from inventory.model import Customer
from inventory.sources import Ldap
from templates import names, render, render_own

_SCRIPTS = ("runexport.sh", "schedule.sh")
_INSIDE = ("export.sh.j2", "README.txt.j2")  # of a source's folder: what becomes part of another file
_UNITS = ("service", "timer", "cron")
_CRON_DAYS = {"MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6, "SUN": 0}
_TIMER_DAYS = {"MON": "Mon", "TUE": "Tue", "WED": "Wed", "THU": "Thu", "FRI": "Fri", "SAT": "Sat", "SUN": "Sun"}


def unit(customer: Customer) -> str:
    """Return the name of the systemd unit, or of cron's file, that runs the export."""
    return f"postern-{customer.id}"


def items(customer: Customer, shared: Mapping[str, Any]) -> Iterator[Item]:
    """Yield what the customer's directory must have, names relative to it; where we reach the host, its schedule too.

    `shared` is what the files say on any system.
    """
    facts = {**shared, **_facts(customer)}
    files = {name: (render(f"posix/{name}.j2", **facts), "0700") for name in _SCRIPTS}
    files["known_hosts"] = (render("posix/known_hosts.j2", **facts), "0600")
    files |= {f"{unit(customer)}.{kind}": (render(f"posix/postern.{kind}.j2", **facts), "0644") for kind in _UNITS}
    for name in names(f"posix/{customer.exchange.source}"):
        if name not in _INSIDE:
            content = render(f"posix/{customer.exchange.source}/{name}", **facts)
            files[name.removesuffix(".j2")] = (content, "0600")
    if customer.exchange.reach == "kit":
        own, template = facts["templates"], "posix/README.txt.j2"
        files["README.txt"] = (render_own(own, template, **facts) if own else render(template, **facts), "0644")
    yield from (file(name, text, mode=mode, about=customer.id) for name, (text, mode) in files.items())
    if customer.exchange.reach == "ssh":
        yield schedule(unit(customer), about=customer.id)


def key_test_command(customer: Customer, relay: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the words of a command, run at the customer's end, by which a relay says which key logged in."""
    facts = {"directory": customer.exchange.directory, "relay": relay, "key": key}
    return tuple(render("posix/proof.txt.j2", **facts).splitlines())


def _facts(customer: Customer) -> Mapping[str, Any]:
    ldap, days = customer.exchange.ldap, customer.exchange.schedule.days
    return {
        "unit": unit(customer),
        "export": f"posix/{customer.exchange.source}/export.sh.j2",
        "source_readme": f"posix/{customer.exchange.source}/README.txt.j2",
        "online": customer.exchange.online,
        **(_ldap_facts(ldap) if ldap else {}),
        "timer_days": ",".join(_TIMER_DAYS[day] for day in days),
        "cron_days": ",".join(str(_CRON_DAYS[day]) for day in days),
    }


def _ldap_facts(ldap: Ldap) -> Mapping[str, Any]:
    return {
        "servers": ldap.servers,
        "base": ldap.base,
        "bind_dn": ldap.bind_dn,
        "filter": ldap.filter or ldap.default_filter,
        "attributes": ldap.attributes,
        "page_size": ldap.page_size,
        "ca": ldap.ca,
        "pins": ldap.pins,
    }
