"""The rows of one customer in the store, read and written within a transaction of the caller's."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from receiver.formatting import DAY
from receiver.lists import history, list_file, removed_addresses, upload_log
from receiver.lists.removed_addresses import Removal
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.store.connection import Connection, Unreached
from receiver.store.head import Head, Tip, decode_head, digest, encode_head
from receiver.store.in_force import News
from receiver.store.relay_heads import find_list
from receiver.system import atomic_files

PART = 2 << 20  # bytes of a list in one statement, which psycopg2 writes as twice as many
LISTS = ("lists", "lists_anew")  # the second takes what a damaged page of the first cannot hold
LOGGED = 50  # entries of the log that a relay which was away reads


class FoundHead(NamedTuple):
    """The store's head of a customer, as it was read."""

    head: Head | None = None  # None: none that can be read
    wrong: str = ""  # why not


def lock_row(connection: Connection, customer: str) -> None:
    """Lock the customer's row until the transaction ends, after making an empty one where it is missing."""
    connection.ask(
        "INSERT INTO postern.heads (customer, head, digest) VALUES (%s, '', '') ON CONFLICT DO NOTHING", (customer,)
    )
    connection.ask("SELECT 1 FROM postern.heads WHERE customer = %s FOR UPDATE", (customer,))
    connection.step("locked")


def read_head(connection: Connection, customer: str) -> FoundHead:
    """Return the head that the store has. Raises NewerFormat."""
    rows = connection.ask("SELECT head, digest FROM postern.heads WHERE customer = %s", (customer,))
    if not rows or not rows[0][0]:
        return FoundHead(wrong="the store has no list of this customer")
    text, name = rows[0]
    if digest(connection.settings.id, customer, text) != name:
        return FoundHead(wrong="its row in the store is damaged")
    try:
        return FoundHead(decode_head(text))
    except ValueError as error:
        return FoundHead(wrong=f"its row in the store cannot be read: {error}")


def read_list(connection: Connection, customer: str, name: str) -> bytes | None:
    """Return a list by its SHA-256; None: it is damaged, or gone."""
    found = (_read_from(connection, table, customer, name) for table in LISTS)
    return next((text for text in found if text is not None), None)


def _read_from(connection: Connection, table: str, customer: str, name: str) -> bytes | None:
    parts = connection.ask_anyway(
        table, "SELECT part FROM {} WHERE customer = %s AND hash = %s ORDER BY part", (customer, name)
    )
    unpack, text = zlib.decompressobj(), b""
    with suppress(zlib.error):
        for (part,) in parts or ():
            body = _read_part(connection, table, customer, name, part)
            text += unpack.decompress(body, list_file.LIMIT - len(text) + 1)
        if parts and list_file.digest(text) == name:
            return text
    return None


def _read_part(connection: Connection, table: str, customer: str, name: str, part: int) -> bytes:
    statement = "SELECT body FROM {} WHERE customer = %s AND hash = %s AND part = %s"
    rows = connection.ask_anyway(table, statement, (customer, name, part))
    return bytes(rows[0][0]) if rows else b""


def pack_text(text: bytes) -> tuple[bytes, ...]:
    """Return a list as the parts that are written: made before the row is locked, as it takes a while."""
    packed = zlib.compress(text, 1)
    return tuple(packed[start : start + PART] for start in range(0, len(packed), PART))


def write_list(connection: Connection, customer: str, name: str, parts: Iterable[bytes]) -> None:
    """Write a list, over a damaged one too; beside it, where its page cannot be written. Raises Unreached."""
    rows = [
        (customer, name, number, connection.driver.Binary(part), list_file.digest(part))
        for number, part in enumerate(parts)
    ]
    if not any(_write_to(connection, table, rows) for table in LISTS):
        raise Unreached(f"the database can write to none of its tables {' and '.join(LISTS)}")


def _write_to(connection: Connection, table: str, rows: Iterable[Sequence[object]]) -> bool:
    statement = (
        "INSERT INTO {} (customer, hash, part, body, digest) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (customer, hash, part) DO UPDATE SET body = excluded.body, digest = excluded.digest"
    )
    return all(connection.ask_anyway(table, statement, row) is not None for row in rows)


def has_list(connection: Connection, customer: str, name: str) -> bool:
    """Return whether the store has a list, undamaged as far as its server can tell: no byte of it travels."""
    return any(_has_whole(connection, table, customer, name) for table in LISTS)


def _has_whole(connection: Connection, table: str, customer: str, name: str) -> bool:
    statement = "SELECT bool_and(encode(sha256(body), 'hex') = digest) FROM {} WHERE customer = %s AND hash = %s"
    rows = connection.ask_anyway(table, statement, (customer, name))
    return rows is not None and rows[0][0] is True


def write_head(connection: Connection, customer: str, head: Head) -> None:
    """Write a head into the row that the caller has locked. Raises Unreached where the row went away."""
    text = encode_head(head)
    name = digest(connection.settings.id, customer, text)
    rows = connection.ask(
        "UPDATE postern.heads SET head = %s, digest = %s, updated = clock_timestamp() WHERE customer = %s RETURNING 1",
        (text, name, customer),
    )
    if not rows:
        raise Unreached("the customer's row went away")
    connection.step("written")


def write_log(connection: Connection, customer: str, point: str, entry: LogEntry) -> None:
    """Write the log entry of a point, once."""
    connection.ask_anyway(
        "log",
        "INSERT INTO {} (customer, point, hash, entry) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (customer, point, entry.list, json.dumps(upload_log.encode_entry(entry))),
    )


def read_log(connection: Connection, customer: str, points: Iterable[str]) -> dict[str, LogEntry]:
    """Return the entries of some points, the oldest first."""
    asked = list(points)[:LOGGED]
    statement = "SELECT point, entry FROM {} WHERE customer = %s AND point = ANY(%s) ORDER BY n"
    found = {}
    for point, text in connection.ask_anyway("log", statement, (customer, asked)) or ():
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            fields = json.loads(text)
            atomic_files.encode_json(fields)  # ValueError for half a character, which no file can hold
            found[point] = upload_log.decode_entry(fields)
    return found


def write_removals(connection: Connection, customer: str, removals: Mapping[str, Removal]) -> None:
    """Write who left, and when, in one statement."""
    if not removals:
        return
    names = sorted(removals)
    columns = ([getattr(removals[name], field) for name in names] for field in ("when", "entry", "is_by_person"))
    connection.ask_anyway(
        "gone",
        "INSERT INTO {} (customer, address, happened, entry, by_person) "
        "SELECT %s, * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::boolean[]) "
        "ON CONFLICT (customer, address) DO UPDATE SET happened = excluded.happened, entry = excluded.entry, "
        "by_person = excluded.by_person",
        (customer, names, *columns),
    )


def read_removals(connection: Connection, customer: str, since: int) -> dict[str, Removal]:
    """Return who left since an epoch second."""
    rows = connection.ask_anyway(
        "gone",
        "SELECT address, happened, entry, by_person FROM {} WHERE customer = %s AND happened >= %s",
        (customer, since),
    )
    return {address: Removal(when, entry, by_person) for address, when, entry, by_person in rows or ()}


def forget_lists(connection: Connection, customer: str, names: Iterable[str]) -> None:
    """Delete lists that no head names and that are not among the last ten of the log."""
    logged = connection.ask_anyway(
        "log",
        "SELECT hash FROM {} WHERE customer = %s GROUP BY hash ORDER BY max(n) DESC LIMIT %s",
        (customer, history.KEEPS),
    )
    if logged is None:
        return
    staying = [*names, *(name for (name,) in logged)]
    for table in LISTS:
        connection.ask_anyway(table, "DELETE FROM {} WHERE customer = %s AND NOT hash = ANY(%s)", (customer, staying))


def tip_of(connection: Connection, customer: str, found: FoundHead, here: bytes | None) -> tuple[Tip | None, str]:
    """Return a head with its list, and what is wrong; `here` is the list by that name on this relay."""
    if found.head is None:
        return None, found.wrong
    text = read_list(connection, customer, found.head.list) if here is None else here
    if text is None:
        return None, f"its list {found.head.list[:12]} in the store is damaged"
    return Tip(found.head, text), ""


def read_news(connection: Connection, spool: Spool, head: Head) -> News:
    """Return what a relay that takes this head must know besides it."""
    points = [head.point, *(each.point for each in head.past)]
    log = read_log(connection, spool.customer, points)
    since = int(time.time()) - removed_addresses.DAYS * DAY
    removals = read_removals(connection, spool.customer, since)
    held, review = (
        find_list(spool, name) or read_list(connection, spool.customer, name) or b"" if name else b""
        for name in (head.held_list, head.review)
    )
    return News(log, removals, held, review)
