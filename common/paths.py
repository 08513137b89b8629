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
        """Return root's directory of a customer: settings, keys, domains and routes."""
        return os.path.join(self.etc, "customers", customer)

    def spool(self, customer: str) -> str:
        """Return the directory in which account `postern` keeps a customer's lists."""
        return os.path.join(self.var, "customers", customer)

    def drop(self, customer: str) -> str:
        """Return the directory of a customer's SFTP inbox."""
        return os.path.join(self.drops, customer)

    @property
    def drops(self) -> str:
        """Return the directory of the SFTP inboxes of all customers."""
        return os.path.join(self.var, "drop")

    def opened(self, customer: str) -> str:
        """Return the marker by which root holds all of a customer's domains open, whatever lists and dates say."""
        return os.path.join(self.etc, "opened", f"{customer}.json")

    @property
    def tables(self) -> str:
        """Return the directory in which root builds what Postfix looks up."""
        return os.path.join(self.etc, "tables")

    @property
    def store(self) -> str:
        """Return root's directory of how this relay reaches the store; a relay without a store has none."""
        return os.path.join(self.etc, "store")

    @property
    def run(self) -> str:
        """Return the account's directory of what belongs to no customer: slots for parsing, alarms already raised."""
        return os.path.join(self.var, "run")


PLACES = Places()
"""The places on every relay; tests use others."""
