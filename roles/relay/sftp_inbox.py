"""What a relay has for customers whose client only copies files: an account each, which can write one file."""

from __future__ import annotations

from collections.abc import Iterator

from common import names
from common.paths import PLACES
from deploy.items import Item, account, file
from inventory.model import Customer
from templates import render

SPARE = 1024  # kilobytes a file may be larger than an export


def upload_account_item(customer: Customer) -> Item:
    """Return the account. It is locked into its home, which the build makes fit for that."""
    return account(customer.upload_account, home=PLACES.drop(customer.id), shell="/usr/sbin/nologin")  # noqa: S604


def confinement(customer: Customer) -> Iterator[Item]:
    """Yield what confines it: how large its file may become, then what sshd lets it do, without which it has no key."""
    most = customer.guard.max_megabytes * 1024 + SPARE
    yield file(_limits(customer.id), f"{customer.upload_account} hard fsize {most}\n", about=customer.id)
    facts = {
        "customer": customer.id,
        "account": customer.upload_account,
        "tree": PLACES.tree(customer.id),
        "drop": PLACES.drop(customer.id),
    }
    piece = {"content": render("relay/sshd_config.j2", **facts), "in force": True}
    yield Item("sshd", _piece(customer.id), piece, customer.id)


def no_inbox(customer_id: str) -> Iterator[Item]:
    """Yield that a customer has no such account, or no longer."""
    yield Item("sshd", _piece(customer_id), None, customer_id)
    yield file(_limits(customer_id), None, about=customer_id)
    yield Item("account", names.upload_account(customer_id), None, customer_id)


def _piece(customer_id: str) -> str:
    return f"/etc/ssh/sshd_config.d/postern-{customer_id}.conf"


def _limits(customer_id: str) -> str:
    return f"/etc/security/limits.d/postern-{customer_id}.conf"
