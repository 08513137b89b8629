"""The tables, and the order in which new ones are put in the place of those in force."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from receiver.outcome import Failed
from receiver.tables import disk_room, postmap, table_contents, unlisted
from receiver.tables.manifest import Manifest
from receiver.tables.postmap import Postmap
from receiver.tables.table import Table

_READ = ("plus", *unlisted.TEXTS)  # texts that may change while exchange_recipients does not
_TURN = 0.5  # seconds after a reload until nobody new asks the old trivial-rewrite


def find_stale_tables(tables: str, record: Manifest, wanted: Sequence[Table], kind: str) -> dict[str, str]:
    """Return the tables that must be built, each with the reason."""
    found = {table.name: record.find_fault(tables, table, kind) for table in wanted}
    return {name: why for name, why in found.items() if why}


def install_tables(tables: str, record: Manifest, wanted: Sequence[Table], maker: Postmap) -> Manifest:
    """Build all changed tables beside the old ones, and only then put them in force. Raises Failed and OSError.

    Killed anywhere, it leaves tables that go together, and the next run goes on.
    """
    due = set(find_stale_tables(tables, record, wanted, maker.type))
    for text, built in (("others", "relay_domains"), ("odd", "exchange_recipients")):
        if text in due:  # a running smtpd sees that a built table was renamed, not that a text was
            due |= {built}
    is_touched = record.is_modified(tables)
    postmap.remove_drafts(tables)
    try:
        before, opens = set(read_installed(tables, "relay_domains")), bool(due & {*_READ}) and _opens(tables, wanted)
        steps = [table for table in order_renames(wanted, before, opens) if table.name in due]
        disk_room.check(tables, (table.text for table in steps), maker.config_directory)
        drafts = [
            maker.build_draft(tables, table, record.read_installed_table(tables, table, maker.type)) for table in steps
        ]
        for table, draft in zip(steps, drafts):
            is_news = table.name == "relay_domains" and set(read_installed(tables, table.name)) != _keys(table)
            draft.install()
            record = record.with_table(tables, table, maker.type, draft)
            if is_news:
                reload_postfix(tables, maker.config_directory)
        if is_touched or due & {*_READ}:  # an smtpd that began without a table, or with an old text, goes on with it
            reload_postfix(tables, maker.config_directory)
    finally:
        postmap.remove_drafts(tables)
    return record


def find_refusal(tables: str, wanted: Sequence[Table], maker: Postmap) -> str:
    """Return why postmap refuses one of these tables; empty where it builds them. The built files are removed."""
    try:
        for table in wanted:
            maker.build_draft(tables, table)
    except postmap.Refused as error:
        return str(error)
    finally:
        postmap.remove_drafts(tables)
    return ""


def order_renames(wanted: Sequence[Table], before: set[str], opens: bool = False) -> list[Table]:
    """Return the renames in the order in which no domain is ours without its addresses and its route.

    What says which domains are ours, `others` and relay_domains after it, goes first for domains that go and last for
    those that come; where there are both, it first says only what stays. The texts come before exchange_recipients,
    whose rename makes every smtpd read all of them anew; but where that `opens` a domain it is open before the texts
    say that nobody in it is to be deferred or asked about any more.
    """
    *texts, recipients, transport, others, ours = wanted
    first = [recipients, *texts, transport] if opens else [*texts, recipients, transport]
    after = _keys(ours)
    if not before - after:
        return [*first, others, ours]
    if not after - before:
        return [others, ours, *first]
    staying = sorted(before & after)
    return [
        table_contents.compose_others(staying),
        table_contents.compose_relay_domains(staying),
        *first,
        others,
        ours,
    ]


def _opens(tables: str, wanted: Sequence[Table]) -> bool:
    """Return whether a domain is going to be listed whole that is not listed whole now."""
    coming = {key for table in wanted if table.name == "exchange_recipients" for key in table.keys if key[:1] == b"@"}
    with suppress(FileNotFoundError), open(os.path.join(tables, "exchange_recipients"), "rb") as file:
        coming -= {line.partition(b" ")[0] for line in file if line.startswith(b"@")}
    return bool(coming)


def _keys(table: Table) -> set[str]:
    return {key.decode() for key in table.keys}


def reload_postfix(tables: str, config_directory: str) -> None:
    """Reload Postfix, if it runs, so that it knows at once which domains are ours and where user+tag@ is accepted.

    As long as none of its files names the tables, as at the first build of a relay, it has read none of them.

    A running trivial-rewrite notices a renamed table only after ten seconds, and an smtpd keeps the answers it got:
    mail to a domain that was removed would be refused, because its addresses are gone. A changed text of regular
    expressions is not noticed at all.
    """
    if not any(_may_name(os.path.join(config_directory, name), tables) for name in ("main.cf", "master.cf")):
        return
    with suppress(Failed):
        code, _, _ = postmap.run_postfix("/usr/sbin/postfix", "-c", config_directory, "reload")
        time.sleep(0 if code else _TURN)


def _may_name(path: str, tables: str) -> bool:
    """Return whether a file names the tables; one that cannot be read may."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return tables in file.read()
    except OSError:
        return True


def read_installed(tables: str, name: str) -> dict[str, str]:
    """Read the text of a table that is in force; one that is not there yet is empty."""
    with suppress(FileNotFoundError), open(os.path.join(tables, name), encoding="utf-8", errors="replace") as file:
        words = (line.rstrip("\n").partition(" ") for line in file)
        return {key: value for key, _, value in words}
    return {}
