"""A kit: files of one's own in a folder nobody else may read, and a key in it that no plan holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.items import file, package
from deploy.key_formats import Secret
from deploy.kit import Kit
from deploy.plan import Busy, HostError, Plan


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path / "kits/acme")


def test_a_kit_is_a_folder_for_its_owner_alone(kit: Kit, tmp_path: Path) -> None:
    Plan.of(kit, [file("runexport.bat", "@echo off\r\n")]).apply()
    assert (tmp_path / "kits/acme").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "kits/acme/runexport.bat").read_bytes() == b"@echo off\r\n"


def test_a_kit_opened_to_others_is_closed_again(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "kits/acme").mkdir(parents=True, mode=0o755)
    kit.write_key("exchupdate-k1.ppk", Secret(b"key"))
    assert (tmp_path / "kits/acme").stat().st_mode & 0o7777 == 0o700


def test_a_plan_on_a_folder_that_is_not_there_writes_nothing(kit: Kit, tmp_path: Path) -> None:
    assert len(Plan.of(kit, [file("README.txt", "hello\r\n")]).changes) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_has_nothing_to_change(kit: Kit) -> None:
    items = [file("README.txt", "hello\r\n"), file("old.txt", None)]
    Plan.of(kit, items).apply()
    assert Plan.of(kit, items).changes == ()


def test_a_file_changed_by_hand_is_shown_and_put_right(kit: Kit, tmp_path: Path) -> None:
    item = file("exchusers.txt", "a\r\n")
    Plan.of(kit, [item]).apply()
    (tmp_path / "kits/acme/exchusers.txt").write_text("b\n")
    plan = Plan.of(kit, [item])
    assert "-b\n+a\\r\n" in plan.text()
    plan.apply()
    assert (tmp_path / "kits/acme/exchusers.txt").read_bytes() == b"a\r\n"


def test_a_file_changed_since_the_plan_is_not_overwritten(kit: Kit, tmp_path: Path) -> None:
    Plan.of(kit, [file("a.txt", "1\n")]).apply()
    plan = Plan.of(kit, [file("first.txt", "1\n"), file("a.txt", "2\n")])
    (tmp_path / "kits/acme/a.txt").write_text("by bob\n")
    with pytest.raises(Busy, match=r"kits/acme/a\.txt was changed meanwhile"):
        plan.apply()
    assert not (tmp_path / "kits/acme/first.txt").exists()


def test_a_key_is_for_its_owners_eyes_and_is_forgotten_by_name(kit: Kit, tmp_path: Path) -> None:
    kit.write_key("exchupdate-k1.ppk", Secret(b"PuTTY-User-Key-File-2: ...\n"))
    placed = tmp_path / "kits/acme/exchupdate-k1.ppk"
    assert placed.read_bytes() == b"PuTTY-User-Key-File-2: ...\n"
    assert placed.stat().st_mode & 0o7777 == 0o600
    assert kit.delete_key("exchupdate-k1.ppk")
    assert not placed.exists()
    assert not kit.delete_key("exchupdate-k1.ppk")


def test_a_key_placed_again_overwrites_one_that_was_never_recorded(kit: Kit, tmp_path: Path) -> None:
    kit.write_key("k1.ppk", Secret(b"lost"))
    kit.write_key("k1.ppk", Secret(b"new"))
    found = {path.name: path.read_bytes() for path in (tmp_path / "kits/acme").iterdir()}
    assert found == {".gitignore": b"*\n", "k1.ppk": b"new"}


def test_a_killed_run_leaves_no_draft_of_a_key_for_long(kit: Kit, tmp_path: Path) -> None:
    kit.write_key("k1.ppk", Secret(b"key"))
    (tmp_path / "kits/acme/.k1.ppk.postern-0123456789ab").write_bytes(b"half a key")
    Plan.of(kit, [file("README.txt", "hello\r\n")]).apply()
    assert sorted(path.name for path in (tmp_path / "kits/acme").iterdir()) == [".gitignore", "README.txt", "k1.ppk"]


@pytest.mark.parametrize("name", ["../acme.txt", "/etc/passwd", "a/../../x", ""])
def test_attack_a_name_cannot_leave_the_folder(kit: Kit, name: str) -> None:
    with pytest.raises(HostError, match="does not lie in"):
        kit.read([file(name, "x")])
    with pytest.raises(HostError, match="does not lie in"):
        kit.write_key(name, Secret(b"key"))


def test_a_folder_has_files_and_nothing_else(kit: Kit) -> None:
    with pytest.raises(HostError, match="a folder has files and no package"):
        Plan.of(kit, [package("postfix")])


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "kits").write_text("a file\n")
    with pytest.raises(HostError, match=f"{tmp_path}/kits"):
        Plan.of(Kit(tmp_path / "kits/acme"), [file("a.txt", "1\n")]).apply()


def test_attack_git_add_of_everything_takes_no_private_key(kit: Kit, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    kit.write_key("exchupdate-k1.ppk", Secret(b"key"))
    Plan.of(kit, [file("README.txt", "hello")]).apply()
    (tmp_path / "acme.toml").touch()
    subprocess.run(["git", "-C", str(tmp_path), "add", "-A"], check=True)
    taken = subprocess.run(["git", "-C", str(tmp_path), "ls-files"], check=True, capture_output=True, text=True).stdout
    assert taken == "acme.toml\n"


def test_a_gitignore_of_somebody_else_s_that_lets_a_key_in_is_refused(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "kits/acme").mkdir(parents=True)
    (tmp_path / "kits/acme/.gitignore").write_text("*.bak\n")
    with pytest.raises(HostError, match="does not keep private keys out of git"):
        kit.write_key("exchupdate-k1.ppk", Secret(b"key"))
    assert not kit.has_file("exchupdate-k1.ppk")


def test_a_folder_with_nothing_left_but_its_gitignore_goes(kit: Kit, tmp_path: Path) -> None:
    kit.write_key("k1.ppk", Secret(b"key"))
    kit.delete_key("k1.ppk")
    kit.remove_if_empty()
    assert not (tmp_path / "kits/acme").exists()
