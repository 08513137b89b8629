"""JSON Schema of the inventory's files, for editors, made from `inventory/model.py`: a new key goes there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inventory.atomic_text import replace_text
from inventory.model import Customer, Provider, Relay
from inventory.store import Store
from inventory.table import Table

DIALECT = "http://json-schema.org/draft-07/schema#"
FOLDER = "schema"
_ONE_OR_SEVERAL = ("days", "pin")
"""Keys that may be one text as well as a list."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return a schema for each kind of file: customer (customers/ID.toml), relays (relays.toml), provider."""
    relay = _schema_of(Relay)
    tables = {"provider": _schema_of(Provider), "store": _schema_of(Store)}
    return {
        "customer": {"$schema": DIALECT, **_schema_of(Customer)},
        "relays": {"$schema": DIALECT, "type": "object", "additionalProperties": relay},
        "provider": {"$schema": DIALECT, "type": "object", "properties": tables, "additionalProperties": False},
    }


def write_schemas(where: Path) -> list[Path]:
    """Write them to schema/ of an inventory, where they differ; return what was written."""
    texts = {where / FOLDER / f"{name}.json": format_schema(each) for name, each in schemas().items()}
    written = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in written:
        replace_text(path, texts[path])
    return written


def format_schema(schema: Mapping[str, Any]) -> str:
    """Return a schema as text."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema_of(model: type[Table]) -> dict[str, Any]:
    """Return the schema of one table, without what is no key of a file, and with every table in its place."""
    made = model.model_json_schema(by_alias=True)
    tables = made.pop("$defs", {})
    made["properties"] = {key: each for key, each in made["properties"].items() if key not in model.given}
    made["required"] = [key for key in made.get("required", []) if key not in model.given]
    resolved: dict[str, Any] = _resolve(made, tables)
    return resolved


def _resolve(value: Any, tables: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolve(each, tables) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _resolve({**tables[value["$ref"].rpartition("/")[2]], **_leave_out(value, "$ref", "default")}, tables)
    plain = {key: _resolve(each, tables) for key, each in value.items() if key != "title"}
    if "properties" in plain:
        plain["properties"] = dict(_properties(plain["properties"]))
    return _without_null(plain)


def _properties(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, each in properties.items():
        if key in _ONE_OR_SEVERAL:
            choices = [{"type": "string"}, _leave_out(each, "description")]
            yield key, {"description": each.get("description", ""), "anyOf": choices}
        else:
            yield key, each


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without null, which TOML does not have: such a key is left out."""
    kept = _leave_out(schema, "anyOf", *(["default"] if schema.get("default", "") is None else []))
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if not choices:
        return kept
    return {**choices[0], **kept} if len(choices) == 1 else {**kept, "anyOf": choices}


def _leave_out(value: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in keys}
