from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import inventory
from inventory import InventoryError, Key, Relay, key_records

RELAYS = '[mx1]\naddress = "mx1.provider.example"\n[mx2]\naddress = "mx2.provider.example"\n'
ACME = """\
name = "Acme Ltd"
domains = ["acme.example"]
relays = ["mx1"]
[exchange]
server = "NTSERVER"
basepoint = "/o=Acme"
addresses = ["198.51.100.7"]
"""
TODAY = datetime.now(UTC).date()
DAYS = (TODAY, TODAY + timedelta(days=1))  # midnight may come before a test is run


def public(kind: str = "ssh-ed25519", fill: int = 0) -> str:
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), bytes([fill]) * 32))
    return f"{kind} {base64.b64encode(blob).decode()}"


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "customers").mkdir()
    (tmp_path / "relays.toml").write_text(RELAYS)
    (tmp_path / "customers" / "acme.toml").write_text(ACME)
    return tmp_path


def recorded(where: Path) -> tuple[Key, ...]:
    return inventory.load(where).customers["acme"].keys


def faults(where: Path) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        inventory.load(where)
    return caught.value.faults


# ---- customers' keys


def test_a_recorded_key_is_one_openssh_line_with_customer_name_and_day(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public()))
    (key,) = recorded(where)
    assert key == Key("k1", public(), key.recorded)
    assert key.recorded in DAYS
    assert (where / "keys/acme/k1.pub").read_text() == f"{public()} acme k1 {key.recorded}\n"


def test_a_key_that_is_recorded_again_keeps_the_day_it_brings(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public(), date(2025, 1, 2)))
    assert recorded(where)[0].recorded == date(2025, 1, 2)


def test_the_oldest_key_comes_first_by_number_and_not_by_letter(where: Path) -> None:
    for name in ("k10", "k9", "k1"):
        key_records.record(where, "acme", Key(name, public()))
    assert [key.name for key in recorded(where)] == ["k1", "k9", "k10"]


def test_attack_a_key_of_two_customers_is_refused_and_both_files_are_named(where: Path) -> None:
    (where / "customers" / "bolt.toml").write_text(ACME.replace("acme.example", "bolt.example"))
    key_records.record(where, "acme", Key("k1", public()))
    key_records.record(where, "bolt", Key("k1", public(fill=1)))
    key_records.record(where, "bolt", Key("k2", public()))
    own = "a key says who uploads, so each customer needs its own"
    assert faults(where) == [f"keys/bolt/k2.pub: is the key of keys/acme/k1.pub too: {own}"]


def test_the_keys_of_a_customer_that_went_are_no_fault_and_go_with_the_next_run(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public()))
    assert inventory.find_retired(where, "acme") is None
    inventory.retire(where, "acme")
    assert inventory.load(where).customers == {}
    gone = inventory.find_retired(where, "acme")
    assert gone is not None
    assert [key.name for key in gone.keys] == ["k1"]
    assert inventory.find_retired(where, "../acme") is None
    inventory.retired_file(where, "acme").write_text("name = 1\n")
    with pytest.raises(InventoryError, match=r"^customers/retired/acme\.toml: name: "):
        inventory.find_retired(where, "acme")
    assert inventory.is_retired(where, "acme"), "what asks only for that is not stopped by a fault"


def test_names_go_up_and_are_never_given_twice(where: Path) -> None:
    assert key_records.next_name(where, "acme") == "k1"
    key_records.record(where, "acme", Key("k1", public()))
    assert key_records.next_name(where, "acme") == "k2"
    key_records.record(where, "acme", Key("k2", public()))
    key_records.forget(where, "acme", "k2")
    key_records.forget(where, "acme", "k1")
    assert recorded(where) == ()
    assert key_records.next_name(where, "acme") == "k3"


def test_a_key_recorded_by_a_run_that_was_killed_before_it_counted_is_not_overwritten(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public()))
    (where / "keys/acme/last").unlink()
    assert key_records.next_name(where, "acme") == "k2"
    key_records.forget(where, "acme", "k1")
    assert key_records.next_name(where, "acme") == "k2"


def test_forgetting_what_is_forgotten_is_no_fault(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public()))
    key_records.forget(where, "acme", "k1")
    key_records.forget(where, "acme", "k1")
    assert recorded(where) == ()


def test_a_name_that_would_leave_the_directory_is_refused(where: Path) -> None:
    for name in ("../k1", "k0", "k01", "K1", "k1.pub", ""):
        with pytest.raises(ValueError, match="named k1"):
            key_records.record(where, "acme", Key(name, public()))
    assert list((where / "keys").rglob("*.pub")) == []


KILLED = """
import sys
from pathlib import Path
from inventory import Key, key_records
sys.stdout.write("x\\n"); sys.stdout.flush()
number = 0
while True:
    number += 1
    key_records.record(Path(sys.argv[1]), "acme", Key("k1", sys.argv[2]))
    key_records.forget(Path(sys.argv[1]), "acme", "k1")
"""


@pytest.mark.slow
def test_a_run_killed_anywhere_leaves_a_key_whole_or_none_and_an_inventory_without_fault(where: Path) -> None:
    for n in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(where), public()],
            stdout=subprocess.PIPE,
            cwd=Path(inventory.__file__).parent.parent,
        ) as run:
            assert run.stdout
            run.stdout.readline()
            time.sleep(0.002 * n)
            os.kill(run.pid, signal.SIGKILL)
        assert recorded(where) in ((), *((Key("k1", public(), day),) for day in DAYS))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be one line"),
        (f"{public()} acme k1\n", "must be one line"),
        (f"{public()} acme k1 2026-01-01\n{public()} acme k1 2026-01-01\n", "must be one line"),
        (f"{public()} bolt k1 2026-01-01\n", "is the key 'bolt k1', which is not this file's name"),
        (f"{public()} acme k2 2026-01-01\n", "is the key 'acme k2', which is not this file's name"),
        (f"{public()} acme k1 yesterday\n", "isoformat"),
        ("ssh-ed25519 AAAA! acme k1 2026-01-01\n", "cut or damaged"),
        (f"{public()[:60]} acme k1 2026-01-01\n", "cut or damaged"),
        (f"{public().replace('ssh-ed25519 ', 'ssh-rsa ')} acme k1 2026-01-01\n", "not of type ssh-rsa"),
        (f"{public('ssh-dss')} acme k1 2026-01-01\n", "must be a public key as OpenSSH writes it"),
        ('restrict,command="sh" AAAA acme k1 2026-01-01\n', "must be a public key as OpenSSH writes it"),
    ],
)
def test_a_damaged_key_file_is_a_fault_that_names_it(where: Path, text: str, why: str) -> None:
    (where / "keys/acme").mkdir(parents=True)
    (where / "keys/acme/k1.pub").write_text(text)
    assert len(faults(where)) == 1
    assert faults(where)[0].startswith("keys/acme/k1.pub: ")
    assert why in faults(where)[0]


def test_a_private_key_left_among_the_public_ones_is_named_and_never_shown(where: Path) -> None:
    (where / "keys/acme").mkdir(parents=True)
    (where / "keys/acme/exchupdate-k1.ppk").write_text("PuTTY-User-Key-File-2: SECRETSECRET\n")
    (where / "keys/acme/k1.pub").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nSECRETSECRET\n")
    told = "\n".join(faults(where))
    assert "keys/acme/exchupdate-k1.ppk: no public key of ours" in told
    assert "keys/acme/k1.pub: " in told
    assert "SECRET" not in told


def test_keys_of_a_customer_whose_file_is_gone_are_named(where: Path) -> None:
    key_records.record(where, "acmee", Key("k1", public()))
    assert faults(where) == ["keys/acmee: no customer 'acmee' in customers; did you mean 'acme'?"]


def test_what_a_retired_customer_leaves_behind_so_that_no_name_comes_twice_is_no_fault(where: Path) -> None:
    key_records.record(where, "bolt", Key("k1", public()))
    key_records.forget(where, "bolt", "k1")
    assert list(inventory.load(where).customers) == ["acme"]
    assert key_records.next_name(where, "bolt") == "k2"


def test_a_damaged_counter_is_a_fault_and_no_traceback(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public()))
    (where / "keys/acme/last").write_text("many")
    assert faults(where) == ["keys/acme/last: must be the number of the highest key ever recorded, and nothing else"]


def test_a_name_was_recorded_while_it_is_not_above_the_highest_ever_whether_it_is_there_or_gone(where: Path) -> None:
    key_records.record(where, "acme", Key("k1", public()))
    key_records.record(where, "acme", Key("k2", public(fill=1)))
    key_records.forget(where, "acme", "k1")
    key_records.forget(where, "acme", "k2")
    known = [name for name in ("k1", "k2", "k3", "k02", "mallory", "") if key_records.was_recorded(where, "acme", name)]
    assert known == ["k1", "k2"]


def test_one_alone_changes_a_customers_keys_and_others_meanwhile_their_own(where: Path) -> None:
    with key_records.hold_lock(where, "acme"):
        with pytest.raises(BlockingIOError), key_records.hold_lock(where, "acme"):
            pass
        with key_records.hold_lock(where, "bolt"):
            pass
    with key_records.hold_lock(where, "acme"):
        pass


@pytest.mark.parametrize(("most", "age", "due"), [(365, 334, 0), (365, 335, 1), (365, 800, 1), (20, 9, 0), (20, 10, 1)])
def test_a_key_is_due_a_month_before_it_is_too_old_or_half_way_where_that_is_less(
    where: Path, most: int, age: int, due: int
) -> None:
    (where / "customers" / "acme.toml").write_text(f"key_max_age_days = {most}\n{ACME}")
    assert not inventory.load(where).customers["acme"].key_due(TODAY)  # it has none
    key_records.record(where, "acme", Key("k1", public(), TODAY - timedelta(days=age)))
    assert inventory.load(where).customers["acme"].key_due(TODAY) == bool(due)
    key_records.record(where, "acme", Key("k2", public(fill=1)))  # while a rotation is open, the new key's age counts
    assert not inventory.load(where).customers["acme"].key_due(TODAY)


# ---- relays' host keys

MX1 = Relay(name="mx1", address="mx1.provider.example")
ODD = Relay(name="mx2", address="mx2.provider.example", port=2222)


def trusted(where: Path, name: str = "mx1") -> tuple[str, ...]:
    return inventory.load(where).relays[name].host_keys


def test_host_keys_are_recorded_and_replaced_whole(where: Path) -> None:
    key_records.trust(where, MX1, [public(fill=1), public("ssh-rsa", 2)])
    assert trusted(where) == (public(fill=1), public("ssh-rsa", 2))
    key_records.trust(where, MX1, [public(fill=3)])
    assert trusted(where) == (public(fill=3),)


def test_a_relay_nobody_trusted_has_no_host_keys(where: Path) -> None:
    assert trusted(where) == ()


def test_known_hosts_is_one_that_openssh_reads(where: Path) -> None:
    key_records.trust(where, MX1, [public()])
    key_records.trust(where, ODD, [public(fill=1)])
    for host, key in (("mx1.provider.example", public()), ("[mx2.provider.example]:2222", public(fill=1))):
        found = subprocess.run(
            ["ssh-keygen", "-F", host, "-f", str(where / "known_hosts")], capture_output=True, text=True, check=True
        )
        assert f"{host} {key}" in found.stdout


def test_a_port_of_its_own_is_part_of_the_name_in_known_hosts_and_22_is_not(where: Path) -> None:
    assert key_records.host_field(ODD) == "[mx2.provider.example]:2222"
    assert key_records.host_field(MX1.model_copy(update={"port": 22})) == "mx1.provider.example"
    (where / "relays.toml").write_text(RELAYS + "port = 2222\n")
    key_records.trust(where, ODD, [public()])
    assert trusted(where, "mx2") == (public(),)
    assert trusted(where, "mx1") == ()


def test_lines_of_other_hosts_and_comments_stay(where: Path) -> None:
    others = f"# ours\n\nother.example {public(fill=9)}\n|1|salt|hash= {public()}\n@revoked * {public()}\n"
    (where / "known_hosts").write_text(others)
    key_records.trust(where, MX1, [public(fill=1)])
    assert (where / "known_hosts").read_text() == f"{others}mx1.provider.example {public(fill=1)}\n"


def test_a_line_for_several_hosts_counts_for_each(where: Path) -> None:
    (where / "known_hosts").write_text(f"mx1.provider.example,198.51.100.1 {public()} a comment\n")
    assert trusted(where) == (public(),)


@pytest.mark.parametrize("line", ["mx1.provider.example", "mx1.provider.example ssh-rsa AAAA", "x ssh-dss AAAA"])
def test_a_damaged_line_of_known_hosts_is_a_fault_with_its_number(where: Path, line: str) -> None:
    (where / "known_hosts").write_text(f"# comment\n{line}\n")
    assert faults(where)[0].startswith("known_hosts: line 2: ")


def test_a_known_hosts_that_is_no_text_is_a_fault_and_no_traceback(where: Path) -> None:
    (where / "known_hosts").write_bytes(b"\xff\xfe\0")
    assert faults(where) == ["known_hosts: is not text in UTF-8"]
