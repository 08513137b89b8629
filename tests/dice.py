"""Seeds for tests that make up their own input: a few for every run, the rest where there is time."""

import pytest


def seeds(count: int) -> list[object]:
    """Give `count` of them; those after the first eight are slow together, if not alone."""
    return [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 8 else []) for seed in range(count)]
