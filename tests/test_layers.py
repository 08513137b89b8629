"""The arrows between the rooms: who may import whom, read from the source."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
STANDARD = set(sys.stdlib_module_names)
# What the modules of a room may import besides the standard library and their own room. A room is named by the longest
# prefix here of a module's name; a word that ends in a dot stands for all below it.
ALLOWED: dict[str, set[str]] = {
    "common": set(),
    "remote": {"common."},
    "deploy.items": {"deploy."},
    "deploy": {"deploy.items", "remote.main", "remote.files", "common.", "fabric.", "paramiko.", "cryptography."},
    "templates": {"jinja2.", "markupsafe."},
    "inventory": {"common.", "pydantic.", "pydantic_core."},
    "roles": {"inventory.", "templates", "deploy.items", "common."},
    "console": {"roles.", "deploy.", "receiver.", "common.", "inventory.", "rich."},
    "customer_host": {"console.", "roles.", "deploy.", "receiver.", "common.", "inventory.", "templates"},
    "fleet": {"customer_host.", "console.", "roles.", "deploy.", "receiver.", "common.", "inventory."},
    "commands": {
        *("fleet.", "customer_host.", "console.", "roles.", "deploy.", "receiver.", "common.", "inventory."),
        *("templates", "invoke."),
    },
    "lab": {"commands.", "inventory.", "deploy.", "common."},
    "lab.operators": {"cli", "tasks", "lab.", "common.", "invoke.", "pytest"},  # runs `inv` in its own process
    "tasks": {"commands.", "console.options", "lab.", "benchmarks.", "invoke."},
    "completion": set(),
    "cli": {"completion", "tasks", "common.release", "inventory.validators", "invoke."},
    # the receiver, from the ground up
    "receiver.formatting": {"common."},
    "receiver.addresses": {"common."},
    "receiver.outcome": {"receiver.formatting", "common."},
    "receiver.system": {"receiver.outcome", "receiver.formatting", "common."},
    "receiver.lists": {"receiver.addresses", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."},
    "receiver.tables": {"receiver.addresses", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."},
    "receiver.tables_client": {
        *("receiver.lists.", "receiver.tables.manifest"),
        *("receiver.addresses", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.views": {"receiver.formatting", "common."},
    "receiver.monitoring": {
        *("receiver.tables_client", "receiver.lists."),
        *("receiver.addresses", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.store": {
        *("receiver.tables_client", "receiver.lists.", "psycopg2."),
        *("receiver.addresses", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.upload": {
        *("receiver.upload.", "receiver.store.", "receiver.tables_client", "receiver.lists."),
        *("receiver.addresses", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.upload.recipient_types": set(),
    "receiver.upload.formats": {
        *("receiver.upload.recipient_types", "receiver.addresses", "receiver.outcome", "receiver.formatting"),
        *("receiver.system.", "common."),
    },
    "receiver.upload.guard": {"receiver.lists.upload_log", "receiver.addresses", "receiver.formatting", "common."},
    "receiver.upload.joined_values": {"receiver.upload.formats.", "receiver.addresses", "receiver.formatting"},
    "receiver.upload.own_domains": set(),
    "receiver.upload.address_rules": {
        *("receiver.upload.joined_values", "receiver.upload.own_domains", "receiver.upload.recipient_types"),
        *("receiver.addresses", "common."),
    },
    "receiver.upload.recipient_filter": {
        *("receiver.upload.address_rules", "receiver.upload.joined_values", "receiver.upload.formats."),
        *("receiver.outcome", "common."),
    },
    "receiver.upload.sftp_inbox": {"receiver.upload.stream", "receiver.outcome", "common."},
    "receiver.upload.stream": {"receiver.upload.formats.values", "receiver.outcome", "common."},
    "receiver.actions": {
        *("receiver.upload.pipeline", "receiver.upload.recipient_filter", "receiver.upload.address_rules"),
        *("receiver.upload.guard", "receiver.upload.judgement", "receiver.upload.store_upload", "receiver.store."),
        *("receiver.monitoring.", "receiver.lists."),
        *(
            "receiver.tables_client",
            "receiver.addresses",
            "receiver.outcome",
            "receiver.formatting",
            "receiver.system.",
        ),
        "common.",
    },
    "receiver.timer": {
        *(
            "receiver.store.settings",
            "receiver.store.relay_heads",
            "receiver.store.upload_watch",
            "receiver.upload.",
            "receiver.monitoring.",
            "receiver.lists.",
            "receiver.tables_client",
        ),
        *("receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.parse_cli": {
        *("receiver.upload.", "receiver.addresses", "receiver.outcome", "receiver.formatting", "common."),
    },
    "receiver.filter_cli": {"receiver.upload.", "receiver.system.", "receiver.outcome", "common."},
    "receiver.forced_command": {
        *("receiver.upload.", "receiver.monitoring.", "receiver.views.", "receiver.lists.", "receiver.tables_client"),
        *("receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.store_cli": {
        *("receiver.upload.pipeline", "receiver.monitoring.alarms", "receiver.store.", "receiver.lists."),
        *("receiver.tables_client", "receiver.outcome", "receiver.formatting", "receiver.system.", "common."),
    },
    "receiver.admin_arguments": {"receiver.lists.review_record", "receiver.formatting"},
    "receiver.admin_verbs": {
        *("receiver.store.", "receiver.actions.", "receiver.upload.", "receiver.monitoring.", "receiver.views."),
        *("receiver.lists.", "receiver.tables_client"),
        *("receiver.outcome", "receiver.system.", "common."),
    },
    "receiver.admin_cli": {
        *("receiver.admin_arguments", "receiver.admin_verbs", "receiver.store_cli", "receiver.timer"),
        *("receiver.actions.report", "receiver.monitoring.", "receiver.views.report", "receiver.lists.spool"),
        *("receiver.tables_client", "receiver.outcome", "receiver.system.", "common."),
    },
    # for one release, what the launchers of the one before name
    "receiver.gate": {"receiver.forced_command"},
    "receiver.desk": {"receiver.admin_cli"},
    "receiver.parse": {"receiver.parse_cli"},
    "receiver.root": {"receiver.tables.build"},
    "receiver": set(),
}
ROOMS = sorted({name.partition(".")[0] for name in ALLOWED})


def _name(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    _name(path): path
    for room in ROOMS
    for path in ((REPO / room).rglob("*.py") if (REPO / room).is_dir() else [REPO / f"{room}.py"])
}


def _room(module: str) -> str:
    return max((room for room in ALLOWED if _is_below(module, f"{room}.")), key=len)


@cache
def _imports(path: Path, top_only: bool = False) -> frozenset[str]:
    """Return the modules that are imported; of a package's, where the name is one, the module itself."""
    tree = ast.parse(path.read_text("utf-8"))
    found: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in FILES else node.module or "")
    return frozenset(found)


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_imports_only_the_rooms_it_may(module: str) -> None:
    room = _room(module)
    for imported in _imports(FILES[module]):
        if imported.partition(".")[0] not in STANDARD and _room_or_itself(imported) != room:
            assert any(_is_below(imported, word) for word in ALLOWED[room]), f"{module} imports {imported}"


def _room_or_itself(module: str) -> str:
    return _room(module) if module in FILES else module


def _is_below(module: str, word: str) -> bool:
    return module == word or (word.endswith(".") and f"{module}.".startswith(word))


def test_no_modules_import_each_other_in_a_circle() -> None:
    packages = {name for name, path in FILES.items() if path.name == "__init__.py"}
    graph = {name: _imports(path) & FILES.keys() for name, path in FILES.items()}
    graph["tasks"] = _imports(FILES["tasks"], top_only=True) & FILES.keys()  # a task imports when it runs
    assert packages
    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


def test_the_manual_imports_invoke_alone() -> None:
    named = {name.partition(".")[0] for name in _imports(REPO / "tasks.py", top_only=True)}
    assert named - STANDARD == {"invoke"}


def test_what_is_installed_imports_its_own_modules_at_start() -> None:
    """A late import after an upgrade would mix two releases."""
    for name, path in FILES.items():
        if name.partition(".")[0] in ("receiver", "common"):
            late = set(_imports(path)) - set(_imports(path, top_only=True))
            assert not [each for each in late if each.partition(".")[0] in ("receiver", "common")], path
