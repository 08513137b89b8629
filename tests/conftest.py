"""Lab hosts for the tests that need them: `@pytest.mark.host` and one of these fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from lab import keys, roots
from lab.host import LabHost
from lab.operators import REPO
from tests.support.windows_host import windows_host
from tests.support.windows_server import windows_programs, windows_server, wine

__all__ = ["windows_host", "windows_programs", "windows_server", "wine"]


class Spread(LoadScopeScheduling):  # type: ignore[misc]
    """Hands workers a test at a time, or a whole story. (pytest-xdist 3.8's own groups do nothing with pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _is_story(module) else nodeid


@cache
def _is_story(module: str) -> bool:
    return "pytest.mark.story" in (REPO / module).read_text("utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    """Return what decides which worker runs what."""
    return Spread(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where there can be no lab, a test that needs it is skipped, and fails where there must be one."""
    if item.get_closest_marker("host") is None or (reason := roots.missing()) is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true nothing is skipped", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Skip a test that starts a host of a release which the package mirrors no longer have."""
    try:
        return (yield)
    except roots.ReleaseGoneError as gone:
        pytest.skip(str(gone))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """Skip the tests of a fixture that starts such a host."""
    try:
        return (yield)
    except roots.ReleaseGoneError as gone:
        pytest.skip(str(gone))


@pytest.fixture
def lab_host() -> Iterator[Callable[..., LabHost]]:
    """Starts a host each time it is called, with LabHost's arguments; all of them stop after the test."""
    with ExitStack() as hosts:

        def start(release: str = "bookworm", **options: Any) -> LabHost:
            return hosts.enter_context(LabHost(release, **options))

        yield start


@pytest.fixture
def bookworm(lab_host: Callable[..., LabHost]) -> LabHost:
    """Debian 12: Postfix 3.7, default table type hash."""
    return lab_host("bookworm")


@pytest.fixture
def operator_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A HOME whose ~/.ssh/config gives root on lab hosts the admin key, and no known_hosts.

    Fabric goes by HOME; OpenSSH's own ssh does not and wants `-F HOME/.ssh/config`.
    """
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    config = f"Host 127.77.*\n    User root\n    IdentityFile {keys.admin_key()}\n    IdentitiesOnly yes\n"
    (home / ".ssh" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home
