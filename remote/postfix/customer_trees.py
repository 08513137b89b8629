"""Runs on the relay: the trees of its customers, as far as what edits main.cf goes by them."""

from __future__ import annotations

import json
import os
from typing import Any

from common.paths import PLACES
from remote.files import read_text


def list_customers() -> list[str]:
    """List whose trees are here. What begins with a dot is a tree that is being changed."""
    try:
        return sorted(name for name in os.listdir(f"{PLACES.etc}/customers") if not name.startswith("."))
    except FileNotFoundError:
        return []


def read_tree_settings(customer: str) -> dict[str, Any]:
    """Read settings.json of a tree; a damaged one says nothing."""
    try:
        return dict(json.loads(read_text(f"{PLACES.tree(customer)}/settings.json") or "{}"))
    except (ValueError, TypeError):
        return {}
