"""The exit codes of every command and every answer of a relay, and which one stands for several."""

from __future__ import annotations

from collections.abc import Iterable

DONE = 0
PERSON = 1  # status: something needs a person
REFUSED = 2  # the call, or what was sent, is wrong
HELD = 3  # by the guard
FAILED = 4  # something here did not work
PROOF = 5
PENDING = 6  # a dry run: it would change something
BUSY = 75  # try again

WORST_FIRST = (FAILED, PROOF, REFUSED, HELD, BUSY, PERSON, PENDING, DONE)


def worst(codes: Iterable[int]) -> int:
    """Return one exit code for several runs. A code that is none of ours counts as FAILED; no run at all is DONE."""
    ours = {code if code in WORST_FIRST else FAILED for code in codes}
    return next((code for code in WORST_FIRST if code in ours), DONE)
