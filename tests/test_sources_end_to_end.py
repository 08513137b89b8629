"""From the batch on Wine's cmd.exe into what a relay's Postfix answers, for each source.

What the batch gives plink.exe, its arguments and its input, Debian's plink then sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.host import LabHost
from tests.operators import Operator, answers
from tests.windows_server import Start, needs_wine

pytestmark = needs_wine


class Case(NamedTuple):
    """A customer: what its file says, what its exporter finds, and what becomes of that."""

    exchange: dict[str, Any]
    program: str
    rows: str
    listed: tuple[str, ...]
    left_out: str


CASES = {
    "old": Case(
        exchange={"source": "exchange-5.5"},
        program="admin",
        rows="Mailbox\tSMTP:ann@old.example%X400:c=US;a= ;s=Ann;\tsmtp:a@old.example\r\n",
        listed=("ann", "a"),
        left_out="left out 1: 1 not internet",
    ),
    "middle": Case(
        exchange={"source": "csvde", "server": "DC1", "basepoint": "DC=middle,DC=example"},
        program="csvde",
        rows="DN,objectClass,proxyAddresses,msExchRequireAuthToSendTo,msExchRecipientTypeDetails\r\n"
        '"CN=Ann,DC=middle,DC=example",user,SMTP:ann@middle.example;X400:c=US\\;a= \\;;smtp:a@middle.example,,1\r\n'
        '"CN=Staff,DC=middle,DC=example",group,SMTP:staff@middle.example,TRUE,256\r\n'
        '"CN=Health,DC=middle,DC=example",user,SMTP:HealthMailbox0123456@middle.example,,549755813888\r\n',
        listed=("ann", "a"),
        left_out="left out 3: 1 health mailboxes, 1 internal only, 1 not internet",
    ),
    "new": Case(
        exchange={"source": "powershell", "basepoint": None, "take": {"internal_only": True, "hidden": False}},
        program="powershell",
        rows="Type\tFlags\tAddresses\r\nUserMailbox\t\tSMTP:ann@new.example;X400:c=US\\;a= \\;;smtp:a@new.example\r\n"
        "MailUniversalDistributionGroup\tinternal\tSMTP:all@new.example\r\n"
        "UserMailbox\thidden\tSMTP:staff@new.example\r\n"
        "MonitoringMailbox\thidden\tSMTP:HealthMailbox0123456@new.example\r\n",
        listed=("ann", "a", "all"),
        left_out="left out 3: 1 health mailboxes, 1 hidden, 1 not internet",
    ),
}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator]]:
    """A relay for all three, and who provisioned it."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        for customer, case in CASES.items():
            places = {"directory": r"D:\userexport", "install": r"D:\exchsrvr"}
            operator.customer(customer, exchange={**places, **case.exchange})
        operator.done("provision --all")
        yield host, operator


def exported(customer: str, kit: Path, windows_server: Start) -> tuple[list[str], bytes]:
    """Run the batch; gives the words it called plink with, and what it gave it to send."""
    server = windows_server(str(kit))
    server.write(f"{CASES[customer].program}.rows", CASES[customer].rows)
    assert server.export().returncode == 0
    (call,) = server.calls
    return call.split(), (server.folder / "plink.1").read_bytes()


@pytest.mark.parametrize("customer", CASES)
def test_a_list_goes_from_cmd_exe_into_the_relay_s_table_whatever_its_source(
    customer: str, relay: tuple[LabHost, Operator], windows_server: Start
) -> None:
    host, operator = relay
    kit, listed = operator.kits / customer, CASES[customer].listed
    words, upload = exported(customer, kit, windows_server)
    sent = operator.call(["plink", *words], stdin=upload, cwd=kit)
    held = f"{customer}: first list of {customer}.example ({len(listed)}): held; {len(listed)} added"
    assert sent.out == f"{held}; {CASES[customer].left_out}\n"
    operator.done(f"accept {customer} --first {len(listed)}")
    asked = [f"{local}@{customer}.example" for local in (*listed, "staff", "healthmailbox0123456")]
    assert list(answers(host, *asked).values()) == ["250"] * len(listed) + ["550"] * 2


def test_a_list_that_lost_a_row_between_script_and_relay_is_refused_by_its_own_end_mark(
    relay: tuple[LabHost, Operator], windows_server: Start
) -> None:
    operator = relay[1]
    kit = operator.kits / "new"
    words, upload = exported("new", kit, windows_server)
    cut = re.sub(rb"MonitoringMailbox.*\r\n", b"", upload)
    refused = operator.call(["plink", *words], stdin=cut, cwd=kit)
    assert refused.code == 2
    assert "the end mark says 5 rows, there are 4" in refused.out
