"""Where DNS sends a customer's mail: an installed `host` or `dig` is asked, as Postern speaks no DNS itself."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence

from inventory.model import Customer, Relay

PROGRAMS = {  # in this order; both wait a few seconds, once
    "host": ("-W", "3", "-R", "1", "-t", "MX"),
    "dig": ("+short", "+time=3", "+tries=1", "-t", "MX"),
}
SECONDS = 20  # for one domain, with several name servers in resolv.conf
# "acme.example mail is handled by 10 mx1.example." of host, "10 mx1.example." of dig
_RECORD = re.compile(r"^(?:\S+ mail is handled by )?(\d+) (\S*\.)$", re.MULTILINE)


class NotLookedUp(Exception):
    """The MX records could not be looked up, which no operator can mend; str() says why."""


def describe_mx_records(customer: Customer, relays: Sequence[Relay]) -> Iterator[str]:
    """Yield what DNS says of each domain, and which of these relays it names; or that nobody looked, and why."""
    names = ", ".join(relay.name for relay in relays)
    try:
        for domain in customer.domains:
            hosts = mx_hosts(domain)
            still = [relay.name for relay in relays if any(is_same_machine(host, relay.address) for host in hosts)]
            here = f": mail for it still comes to {', '.join(still)}" if still else ""
            yield f"MX records of {domain}: {', '.join(hosts) or 'none'}{here}"
    except NotLookedUp as why:
        yield f"its MX records were not looked up ({why}); they should name none of {names}"


def mx_hosts(domain: str) -> list[str]:
    """Return the hosts of a domain's MX records, the preferred first. Raises NotLookedUp."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise NotLookedUp(f"neither {' nor '.join(PROGRAMS)} is installed here")
    name = program.rpartition("/")[2]
    try:
        argv = [program, *PROGRAMS[name], domain]
        ran = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotLookedUp(f"{name} gave no answer about {domain}: {error}") from error
    is_unknown = "not found: 3(NXDOMAIN)" in ran.stdout
    if ran.returncode and not is_unknown:
        said = (ran.stdout + ran.stderr).strip().splitlines()[-1:] or [f"it ended with {ran.returncode}"]
        raise NotLookedUp(f"{name} gave no answer about {domain}: {said[0][:200]}")
    records = sorted((int(preference), host.rstrip(".").lower()) for preference, host in _RECORD.findall(ran.stdout))
    return [host for _, host in records if host]  # a lone dot is: no mail at all (RFC 7505)


def is_same_machine(host: str, address: str) -> bool:
    """Return whether an MX host and a relay's address have the name or an IP address in common."""
    return host == address.lower() or bool(_addresses(host) & _addresses(address))


def _addresses(host: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, 25, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()
