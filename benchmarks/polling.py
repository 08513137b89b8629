"""Followers as clients of the store alone: what a minute of their looks costs them and the database."""

from __future__ import annotations

import os
import random
import resource
import socket
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from common.paths import Places
from receiver.lists import list_file
from receiver.lists.accepted import Accepted
from receiver.store import rows
from receiver.store.connection import Connection
from receiver.store.follow import find_changed
from receiver.store.head import Behind, Head, digest, encode_head, new_point
from receiver.store.settings import StoreSettings
from tests.support.postgres import READER, STORE, Postgres

MINUTE = 60  # seconds
HOUR = 60  # minutes, in which each customer uploads once
LISTED = 500  # addresses of a customer: 50,000,000 of 100,000 customers
PAST = 1_000  # points that lie behind the head of a customer who has been there for a while
BATCH = 100  # customers in one statement
LOOKS = 20  # that are timed alone
_TICK = os.sysconf("SC_CLK_TCK")
_TCP_INFO = 136  # bytes, of which the last eight are what was received
_HEARTBEAT = (
    "INSERT INTO postern.relays (name, role, release, seen) VALUES (%s, 'follower', 'x', clock_timestamp()) "
    "ON CONFLICT (name) DO UPDATE SET seen = excluded.seen"
)


class Polled(NamedTuple):
    """What a minute came to."""

    clients: int
    customers: int
    changed: int  # of them
    database: float  # seconds of its processors
    followers: float  # seconds of the processors of all followers
    idle: float  # seconds that a look takes when nothing changed, the median
    busy: float  # and when `changed` customers did
    whole: float  # and a look at every customer, which each follower takes every ten minutes
    received: int  # bytes by all followers
    seen_after: list[float]  # seconds from the change until each follower had it
    refused: int  # looks that the database did not let in
    heads: int  # bytes that the heads of all customers take on its disk
    lists: int  # and one list of each


class Client:
    """One follower, which has no spool."""

    def __init__(self, places: Places, name: str, customers: Sequence[str]) -> None:
        """Nothing is connected yet."""
        self.places, self.name, self.customers = places, name, customers
        self.settings = StoreSettings(STORE, is_upload_relay=False)

    def look(self, since: float, fresh: frozenset[str]) -> int:
        """Look once as `postern follow` does; the bytes that came. `fresh`: whose list it has not."""
        with Connection(self.places, self.settings, lambda _: None) as connection:
            _, names = find_changed(connection, self.customers, int(since))
            for name in names:
                with connection.read_transaction():
                    head = rows.read_head(connection, name).head
                    if head and name in fresh:
                        rows.read_list(connection, name, head.list)
                        rows.read_log(connection, name, [head.point])
                        rows.read_removals(connection, name, 0)
            with connection.write_transaction():
                connection.ask(_HEARTBEAT, (self.name,))
            with closing(socket.socket(fileno=os.dup(connection.raw.fileno()))) as own:
                info = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
                return int(struct.unpack_from("Q", info, _TCP_INFO - 8)[0])


def measure(clients: int, customers: int) -> Polled:
    """Run so many followers for a minute, each in its own second, over so many customers."""
    names = [f"c{number}" for number in range(customers)]
    changed = max(1, customers // HOUR)
    with _database() as (server, places):
        _fill(server, names)
        heads, lists = (_size(server, table) for table in ("heads", "lists"))
        crowd = [Client(places, f"mx{number}", names) for number in range(clients)]
        fresh = frozenset(names[:changed])
        began, before = _change(server, names, changed), _processors(server)
        mine = _own_processor()
        with ThreadPoolExecutor(clients) as side:
            looks = list(side.map(lambda client: _look_in_its_second(client, began, fresh), crowd))
        database, followers = _processors(server) - before, _own_processor() - mine
        busy = _median_seconds(LOOKS, lambda: crowd[0].look(began - 1, fresh))
        whole = _median_seconds(1, lambda: crowd[0].look(0.0, frozenset()))
        _change(server, names, 0)
        idle = _median_seconds(LOOKS, lambda: crowd[0].look(time.time() - 1, frozenset()))
    let_in = [look for look in looks if look]
    received, after = sum(size for size, _ in let_in), [seconds for _, seconds in let_in]
    return Polled(
        clients=clients,
        customers=customers,
        changed=changed,
        database=database,
        followers=followers,
        idle=idle,
        busy=busy,
        whole=whole,
        received=received,
        seen_after=after,
        refused=len(looks) - len(let_in),
        heads=heads,
        lists=lists,
    )


@contextmanager
def _database() -> Iterator[tuple[Postgres, Places]]:
    """A database, and the files of a follower that knows it."""
    server = Postgres()
    try:
        server.migrate()
        with tempfile.TemporaryDirectory(prefix="postern-bench-") as folder:
            places = Places(f"{folder}/etc", f"{folder}/var")
            for path in (places.store, places.run):
                Path(path).mkdir(parents=True)
            (Path(places.store) / "service.conf").write_text(server.service(READER))
            yield server, places
    finally:
        server.remove()


def _size(server: Postgres, table: str) -> int:
    return int(server.sql("SELECT pg_total_relation_size(%s)", (f"postern.{table}",))[0][0])


def _fill(server: Postgres, names: Sequence[str]) -> None:
    dice = random.Random(21)
    past = tuple(Behind(new_point(), number) for number in range(PAST))
    for start in range(0, len(names), BATCH):
        some = names[start : start + BATCH]
        texts = [
            list_file.encode_recipients(f"{dice.randbytes(6).hex()}@{name}.example" for _ in range(LISTED))
            for name in some
        ]
        lists = [list_file.digest(text) for text in texts]
        heads = [
            encode_head(Head(new_point(), PAST, each, Accepted({f"{name}.example": 1}), past))
            for name, each in zip(some, lists, strict=True)
        ]
        bodies = [zlib.compress(text, 1) for text in texts]
        server.sql(
            "INSERT INTO postern.heads (customer, head, digest) SELECT * FROM unnest(%s::text[], %s, %s)",
            (list(some), heads, [digest(STORE, name, head) for name, head in zip(some, heads, strict=True)]),
        )
        server.sql(
            "INSERT INTO postern.lists (customer, hash, part, body, digest) "
            "SELECT a, b, 0, c, d FROM unnest(%s::text[], %s, %s, %s) AS x(a, b, c, d)",
            (list(some), lists, bodies, [list_file.digest(body) for body in bodies]),
        )
    server.script("VACUUM ANALYZE")


def _change(server: Postgres, names: Sequence[str], changed: int) -> float:
    """Mark so many as changed now, and as many a minute ago, seen again by each look; return the database's clock."""
    server.sql("UPDATE postern.heads SET updated = clock_timestamp() - interval '1 hour'")
    for minutes, some in ((0, names[:changed]), (1, names[changed : 2 * changed])):
        later = f"clock_timestamp() - interval '{minutes} minutes'"
        server.sql(f"UPDATE postern.heads SET updated = {later} WHERE customer = ANY(%s)", (list(some),))
    return float(server.sql("SELECT extract(epoch FROM clock_timestamp())")[0][0])


def _look_in_its_second(client: Client, began: float, fresh: frozenset[str]) -> tuple[int, float] | None:
    """Look in the second that the timer of a relay of this name has; the bytes, and the seconds since the change."""
    time.sleep((crc32(client.name.encode()) % MINUTE - time.time()) % MINUTE)
    try:
        received = client.look(began - 1, fresh)
    except Exception:  # noqa: BLE001 (whatever it was, this one comes again in a minute)
        return None
    return received, time.time() - began


def _median_seconds(count: int, look: Callable[[], object]) -> float:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        look()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def _own_processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _processors(server: Postgres) -> float:
    """What the database has used, by processes that ended too: its first one has waited for them."""
    main = (server.data / "postmaster.pid").read_text().split()[0]
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in (main, *children)) / _TICK


def _stat(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
