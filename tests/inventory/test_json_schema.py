"""The JSON Schemas beside the model they are made from, and the files that `inv init` writes beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import inventory
from inventory import json_schema as schema
from inventory.errors import keys_of
from inventory.exchange import Exchange
from inventory.model import Customer, Provider, Relay
from inventory.table import Table

REPO = Path(inventory.__file__).parent
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def faults(value: Any, wanted: dict[str, Any], at: str = "") -> Iterator[str]:
    """Yield where a value is not as a schema says, as far as ours go."""
    if "anyOf" in wanted:
        if all([*faults(value, each, at)] for each in wanted["anyOf"]):
            yield f"{at}: {value!r} is none of the choices"
        return
    if "type" in wanted and not isinstance(value, TYPES[wanted["type"]]):
        yield f"{at}: {value!r} is no {wanted['type']}"
        return
    if "enum" in wanted and value not in wanted["enum"]:
        yield f"{at}: {value!r} is not among {wanted['enum']}"
    if isinstance(value, list):
        for each in value:
            yield from faults(each, wanted.get("items", {}), f"{at}[]")
    if isinstance(value, dict):
        yield from (f"{at}.{key} must be given" for key in wanted.get("required", ()) if key not in value)
        for key, each in value.items():
            inner = wanted.get("properties", {}).get(key, wanted.get("additionalProperties", {}))
            if inner is False:
                yield f"{at}.{key}: no such key"
            else:
                yield from faults(each, inner, f"{at}.{key}")


@pytest.mark.parametrize(("kind", "model"), [("customer", Customer), ("relays", Relay), ("provider", Provider)])
def test_a_schema_has_the_keys_of_the_model_and_no_others(kind: str, model: type[Table]) -> None:
    places = {"customer": (), "relays": ("additionalProperties",), "provider": ("properties", "provider")}
    made: Any = schema.schemas()[kind]
    for word in places[kind]:
        made = made[word]
    assert {*made["properties"]} == {*keys_of(model)}
    assert {*made["required"]} == {name for name in keys_of(model) if model.model_fields[name].is_required()}


def test_tables_stand_where_they_are_used() -> None:
    exchange = schema.schemas()["customer"]["properties"]["exchange"]
    assert {*exchange["properties"]} == {*keys_of(Exchange)}
    assert exchange["properties"]["schedule"]["properties"]["from"]["type"] == "string"
    assert "$ref" not in schema.format_schema(schema.schemas()["customer"])


def test_the_files_of_the_demo_are_as_their_schemas_say() -> None:
    known = schema.schemas()
    for name, kind in {"customers/demo.toml": "customer", "relays.toml": "relays"}.items():
        assert [*faults(tomllib.loads((REPO / name).read_text("utf-8")), known[kind])] == []


@pytest.mark.parametrize("days", ["MON-FRI", ["MON", "TUE"]])
def test_what_may_be_one_text_or_a_list_is_both(days: object) -> None:
    table = tomllib.loads((REPO / "customers" / "demo.toml").read_text("utf-8"))
    table["exchange"]["schedule"]["days"] = days
    assert [*faults(table, schema.schemas()["customer"])] == []


def test_a_wrong_key_and_a_wrong_value_are_found_by_the_schema() -> None:
    table = tomllib.loads((REPO / "customers" / "demo.toml").read_text("utf-8"))
    table["exchange"]["sauce"] = "csvde"
    table["exchange"]["source"] = "csv"
    found = [*faults(table, schema.schemas()["customer"])]
    assert any(".exchange.sauce: no such key" in fault for fault in found)
    assert any("'csv' is not among" in fault for fault in found)


def test_schemas_are_written_once(tmp_path: Path) -> None:
    assert [path.name for path in schema.write_schemas(tmp_path)] == ["customer.json", "relays.json", "provider.json"]
    assert schema.write_schemas(tmp_path) == []
