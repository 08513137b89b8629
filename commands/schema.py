"""The JSON Schema of the inventory's files, for an editor."""

from __future__ import annotations

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from inventory import json_schema
from receiver.formatting import count


def schema(name: str, write: bool) -> int:
    """Print the schema of one kind of file, or write all into the inventory. Raises InventoryError, Refused."""
    known = json_schema.schemas()
    if write:
        where = inventory.inventory_path()
        inventory.require_folder(where)
        written = json_schema.write_schemas(where)
        terminal.say(
            f"{where / json_schema.FOLDER}: {count(len(written), 'file')} written" if written else "nothing to change"
        )
        return exit_codes.DONE
    if (name or "customer") not in known:
        raise Refused(f"no schema '{name}'{inventory.near(name, known)}; there are {', '.join(known)}")
    terminal.print_document(known[name or "customer"])
    return exit_codes.DONE
