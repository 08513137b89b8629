"""The store: from an upload's end to the last follower's SMTP answer, and what many followers cost the database."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from zlib import crc32

from benchmarks import exports, polling, relays
from benchmarks.measuring import Spread, figure
from benchmarks.polling import MINUTE, Polled
from benchmarks.report import Answer, Plot, Table, Target
from lab.host import LabHost
from lab.operators import MARK, OUTSIDE, Operator
from lab.waiting import HANGS
from tests.support.postgres import STORE, Postgres

CUSTOMER, HELD = "acme", 3
POSTERN = "/usr/local/sbin/postern"
LIMITS = ((10_000, 65), (1_000_000, 75))  # addresses, seconds to the last follower
CREDENTIALS = {"OWNER": "owner:o-secret", "WRITER": "w secret", "READER": "r secret"}
HOW = """\
An upload relay, {followers} followers and PostgreSQL on this machine; fsync of the database is off. Each follower runs
`postern follow` in its own second of the minute, as its timer does. An upload brings one new address among
{addresses:,}; measured is the time from the upload's end until the follower answers 250 for it by SMTP. The last of the
first N followers is what N followers take: all share the processors of this one machine. {larger}

{clients} simulated followers are clients of the same database, by the receiver's own code: each connects with TLS and
SCRAM, asks which of {customers:,} customers changed, takes head and list ({listed} addresses) of those that did,
and writes its heartbeat. An hour's uploads of all customers are spread evenly, so {changed} changed in a minute."""


class Took(NamedTuple):
    """After how many seconds a follower answered."""

    whole: float  # since the end of the upload
    look: float  # since the beginning of the look that brought it: without the wait for its second


class Size(NamedTuple):
    """How much of it."""

    followers: int
    addresses: int
    larger: int  # addresses of the list that one follower takes; 0: none
    repeats: int
    clients: int
    customers: int


FULL = Size(20, 10_000, 1_000_000, 3, 200, 1_000)
QUICK = Size(2, 100, 0, 1, 4, 60)


def measure(quick: bool) -> Answer:
    """Measure it."""
    size = QUICK if quick else FULL
    took = _measure_followers(size.followers, size.addresses, size.repeats)
    larger = _measure_followers(1, size.larger, 1) if size.larger else []
    polled = polling.measure(size.clients, size.customers)
    lasts = {count: [max(one.whole for one in each[:count]) for each in took] for count in _counts(size.followers)}
    aimed = dict(LIMITS)
    targets = [
        Target(says=f"{addresses:,} addresses, to the last of {count} followers", found=found, limit=limit, unit="s")
        for addresses, count, found, limit in _aimed_spreads(size, lasts, larger, aimed)
    ]
    times: list[tuple[float | str, Spread]] = [(count, Spread.of(found)) for count, found in lasts.items()]
    return Answer(
        title="Many relays, one store",
        how=HOW.format(
            followers=size.followers,
            addresses=size.addresses,
            larger=f"One follower takes a list of {size.larger:,} in the same way." if size.larger else "",
            clients=size.clients,
            customers=size.customers,
            listed=polling.LISTED,
            changed=polled.changed,
        ),
        targets=tuple(targets),
        tables=(_times(took, larger, size), _cost(polled)),
        plot=Plot(
            title="From the end of an upload to the last follower's answer",
            x="followers",
            y="seconds",
            lines={
                "real": times,
                "simulated": [(count, Spread.of([max(polled.seen_after[:count])])) for count in _counts(size.clients)],
            },
            log="x",
        ),
        notes=NOTES,
    )


NOTES = """\
A follower looks once a minute, so up to 60 s of it are waiting for its second: an upload that ends at another moment
finds its last follower after 60 s and the longest look at most. A simulated follower builds no table: what it lacks of
a real one is the time that `rebuild-relay-recips` takes there (see [building](#building))."""


def _counts(followers: int) -> list[int]:
    return [count for count in (1, 2, 5, 10, 20, 50, 100, 200) if count <= followers]


def _aimed_spreads(
    size: Size, lasts: dict[int, list[float]], larger: list[list[Took]], aimed: dict[int, int]
) -> Iterator[tuple[int, int, Spread, int]]:
    if size.addresses in aimed:
        yield size.addresses, size.followers, Spread.of(lasts[size.followers]), aimed[size.addresses]
    if size.larger in aimed:
        yield size.larger, 1, Spread.of(each[0].whole for each in larger), aimed[size.larger]


def _times(took: list[list[Took]], larger: list[list[Took]], size: Size) -> Table:
    rows = [_time(size.addresses, count, took) for count in _counts(size.followers)]
    rows += [_time(size.larger, 1, larger)] if larger else []
    says = "From the end of an upload to the last follower's SMTP answer:"
    return Table(says=says, columns=("addresses", "followers", "whole", "the longest look"), rows=tuple(rows))


def _time(addresses: int, count: int, took: list[list[Took]]) -> tuple[str, ...]:
    lasts = (max(one.whole for one in each[:count]) for each in took)
    looks = (max(one.look for one in each[:count]) for each in took)
    return f"{addresses:,}", f"{count}", Spread.of(lasts).text("s"), Spread.of(looks).text("s")


def _cost(polled: Polled) -> Table:
    rows = (
        ("processor of the database, s", figure(polled.database)),
        ("processor of all followers, s", figure(polled.followers)),
        ("one look without a change, ms", figure(polled.idle * 1000)),
        ("one look with what changed, ms", figure(polled.busy * 1000)),
        ("a look at every customer, each ten minutes, s", figure(polled.whole)),
        ("received by all followers, MB", figure(polled.received / 1e6)),
        ("heads on the database's disk, kB a customer", figure(polled.heads / polled.customers / 1e3)),
        ("a list there, kB a customer", figure(polled.lists / polled.customers / 1e3)),
        ("looks that the database refused", f"{polled.refused}"),
    )
    says = f"A minute of {polled.clients} followers, {polled.changed} customers changed:"
    return Table(says=says, columns=("", ""), rows=rows)


def _measure_followers(followers: int, addresses: int, repeats: int) -> list[list[Took]]:
    """Return, for each round, after how many seconds each follower answered, in their order."""
    with ExitStack() as stack:
        hosts = stack.enter_context(relays.started(1 + followers))
        fleet = Fleet(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postern-bench-"))), hosts, addresses)
        stack.callback(fleet.database.remove)
        return [fleet.bring(number) for number in range(repeats)]


class Fleet:
    """An upload relay whose first list is accepted, its followers, and what they share."""

    def __init__(self, folder: Path, hosts: Sequence[LabHost], addresses: int) -> None:
        """Provision all, send the first list and accept it."""
        self.database = Postgres()
        self.upload, *self.followers = hosts
        self.operator, self.folder, self.addresses = Operator(folder), folder, addresses
        names = [f"mx{number}" for number, _ in enumerate(hosts)]
        for name, host in zip(names, hosts, strict=True):
            self.operator.relay(name, host, role="upload" if host is self.upload else "follower")
        guard = {"max_recipients": 10_000_000, "max_megabytes": 1_000}
        self.operator.customer(CUSTOMER, domains=list(exports.DOMAINS), guard=guard, relays=names)
        self._name_store()
        with mock.patch.dict(os.environ, {f"POSTERN_STORE_{name}": word for name, word in CREDENTIALS.items()}):
            self.operator.done(f"provision {CUSTOMER}")
        self._send("first", HELD)
        accept = re.search(r"accept \S+ --first .*", self.operator.done(f"review {CUSTOMER}").out)
        assert accept
        self.operator.done(accept[0])
        with ThreadPoolExecutor(4) as side:
            list(side.map(_follow, self.followers))

    def _name_store(self) -> None:
        (self.operator.inventory / "store-ca.pem").write_text((self.database.folder / "ca.pem").read_text())
        where = f"localhost:{self.database.port}/postgres?sslmode=verify-full&sslrootcert=store-ca.pem"
        store = f'[store]\nurl = "postgresql://{where}"\nid = "{STORE}"\n'
        (self.operator.inventory / "provider.toml").write_text(store)

    def _send(self, name: str, code: int = 0) -> None:
        export = exports.write(self.folder / "export.txt", self.addresses, [name], MARK)
        argv = [*self.operator.client("ssh", self.upload, CUSTOMER), f"postern@{self.upload.address}", "receive"]
        ran = self.operator.call(argv, export.read_bytes())
        assert ran.code == code, ran.text

    def bring(self, number: int) -> list[Took]:
        """Upload a list with a new address; return when each follower takes it, each at its own second."""
        name = f"new{number}"
        with ThreadPoolExecutor(len(self.followers)) as side:
            waits = [
                side.submit(_wait, host, f"{name}@{exports.DOMAINS[0]}", crc32(f"mx{place}".encode()) % MINUTE)
                for place, host in enumerate(self.followers, 1)
            ]
            self._send(name)
            began = time.monotonic()
            ends = [wait.result() for wait in waits]
        return [Took(ended - began, ended - looked) for looked, ended in ends]


def _wait(host: LabHost, address: str, second: int) -> tuple[float, float]:
    """Run a follower's timer until it takes the address; return when that look began, and when it did."""
    until = time.monotonic() + HANGS
    while time.monotonic() < until:
        time.sleep((second - time.time()) % MINUTE)
        looked = time.monotonic()
        _follow(host)
        if host.ask(address, from_address=OUTSIDE).startswith("250"):
            return looked, time.monotonic()
    raise AssertionError(f"{host.name} never took {address}")


def _follow(host: LabHost) -> None:
    host.run(POSTERN, "follow")
