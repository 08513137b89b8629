"""Seeds for tests that make up their own input: a few for each run, more for a run that has time."""

import pytest

FAST, USUAL = 8, 20
"""How many seeds `./inv test --fast` and `./inv test` take."""


def seeds(count: int) -> list[object]:
    """Return the cases of `parametrize`: `count` seeds, the later ones slow or long."""
    return [pytest.param(seed, marks=_marks(seed)) for seed in range(count)]


def _marks(seed: int) -> list[pytest.MarkDecorator]:
    if seed < FAST:
        return []
    return [pytest.mark.slow if seed < USUAL else pytest.mark.long]
