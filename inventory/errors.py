"""What is wrong with an inventory, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from inventory.table import Table, table_of
from inventory.validators import near

UNSHOWN = "unshown"
"""The type of a finding about a value that may hold a secret, so that no message has it."""
_MEANS = {
    "string_type": 'must be text between quotes, as "..."',
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "tuple_type": "must be a list, as [...]",
    "model_type": "must be a table",
    "too_short": "must not be empty",
}


def follows_from_others(detail: Mapping[str, Any]) -> bool:
    """Return whether a fault only follows from others: pydantic takes a list whose every member is wrong for empty."""
    return bool(detail["type"] == "too_short" and detail["input"])


def describe_faults(model: type[Table], detail: Mapping[str, Any]) -> str:
    """Return the key that one of pydantic's findings is about, and what is wrong with it."""
    *above, last = [part for part in detail["loc"] if isinstance(part, str)]
    table = _table_at(model, above)
    field = table.model_fields.get(last)
    written = field.alias if field and field.alias else last  # a default is found wrong under its field's name
    key = ".".join(part if part.isidentifier() else repr(part) for part in (*above, written))
    if detail["type"] == "extra_forbidden":
        return f"{key}: no such key{near(last, keys_of(table))}"
    if detail["type"] == "missing":
        return f"{key}: must be given. {keys_of(table)[last]}"
    return f"{key}: {_describe_fault(detail)}"


def _describe_fault(detail: Mapping[str, Any]) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    if detail["type"] == UNSHOWN:
        return str(detail["msg"])
    shown = f"{value!r} " if isinstance(value, str) else ""
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        return f"{shown}is still what `inv init` wrote there"
    if detail["type"] == "value_error":
        return f"{shown[:100]}{context['error']}"
    if detail["type"] == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{shown[:100]}must be one of {', '.join(choices)}{near(str(value), choices)}"
    means = _MEANS.get(detail["type"]) or detail["msg"].replace("Input should be", "must be")
    return f"{value!r:.100} {means}"


def _table_at(model: type[Table], path: Iterable[str]) -> type[Table]:
    for part in path:
        model = table_of(model.model_fields[part].annotation) or model
    return model


def keys_of(model: type[Table]) -> dict[str, str]:
    """Return the keys a file may have, with their sentences."""
    fields = model.model_fields.items()
    return {field.alias or name: field.description or "" for name, field in fields if name not in model.given}


class InventoryError(Exception):
    """The inventory cannot be used as it stands, or has not what was asked for. One text per fault."""

    def __init__(self, faults: Iterable[str]) -> None:
        """Keep the faults for who shows them one by one."""
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


def faulty_files(faults: Iterable[str]) -> list[str]:
    """Return the files that faults are in, each once."""
    return sorted({fault.partition(":")[0] for fault in faults})


class Fault(NamedTuple):
    """A fault of the inventory, and the customers and relays that it concerns."""

    text: str
    about: frozenset[str] = frozenset()  # "customers/ID", "relays/NAME", another file's name; empty: everybody


def faults_about(texts: Iterable[str], *places: str) -> list[Fault]:
    """Return a fault for each text, all of them about these places."""
    return [Fault(text, frozenset(places)) for text in texts]
