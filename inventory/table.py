"""A table of the inventory's files: what all of them have in common."""

from __future__ import annotations

from typing import ClassVar, get_args

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of TOML: frozen, of the types written here and no near ones, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)
    given: ClassVar[frozenset[str]] = frozenset()
    """Fields that load() adds from elsewhere; they are no keys of the file."""


def table_of(annotation: object) -> type[Table] | None:
    """Return the table that a field holds, or may hold; None: it holds no table."""
    parts = (annotation, *get_args(annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Table)), None)
