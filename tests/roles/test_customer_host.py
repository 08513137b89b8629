from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

import inventory
from deploy.plan import Blank, Plan
from inventory import Customer, Key, Relay
from inventory.model import Provider
from inventory.sources import Online
from lab.waiting import HANGS
from receiver.upload.formats import csvde
from receiver.upload.recipient_types import OWNER
from roles import customer_host as customer_role
from roles.customer_host import KitPages
from templates import BadTemplate

GOLDEN = Path(__file__).parent.parent / "golden" / "exchange"


def public(kind: str, length: int, fill: int = 0) -> str:
    """A public key of that type, as far as anybody looks who has no use for it."""
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), bytes([fill]) * length))
    return f"{kind} {base64.b64encode(blob).decode()}"


def relay(name: str, **more: object) -> Relay:
    keys = (public("ssh-ed25519", 32, ord(name[-1])), public("ssh-rsa", 279, ord(name[-1])))
    return Relay.model_validate({"name": name, "address": f"{name}.provider.example", "host_keys": keys, **more})


def customer(*keys: str, **changes: object) -> Customer:
    """The shipped demo's customer with keys of these names; `exchange` and `schedule` change keys of those tables."""
    demo = inventory.find(inventory.load(Path(inventory.__file__).parent), "demo")
    schedule = demo.exchange.schedule.model_copy(update=changes.pop("schedule", None))  # type: ignore[arg-type]
    end = demo.exchange.model_copy(update={"schedule": schedule, **changes.pop("exchange", {})})  # type: ignore[dict-item]
    recorded = tuple(Key(name, public("ssh-ed25519", 32, int(name[1:]))) for name in keys or ("k1",))
    return demo.model_copy(update={"keys": recorded, "exchange": end, **changes})


def files(one: Customer, relays: Sequence[Relay]) -> dict[str, str]:
    return {item.name: str((item.wanted or {})["content"]) for item in customer_role.items(one, relays)}


TWO = (relay("mx1"), relay("mx2", uploads="upload.provider.example:2222"))
DIRECTORY = {"source": "csvde", "server": "DC1", "basepoint": "DC=demo,DC=example"}
SCRIPT = {"source": "powershell", "server": "EX1", "basepoint": None}
TENANT = {"organization": "acme.onmicrosoft.com", "app_id": "11111111-2222-4333-8444-555555555555"}
ONLINE = {
    "source": "exchange-online",
    "basepoint": None,
    "server": "exchange-online",
    "online": Online.model_validate({**TENANT, "thumbprint": "0123456789abcdef" * 2 + "01234567"}),
}
CASES = {
    "one-relay-one-key": (customer(), TWO[:1]),
    "two-relays-rotating": (customer("k1", "k2", relays=("mx1", "mx2")), TWO),
    "csvde": (customer(exchange=DIRECTORY), TWO[:1]),
    "powershell": (customer(exchange=SCRIPT), TWO[:1]),
    "exchange-online": (customer(exchange=ONLINE), TWO[:1]),
    "securecrt": (customer("k1", "k2", exchange={"client": "securecrt"}), TWO[:1]),
    "openssh": (customer("k1", "k2", exchange={"client": "openssh"}, relays=("mx1", "mx2")), TWO),
}


@pytest.mark.parametrize("case", CASES)
def test_the_files_of_the_exchange_end_are_those_a_person_has_read(case: str) -> None:
    """POSTERN_GOLDEN=write writes them anew; read the difference before you commit it."""
    made = files(*CASES[case])
    where = GOLDEN / case
    if os.environ.get("POSTERN_GOLDEN") == "write":
        where.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (where / name).write_bytes(content.encode())
    assert {path.name for path in where.iterdir()} == set(made)
    for name, content in made.items():
        assert (where / name).read_bytes().decode() == content, name


def test_the_plan_for_a_server_reached_over_ssh_is_the_one_a_person_has_read() -> None:
    """POSTERN_GOLDEN=write writes it anew; read the difference before you commit it."""
    reached = customer(exchange={"client": "openssh", "reach": "ssh", "source": "csvde", "basepoint": None})
    text = Plan.of(Blank(), customer_role.items(reached, TWO[:1])).text()
    where = GOLDEN.parent / "exchange-ssh.plan"
    if os.environ.get("POSTERN_GOLDEN") == "write":
        where.write_text(text)
    assert where.read_text() == text


@pytest.fixture
def made() -> dict[str, str]:
    return files(*CASES["two-relays-rotating"])


def test_all_files_of_a_kit_are_there_and_no_private_key(made: dict[str, str]) -> None:
    assert set(made) == {
        "exportfields.txt",
        "userexport.ini",
        "runexport.bat",
        "endmark.txt",
        "schedule.bat",
        "schedule.xml",
        "README.txt",
    }


@pytest.mark.parametrize("case", CASES)
def test_every_file_is_ascii_with_the_line_ends_of_windows(case: str) -> None:
    for name, content in files(*CASES[case]).items():
        assert content.isascii(), name
        assert content.endswith("\r\n"), name
        assert "\n" not in content.replace("\r\n", ""), name


def test_the_end_mark_is_the_bytes_the_receiver_waits_for(made: dict[str, str]) -> None:
    assert made["endmark.txt"] == "#postern end\r\n"


def test_the_template_of_the_export_names_the_three_columns_with_tabs_between(made: dict[str, str]) -> None:
    assert made["exportfields.txt"] == "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n"


def test_the_options_file_begins_with_its_section_or_admin_ignores_every_key(made: dict[str, str]) -> None:
    assert made["userexport.ini"].startswith("[Export]\r\n")


def test_the_options_file_has_no_key_that_loses_recipients(made: dict[str, str]) -> None:
    keys = re.findall(r"^(\w+)=", made["userexport.ini"], re.MULTILINE)
    assert "HiddenObjects" in keys
    assert not {"HomeServer", "BasepointOnly", "Hidden", "RawMode"} & set(keys)
    assert re.search(r"=\s*$", made["userexport.ini"], re.MULTILINE) is None


# ---- csvde


def csvde_line(**changes: object) -> str:
    made = files(customer(exchange={**DIRECTORY, **changes}), TWO[:1])["runexport.bat"]
    (line,) = re.findall(r'^"%SystemRoot%\\System32\\csvde\.exe" (.*)\r$', made, re.MULTILINE)
    return str(line)


def test_csvde_asks_the_global_catalog_for_all_who_have_addresses_below_the_base_page_by_page() -> None:
    words = csvde_line().split(" -")
    assert {"s DC1", "t 3268", 'd "DC=demo,DC=example"', 'r "(proxyAddresses=*)"'} <= set(words)
    assert not {"g", "n", "i", "u"} & set(
        words
    )  # no pages; no values it takes for binary; import; what find cannot read


def test_csvde_without_a_base_asks_for_all_of_the_server_s_own_domain() -> None:
    assert " -d " not in csvde_line(basepoint=None)


def test_csvde_is_asked_for_what_its_format_reads_and_never_for_where_a_contact_s_mail_goes() -> None:
    asked = re.search(r"-l (\S+)", csvde_line())
    assert asked is not None
    assert set(asked[1].split(",")) == {csvde.ADDRESSES, *OWNER}
    assert "targetAddress" not in asked[1]


def test_the_end_mark_of_the_script_takes_the_place_of_the_one_in_the_kit() -> None:
    made = files(*CASES["powershell"])
    assert "endmark.txt" not in made
    assert not [name for name, content in made.items() if "endmark.txt" in content]
    assert "copy /b exchusers.txt+exchusers.end upload.txt" in made["runexport.bat"]


# ---- the upload


def uploads(made: dict[str, str]) -> list[str]:
    return [line for line in made["runexport.bat"].split("\r\n") if "postern@" in line]


def test_every_upload_begins_with_plink_and_holds_nothing_but_literal_arguments(made: dict[str, str]) -> None:
    line = re.compile(
        r"plink -batch -ssh -T -P \d+ -i exchupdate-k\d+\.ppk( -hostkey [A-Za-z0-9+/=]+)+"
        r" postern@[a-z0-9.]+ (receive|look) < upload\.txt >> runexport\.run 2>&1"
    )
    assert len(uploads(made)) == 8  # two relays, two keys, two verbs
    for upload in uploads(made):
        assert line.fullmatch(upload), upload


def test_every_upload_by_ssh_goes_by_its_own_known_hosts_alone_and_asks_nobody() -> None:
    made = files(*CASES["openssh"])
    options = (
        "IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=30 -o StrictHostKeyChecking=yes "
        "-o UserKnownHostsFile=known_hosts -o GlobalKnownHostsFile=known_hosts -o UpdateHostKeys=no -o CheckHostIP=no"
    )
    line = re.compile(
        rf"ssh -F none -T -p \d+ -i exchupdate-k\d+ -o {options} postern@[a-z0-9.]+ (receive|look)"
        r" < upload\.txt >> runexport\.run 2>&1"
    )
    assert len(uploads(made)) == 8  # two relays, two keys, two verbs
    for upload in uploads(made):
        assert line.fullmatch(upload), upload


def test_known_hosts_has_every_host_key_of_every_relay_by_the_name_and_port_that_is_called() -> None:
    lines = files(*CASES["openssh"])["known_hosts"].split("\r\n")[:-1]
    called = {"mx1": "mx1.provider.example", "mx2": "[upload.provider.example]:2222"}
    assert lines == [f"{called[one.name]} {key} {one.name}" for one in TWO for key in one.host_keys]


@pytest.mark.skipif(not shutil.which("plink"), reason="plink is not installed (apt install putty-tools)")
def test_plink_takes_every_argument_of_an_upload_and_fails_for_want_of_a_relay_alone(made: dict[str, str]) -> None:
    for line in uploads(made):
        call = re.sub(r"@\S+", "@127.0.0.1", re.sub(r"-P \d+", "-P 1", line.partition(" <")[0])).split()
        ended = subprocess.run(
            call, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=HANGS, check=False
        )
        assert ended.returncode == 1
        assert "Connection refused" in ended.stderr


@pytest.mark.parametrize("case", ["two-relays-rotating", "openssh", "securecrt"])
def test_each_upload_of_a_kit_with_a_number_names_it_and_no_file_changes_besides(case: str) -> None:
    one, relays = CASES[case]
    numbered = {item.name: str((item.wanted or {})["content"]) for item in customer_role.items(one, relays, 12)}
    plain = files(one, relays)
    assert [name for name in plain if plain[name] != numbered[name]] == ["runexport.bat"]
    sending = [
        line for line in numbered["runexport.bat"].splitlines() if line.startswith(("plink -", "ssh -F", "vsh -"))
    ]
    assert sending
    assert all(" kit=12 < " in line for line in sending)
    assert numbered["runexport.bat"].replace(" kit=12", "") == plain["runexport.bat"]


US = Provider(name="Mail & Co", contact="+49 30 5550100")
TENANT_ON_LINUX = Online.model_validate({**TENANT, "certificate": "a.pem", "key": "a.key"})
LINUX = customer(exchange={**ONLINE, "online": TENANT_ON_LINUX})


@pytest.mark.parametrize("case", [*CASES, "linux"])
def test_the_readme_says_who_we_are_and_how_we_are_reached(case: str) -> None:
    one, relays = CASES.get(case, (LINUX, TWO[:1]))
    pages = KitPages(US)
    readme = next(item for item in customer_role.items(one, relays, 0, pages) if item.name == "README.txt")
    text = str((readme.wanted or {})["content"])
    assert text.count("Mail & Co") == text.count("+49 30 5550100") == 2


def test_a_template_of_the_provider_s_own_replaces_the_readme_alone(tmp_path: Path) -> None:
    (tmp_path / "windows").mkdir()
    own = tmp_path / "windows" / "README.txt.j2"
    own.write_text("{{ provider.name }} for {{ customer }}\n{% include 'windows/endmark.txt.j2' %}")
    one, relays = CASES["one-relay-one-key"]
    pages = KitPages(US, tmp_path)
    made = {item.name: str((item.wanted or {})["content"]) for item in customer_role.items(one, relays, 0, pages)}
    assert made["README.txt"].startswith("Mail & Co for demo\r\n")
    assert {name: text for name, text in made.items() if name != "README.txt"} == {
        name: text for name, text in files(one, relays).items() if name != "README.txt"
    }
    for wrong in ("{{ nobody }}", "{% if %}", "M\u00fcller"):
        own.write_text(wrong)
        with pytest.raises(BadTemplate, match=r"windows/README\.txt\.j2: "):
            list(customer_role.items(one, relays, 0, pages))


def test_each_relay_is_called_at_the_host_and_port_where_it_takes_uploads(made: dict[str, str]) -> None:
    places = {(re.search(r"-P (\d+)", line)[1], re.search(r"postern@(\S+)", line)[1]) for line in uploads(made)}  # type: ignore[index]
    assert places == {("22", "mx1.provider.example"), ("2222", "upload.provider.example")}


def test_each_upload_names_all_host_keys_of_its_relay_and_no_other(made: dict[str, str]) -> None:
    for line in uploads(made):
        one = TWO[0] if "postern@mx1" in line else TWO[1]
        assert re.findall(r"-hostkey (\S+)", line) == [key.split()[1] for key in one.host_keys]


def test_while_a_rotation_is_open_the_new_key_comes_first_and_the_old_one_is_reached_by_its_absence(
    made: dict[str, str],
) -> None:
    lines = made["runexport.bat"].split("\r\n")
    order = [line.split()[7] for line in lines if line.startswith("plink ")]
    assert order == ["exchupdate-k2.ppk", "exchupdate-k1.ppk"] * 4
    assert lines.count("if not exist exchupdate-k2.ppk goto receive1old1") == 1
    assert "if not exist exchupdate-k1.ppk" not in made["runexport.bat"]


@pytest.mark.parametrize("case", CASES)
def test_every_label_that_is_gone_to_is_there_once(case: str) -> None:
    made = files(*CASES[case])
    for name in ("runexport.bat", "schedule.bat"):
        labels = re.findall(r"^:(\w+)\r$", made[name], re.MULTILINE)
        assert len(labels) == len(set(labels)), name
        assert set(re.findall(r"goto (\w+)", made[name])) <= set(labels), name
    nexts = re.findall(r"set next=(\w+)", made["runexport.bat"])
    assert set(nexts) <= set(re.findall(r"^:(\w+)\r$", made["runexport.bat"], re.MULTILINE))


@pytest.mark.parametrize("case", CASES)
def test_no_line_of_the_batch_ends_in_a_digit_that_cmd_would_take_for_a_handle(case: str) -> None:
    made = files(*CASES[case])
    for name in ("runexport.bat", "schedule.bat"):
        assert re.search(r"echo .*\d>", made[name]) is None


@pytest.mark.parametrize("case", CASES)
def test_the_batch_uses_nothing_that_came_after_windows_nt_4(case: str) -> None:
    made = files(*CASES[case])
    newer = r"exit /b|%%~[a-z]|set /p|%(date|time|random)%|:eof|call :|\btimeout|taskkill|enabledelayed|usebackq|\(\r\n"
    for name in ("runexport.bat", "schedule.bat"):
        assert re.search(newer, made[name], re.IGNORECASE) is None, name


def test_as_many_marks_as_make_two_hours_break_the_lock() -> None:
    for every, marks in ((15, 8), (45, 3), (60, 2), (120, 1), (1440, 1)):
        batch = files(customer(schedule={"every_minutes": every}), TWO[:1])["runexport.bat"]
        assert set(re.findall(r"^:(mark\d+)\r$", batch, re.MULTILINE)) == {f"mark{n}" for n in range(1, marks + 1)}


def test_at_gets_one_job_for_each_time_of_day_on_the_days_as_nt_writes_them() -> None:
    made = files(customer(schedule={"days": ("MON", "THU", "SAT", "SUN"), "every_minutes": 120}), TWO[:1])
    jobs = re.findall(
        r"^at (\d\d:\d\d) /every:(\S+) cmd /c D:\\userexport\\runexport\.bat\r$", made["schedule.bat"], re.MULTILINE
    )
    assert [days for _, days in jobs] == ["M,Th,S,Su"] * 6
    assert len({time for time, _ in jobs}) == 6
    assert len({time[3:] for time, _ in jobs}) == 1


def test_the_task_starts_when_the_jobs_would_and_repeats_as_often() -> None:
    made = files(customer(), TWO[:1])
    times = re.findall(r"^at (\d\d:\d\d)", made["schedule.bat"], re.MULTILINE)
    task = ElementTree.fromstring(made["schedule.xml"])
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}

    def text(path: str) -> str:
        return task.findtext(path, "", space)

    assert text(".//t:StartBoundary").endswith(f"T{times[0]}:00")
    assert text(".//t:Interval") == "PT60M"
    assert int(text(".//t:Duration").strip("PTM")) // 60 == len(times) - 1
    assert [day.tag.rpartition("}")[2] for day in task.findall(".//t:DaysOfWeek/*", space)][::4] == ["Monday", "Friday"]
    assert text(".//t:Arguments") == r"/c D:\userexport\runexport.bat"


def test_a_task_that_runs_once_a_day_does_not_repeat() -> None:
    made = files(customer(schedule={"every_minutes": 1440}), TWO[:1])
    assert "Repetition" not in made["schedule.xml"]


def test_a_hundred_customers_do_not_call_in_the_same_minute() -> None:
    schedule = customer().exchange.schedule
    minutes = [schedule.starts(f"customer{n}")[0] for n in range(100)]
    assert max(map(minutes.count, minutes)) <= 6


def test_a_path_with_blanks_to_exchange_stands_between_quotes() -> None:
    made = files(customer(exchange={"install": r"C:\Program Files\Exchsrvr"}), TWO[:1])
    assert (
        '\r\n"C:\\Program Files\\Exchsrvr\\bin\\admin.exe" /e exchusers.txt /n /o userexport.ini\r\n'
        in made["runexport.bat"]
    )


@pytest.mark.parametrize("case", CASES)
def test_the_page_for_the_customer_s_admin_fits_a_diskette_reader_s_screen(case: str) -> None:
    assert [line for line in files(*CASES[case])["README.txt"].split("\r\n") if len(line) > 80] == []


@pytest.mark.parametrize(
    ("case", "count"),
    [
        *(
            ("one-relay-one-key", 11),
            ("two-relays-rotating", 11),
            ("csvde", 12),
            ("powershell", 11),
            ("exchange-online", 11),
        ),
        *(("openssh", 11), ("securecrt", 10)),
    ],
)
def test_the_page_explains_every_message_the_batch_can_end_with(case: str, count: int) -> None:
    made = files(*CASES[case])
    said = re.findall(r"(?:run|log) echo (?:%began%: )?(.+)\r", made["runexport.bat"])
    page = re.sub(r"\s+", " ", made["README.txt"])
    clauses = (
        {re.split(r"\. |: | %|:$", text)[0] for text in said} - {relay.uploads_to[0] for relay in TWO} - {"runexport"}
    )
    assert len(clauses) == count
    assert {clause for clause in clauses if clause not in page} == set()


def test_the_page_names_hosts_ports_and_the_addresses_the_key_is_good_for(made: dict[str, str]) -> None:
    assert "upload.provider.example, port 2222" in made["README.txt"]
    assert "198.51.100.7" in made["README.txt"]


def test_a_customer_without_a_key_gets_no_batch_that_ends_with_0_and_sends_nothing() -> None:
    with pytest.raises(ValueError, match="no key"):
        files(customer().model_copy(update={"keys": ()}), TWO[:1])


def test_a_relay_whose_host_keys_nobody_recorded_is_refused_and_the_command_that_helps_named() -> None:
    bare = TWO[0].model_copy(update={"host_keys": ()})
    assert customer_role.blockers(customer(), [bare]) == [
        "mx1: its host keys are not on record; `inv trust mx1` records them"
    ]
    assert customer_role.blockers(customer(), TWO[:1]) == []


def test_a_line_longer_than_nt_4_takes_is_refused_and_not_cut() -> None:
    big = TWO[0].model_copy(update={"host_keys": (public("ssh-rsa", 2060),)})
    assert "NT 4's cmd.exe takes 2047" in customer_role.blockers(customer(), [big])[0]
