"""Names of the files of a customer's spool that not only the receiver reads, and how large a list may be."""

from __future__ import annotations

RECIPIENTS = "recipients"
ACCEPTED = "accepted.json"
HELD = "held/why.json"
PINNED = "pinned.json"
KEYS = "keys.json"
LAST_RUN = "last-run.json"
LAST_EXPORT = "last-export.json"
ASKING = "asking.json"
BEGUN = "begun.json"
UNVERIFIED = "unproven.json"
REFUSAL_ALARMS = "refusal-alarms.json"
HEADS_IN_FORCE = "heads-in-force.json"
FOLLOW = "follow.json"  # of no customer: it lies in Places.run
TIMER = "timer.json"  # as well: when the timer ran last, what it found of the relay, and whether that could be told

SMALL = 4 << 20  # bytes of a JSON file of a spool that are read: some name each of twenty thousand domains three times
LATEST = 253_402_300_799  # epoch seconds: the end of year 9999, after which nothing can be printed as a date
_EACH = 321  # bytes of a list for each recipient a customer may have: many more than its lines have on average


def most_bytes(max_recipients: int) -> int:
    """Return how many bytes of a list are read where a customer may have so many recipients."""
    return max_recipients * _EACH
