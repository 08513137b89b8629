"""The keys of the inventory's files as a page: `python -m inventory.reference > docs/inventory.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import get_args

from pydantic.fields import FieldInfo

from inventory.exchange import Exchange, Schedule, Ssh, Take
from inventory.model import Customer, Guard, Provider, Relay
from inventory.sources import Ldap, Online
from inventory.store import Store
from inventory.table import Table, table_of

_HEAD = """# The inventory

Written from `inventory/model.py` by `python -m inventory.reference > docs/inventory.md`.

The inventory is a directory, named by `POSTERN_INVENTORY`. Without that variable it is `inventory/` of this repository,
which belongs to the demo. It has these files:

| file | what |
|---|---|
| `relays.toml` | the relays, a table each |
| `provider.toml` | your name and contact, for pages that customers read, and the store; may be left out |
| `templates/windows/README.txt.j2` | a README of your own for kits, as `templates/posix/README.txt.j2` |
| `customers/ID.toml` | a customer each; ID is permanent: up to 31 of `a-z`, `0-9` and `-`, a letter first |
| `customers/retired/` | files of retired customers |
| `keys/ID/k1.pub`, ... | public halves of the customer's keys, written by `provision` and `rotate-key` |
| `opened/ID.json` | all domains of the customer are open, written and removed by `inv open` |
| `kits/ID.json` | what is in the customer's kit: number, relays, keys, host keys; written by `provision` |
| `schema/` | JSON Schemas of these files, for editors, written by `inv init` and `inv schema --write` |
| `known_hosts` | host keys of the relays, and of the servers that `inv` reaches over SSH, written by `inv trust NAME` |

The files are TOML in UTF-8. A key that is not named here is refused, and so is a value that would break the file into
which it is written (a batch file, a line of `authorized_keys`). `inv check` names every fault of every file. The
directory must hold no secret: keep it in git.
"""
_TABLES: tuple[tuple[str, str, type[Table]], ...] = (
    ("relays.toml: `[NAME]`", "The table's name is the relay's name, spelled as a customer's ID.", Relay),
    ("provider.toml: `[provider]`", 'A kit\'s README.txt speaks of "us": these keys say who that is.', Provider),
    ("provider.toml: `[store]`", "Must be given where a relay is a follower; see [store.md](store.md).", Store),
    ("customers/ID.toml", "", Customer),
    ("customers/ID.toml: `[exchange]`", "", Exchange),
    ("customers/ID.toml: `[exchange.ssh]`", 'Must be given where `reach = "ssh"`, and nowhere else.', Ssh),
    ("customers/ID.toml: `[exchange.ldap]`", 'Must be given where `source = "ldap"`, and nowhere else.', Ldap),
    (
        "customers/ID.toml: `[exchange.online]`",
        'Must be given where `source = "exchange-online"`, and nowhere else.',
        Online,
    ),
    ("customers/ID.toml: `[exchange.schedule]`", "May be left out.", Schedule),
    (
        "customers/ID.toml: `[exchange.take]`",
        "May be left out; not for `exchange-5.5`. `false`: such recipients are left out, and reports count them.",
        Take,
    ),
    ("customers/ID.toml: `[guard]`", "May be left out.", Guard),
)


def page() -> str:
    """Return docs/inventory.md as it should be."""
    return _HEAD + "".join(_section(*table) for table in _TABLES)


def _section(title: str, remark: str, model: type[Table]) -> str:
    head = f"\n## {title}\n\n" + (f"{remark}\n\n" if remark else "") + "| key | left out | |\n|---|---|---|\n"
    return head + "".join(_rows(model))


def _rows(model: type[Table]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name not in model.given and table_of(field.annotation) is None:
            yield f"| `{field.alias or name}` | {_default(field)} | {field.description}{_choices(field)} |\n"


def _choices(field: FieldInfo) -> str:
    """Return the words to choose from, where there are but a few."""
    inner = [choice for part in get_args(field.annotation) for choice in (get_args(part) or [part])]
    words = [f"`{word}`" for word in inner if isinstance(word, str)]
    return f" One of {', '.join(words)}." if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be given**"
    if field.default is None or field.default == ():
        return ""
    if isinstance(field.default, str) and "\\" in field.default:
        return f"`'{field.default}'`"
    return f"`{json.dumps(field.default)}`"  # TOML writes these types as JSON does


if __name__ == "__main__":
    sys.stdout.write(page())
