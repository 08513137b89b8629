"""Each relay's heartbeat in the store, by which upload relays agree who of them tells a person about uploads."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from common.release import RELEASE
from receiver.store.connection import Connection, Unclear, Unreached
from receiver.store.settings import StoreSettings

_WRITE = (
    "INSERT INTO postern.relays (name, role, release, seen) VALUES (%s, %s, %s, clock_timestamp()) "
    "ON CONFLICT (name) DO UPDATE SET role = excluded.role, release = excluded.release, seen = excluded.seen"
)
_READ = (  # without those of the future, which would count for ever
    "SELECT name FROM postern.relays WHERE name = ANY(%s) AND role = 'upload' "
    "AND seen > clock_timestamp() - interval '1 hour' AND seen <= clock_timestamp()"
)


def beat(connection: Connection, settings: StoreSettings, known: Collection[str]) -> tuple[str, ...]:
    """Write this relay's heartbeat; return the upload relays with one in the last hour, by the database's clock.

    `known`: the upload relays that this relay's own trees name, since an attacker with a relay's credentials can write
    any number of names. Returns none where that fails. It does not wait for a standby: a silent one would delay every
    run.
    """
    if not settings.name:
        return ()
    role = "upload" if settings.is_upload_relay else "follower"
    with suppress(Unreached, Unclear):
        with connection.write_transaction():
            connection.ask("SELECT set_config('synchronous_commit', 'local', true)")
            connection.ask(_WRITE, (settings.name, role, RELEASE))
            found = connection.ask(_READ, (sorted(known),))
        return tuple(sorted(name for (name,) in found))
    return ()
