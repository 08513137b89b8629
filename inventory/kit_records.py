"""What was put into each customer's kit, by its number: kits/CUSTOMER.json in the inventory, to be committed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from inventory.atomic_text import replace_text
from inventory.errors import InventoryError
from inventory.model import Customer, Relay

KEPT = 10  # earlier kits that are remembered: the one in use may be some numbers behind


class KitContent(NamedTuple):
    """The keys of a kit, and the addresses and host keys of the relays that it sends to."""

    keys: tuple[str, ...]  # names, oldest first
    uploads: Mapping[str, str]  # by relay: HOST:PORT
    host_keys: Mapping[str, tuple[str, ...]]  # by relay: "TYPE BLOB", spare ones too

    @classmethod
    def of(cls, customer: Customer, relays: Mapping[str, Relay]) -> KitContent:
        """Return what a kit that is written now has."""
        theirs = {name: relays[name] for name in customer.upload_relays}
        uploads = {name: ":".join(map(str, relay.uploads_to)) for name, relay in theirs.items()}
        host_keys = {name: relay.host_keys for name, relay in theirs.items()}
        return cls(tuple(key.name for key in customer.keys), uploads, host_keys)


class KitRecord(NamedTuple):
    """One kit that was written."""

    number: int
    written: date
    digest: str  # SHA-256 of its scripts without the number; another one makes another kit
    content: KitContent

    def document(self) -> dict[str, Any]:
        """Return it as it stands in the file."""
        keys, uploads, host_keys = self.content
        return {
            "number": self.number,
            "written": self.written.isoformat(),
            "digest": self.digest,
            "keys": list(keys),
            "relays": dict(uploads),
            "host_keys": {name: list(each) for name, each in host_keys.items()},
        }

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> KitRecord:
        """Return what document() gave. Raises LookupError, TypeError, ValueError, AttributeError."""
        host_keys = {str(name): tuple(map(str, each)) for name, each in fields["host_keys"].items()}
        uploads = {str(name): str(each) for name, each in fields["relays"].items()}
        content = KitContent(tuple(map(str, fields["keys"])), uploads, host_keys)
        return cls(int(fields["number"]), date.fromisoformat(fields["written"]), str(fields["digest"]), content)


def read(where: Path, customer: str) -> tuple[KitRecord, ...]:
    """Return the kits of a customer, the newest first; none where none was written. Raises InventoryError."""
    path = _path(where, customer)
    if not path.exists():
        return ()
    try:
        fields = json.loads(path.read_text("utf-8"))
        return tuple(KitRecord.read(each) for each in (fields, *fields.get("before", ())))
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InventoryError([f"{path}: is damaged ({error}); take it from git again"]) from None


def record(where: Path, customer: str, kit: KitRecord, before: Sequence[KitRecord]) -> None:
    """Write down what a kit has; `before`: the earlier ones, the newest first."""
    earlier = [one.document() for one in before if one.number != kit.number][:KEPT]
    document = {**kit.document(), "before": earlier}
    replace_text(_path(where, customer), json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def forget(where: Path, customer: str) -> None:
    """Delete the record of a retired customer."""
    _path(where, customer).unlink(missing_ok=True)


def differences(used: KitContent, wanted: KitContent) -> Iterator[str]:
    """Yield what a kit that is in use lacks of what it must have."""
    for name in wanted.uploads:
        if name not in used.uploads:
            yield f"relay {name} is not in it"
        elif used.uploads[name] != wanted.uploads[name]:
            yield f"{name} takes uploads at {wanted.uploads[name]} now"
        elif fails_at(used, wanted, name):
            yield f"{name} has other host keys, so that uploads to it fail"
        elif new := {*wanted.host_keys[name]} - {*used.host_keys.get(name, ())}:
            yield f"{len(new)} more host key{'s' * (len(new) > 1)} of {name}"
    for name in used.uploads:
        if name not in wanted.uploads:
            yield f"it still sends to {name}"
    for key in wanted.keys:
        if key not in used.keys:
            yield f"key {key} is not in it"


def fails_at(used: KitContent, wanted: KitContent, relay: str) -> bool:
    """Return whether a kit knows none of the host keys of a relay that it sends to."""
    return relay in used.uploads and not {*used.host_keys.get(relay, ())} & {*wanted.host_keys.get(relay, ())}


def _path(where: Path, customer: str) -> Path:
    return where / "kits" / f"{customer}.json"
