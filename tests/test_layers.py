"""The arrows between the rooms: who may import whom, read from the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
STANDARD = set(sys.stdlib_module_names)
# Besides the standard library and the room itself. A word that ends in a dot stands for all below it too.
# Of the rooms a file is in, the first counts.
ALLOWED: dict[str, set[str]] = {
    "receiver/root": {
        "receiver",
        "receiver.account",
        "receiver.addresses",
        "receiver.disk",
        "receiver.lock",
        "receiver.report",
        "receiver.settings",
    },
    "receiver": set(),
    "deploy/agent.py": set(),
    "deploy/files.py": {"deploy.agent"},  # sent with it, and imported there
    "deploy/system.py": {"deploy.agent", "deploy.files"},
    "roles/postfix/there": {"deploy.agent", "deploy.files"},
    "deploy": {"fabric.", "paramiko.", "cryptography."},
    "templates": {"jinja2."},
    "inventory": {"pydantic.", "pydantic_core."},
    "roles": {"inventory.", "templates", "deploy.items", "receiver", "receiver.settings"},
    "commands": {"roles.", "inventory.", "deploy.", "receiver.", "templates", "invoke.", "rich."},
    "lab": {"commands.", "inventory.", "deploy."},
    "tasks.py": {"invoke.", "commands.", "lab.", "benchmarks."},
    "cli.py": {"invoke.", "tasks", "receiver", "inventory.words"},
}
FILES = {
    path for room in ALLOWED for path in ((REPO / room).rglob("*.py") if (REPO / room).is_dir() else [REPO / room])
}


def _imports(path: Path, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", sorted(FILES), ids=lambda path: str(path.relative_to(REPO)))
def test_a_room_imports_only_the_rooms_it_may(path: Path) -> None:
    name = path.relative_to(REPO).as_posix()
    room = next(room for room in ALLOWED if name == room or name.startswith(room + "/"))
    allowed = {*ALLOWED[room], room.replace("/", ".") + "."}
    for module in set(_imports(path)):
        if module.partition(".")[0] not in STANDARD:
            assert module in allowed or any(_is_below(module, word) for word in allowed), f"{name} imports {module}"


def _is_below(module: str, word: str) -> bool:
    return word.endswith(".") and f"{module}.".startswith(word)


def test_the_manual_imports_invoke_alone() -> None:
    assert set(_imports(REPO / "tasks.py", top_only=True)) <= {"__future__", "invoke"}


def test_the_receiver_imports_its_own_modules_at_start() -> None:
    """A late import after an upgrade would mix two releases."""
    for path in sorted((REPO / "receiver").rglob("*.py")):
        late = set(_imports(path)) - set(_imports(path, top_only=True))
        assert not [name for name in late if name.partition(".")[0] == "receiver"], path


def test_the_account_s_half_of_the_receiver_takes_of_root_s_what_is_in_force_and_nothing_else() -> None:
    for path in {*(REPO / "receiver").rglob("*.py")} - {*(REPO / "receiver" / "root").iterdir()}:
        assert {name for name in _imports(path) if name.startswith("receiver.root")} <= {"receiver.root.record"}, path
