"""Where Postern's files lie on a relay."""

from __future__ import annotations

import os
from typing import NamedTuple

LIBRARY = "/usr/local/lib/postern"  # where the receiver is installed
RECEIVE = "/usr/local/sbin/postern-receive"  # the forced command
POSTERN = "/usr/local/sbin/postern"
REBUILD = "/usr/local/sbin/rebuild-relay-recips"
DROPPED = "exchusers.txt"  # the one file in an SFTP inbox


class Places(NamedTuple):
    """The two directories everything of ours lives in: root's, and the account's."""

    etc: str = "/etc/postern"
    var: str = "/var/lib/postern"

    def tree(self, customer: str) -> str:
        """Where root keeps what the customer may do."""
        return os.path.join(self.etc, "customers", customer)

    def spool(self, customer: str) -> str:
        """Where account `postern` keeps the customer's lists."""
        return os.path.join(self.var, "customers", customer)

    def drop(self, customer: str) -> str:
        """Where a client that only copies files puts the customer's list."""
        return os.path.join(self.drops, customer)

    @property
    def drops(self) -> str:
        """Where the SFTP inboxes of all customers are."""
        return os.path.join(self.var, "drop")

    def opened(self, customer: str) -> str:
        """Where root marks that all of the customer's domains are open, whatever lists and dates say."""
        return os.path.join(self.etc, "opened", f"{customer}.json")

    @property
    def tables(self) -> str:
        """Where root builds what Postfix looks up."""
        return os.path.join(self.etc, "tables")

    @property
    def store(self) -> str:
        """Where root keeps how this relay reaches the store; it is not there where there is none."""
        return os.path.join(self.etc, "store")

    @property
    def run(self) -> str:
        """The account's own small things that belong to no customer: parse slots, alarms already raised."""
        return os.path.join(self.var, "run")


PLACES = Places()
"""On every relay; only tests have others."""
