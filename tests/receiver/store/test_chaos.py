"""Random rounds with the real receiver and a real PostgreSQL. Seeds that once failed are kept in SEEDS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.chaos import JOURNAL, World
from tests.support.postgres import Postgres

pytestmark = [
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
    pytest.mark.slow,
]
TURNS = 12
SEEDS = (1, 2, 1111)
ROUNDS = range(int(os.environ.get("POSTERN_CHAOS_FROM", "1000")), int(os.environ.get("POSTERN_CHAOS_TO", "1200")))


@pytest.fixture(scope="module")
def server(server: Postgres) -> Postgres:
    """Return the database, with a journal of all that is written to it."""
    server.sql(JOURNAL)
    return server


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_lost_whatever_goes_wrong(tmp_path: Path, server: Postgres, seed: int) -> None:
    _play(tmp_path, server, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", ROUNDS)
def test_nobody_is_lost_in_two_hundred_rounds(tmp_path: Path, server: Postgres, seed: int) -> None:
    _play(tmp_path, server, seed)


def _play(folder: Path, server: Postgres, seed: int) -> None:
    world = World(folder, server, seed)
    for _ in range(TURNS):
        world.turn()
    world.settle()
