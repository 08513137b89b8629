"""A parameter of main.cf that takes in a list of ours."""

from __future__ import annotations

from typing import NamedTuple

from common.main_cf_params import RECIPIENTS


class Reference(NamedTuple):
    """A parameter that takes in a list of ours."""

    place: str  # where it stands, with its value
    list: str  # which of the three

    def is_harmless(self, others: bool) -> bool:
        """Return whether no mail is treated differently: our recipients come into another list of recipients.

        `others`: the table that lets everybody else's recipients pass goes into the list as well.
        """
        name = self.place.partition(" = ")[0].rpartition(" ")[2]
        return self.list == RECIPIENTS and not others and name.endswith(("_mailbox_maps", "local_recipient_maps"))
