"""How customers, their keys and their upload accounts are named."""

from __future__ import annotations

import re

CUSTOMER = re.compile(r"[a-z][a-z0-9-]{0,30}")
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
ACCOUNT_PREFIX = "postern-"


def upload_account(customer: str) -> str:
    """Return the account by which a client that can only copy files uploads a customer's export."""
    return ACCOUNT_PREFIX + customer
