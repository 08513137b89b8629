"""From the batch on Wine's cmd.exe into what a relay's Postfix answers, for each source.

What the batch gives plink.exe, its arguments and its input, Debian's plink then sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.host import LabHost
from tests.operators import Operator, answers
from tests.windows_server import Start, needs_wine

pytestmark = needs_wine

SOURCES: dict[str, tuple[dict[str, Any], str, str]] = {  # customer: what its file says, and what its exporter finds
    "old": (
        {"source": "exchange-5.5"},
        "admin.rows",
        "Mailbox\tSMTP:ann@old.example%X400:c=US;a= ;s=Ann;\tsmtp:a@old.example\r\n",
    ),
    "middle": (
        {"source": "csvde", "server": "DC1", "basepoint": "DC=middle,DC=example"},
        "csvde.rows",
        "DN,objectClass,proxyAddresses,msExchRequireAuthToSendTo,msExchRecipientTypeDetails\r\n"
        '"CN=Ann,DC=middle,DC=example",user,SMTP:ann@middle.example;X400:c=US\\;a= \\;;smtp:a@middle.example,,1\r\n'
        '"CN=Staff,DC=middle,DC=example",group,SMTP:staff@middle.example,TRUE,256\r\n'
        '"CN=Health,DC=middle,DC=example",user,SMTP:HealthMailbox0123456@middle.example,,549755813888\r\n',
    ),
    "new": (
        {"source": "powershell", "basepoint": None, "take": {"internal_only": True, "hidden": False}},
        "powershell.rows",
        "Type\tFlags\tAddresses\r\nUserMailbox\t\tSMTP:ann@new.example;X400:c=US\\;a= \\;;smtp:a@new.example\r\n"
        "MailUniversalDistributionGroup\tinternal\tSMTP:all@new.example\r\n"
        "UserMailbox\thidden\tSMTP:staff@new.example\r\n"
        "MonitoringMailbox\thidden\tSMTP:HealthMailbox0123456@new.example\r\n",
    ),
}
LEFT_OUT = {
    "old": "left out 1: 1 not internet",
    "middle": "left out 3: 1 health mailboxes, 1 internal only, 1 not internet",
    "new": "left out 3: 1 health mailboxes, 1 hidden, 1 not internet",
}
LISTED = {"old": ["ann", "a"], "middle": ["ann", "a"], "new": ["ann", "a", "all"]}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator]]:
    """A relay for all three, and who provisioned it."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        for customer, (exchange, _, _) in SOURCES.items():
            places = {"directory": r"D:\userexport", "install": r"D:\exchsrvr"}
            operator.customer(customer, exchange={**places, **exchange})
        operator.done("provision --all")
        yield host, operator


@pytest.mark.parametrize("customer", SOURCES)
def test_a_list_goes_from_cmd_exe_into_the_relay_s_table_whatever_its_source(
    customer: str, relay: tuple[LabHost, Operator], windows_server: Start
) -> None:
    host, operator = relay
    server = windows_server(str(operator.kits / customer))
    server.write(SOURCES[customer][1], SOURCES[customer][2])
    assert server.export().returncode == 0
    (call,) = server.calls
    sent = operator.call(["plink", *call.split()], stdin=(server.folder / "plink.1").read_bytes(), cwd=server.folder)
    count = len(LISTED[customer])
    assert sent.out == (
        f"{customer}: first list of {customer}.example ({count}): held; {count} added; {LEFT_OUT[customer]}\n"
    )
    operator.done(f"accept {customer} --first {count}")
    asked = [f"{local}@{customer}.example" for local in (*LISTED[customer], "staff", "healthmailbox0123456")]
    assert list(answers(host, *asked).values()) == ["250"] * count + ["550"] * 2
    assert re.search(rf"^{customer}\b", operator.run(f"status {customer}").out, re.MULTILINE)


def test_a_list_that_lost_a_row_between_script_and_relay_is_refused_by_its_own_end_mark(
    relay: tuple[LabHost, Operator], windows_server: Start, tmp_path: Path
) -> None:
    operator = relay[1]
    server = windows_server(str(operator.kits / "new"))
    server.write(*SOURCES["new"][1:])
    server.export()
    upload = (server.folder / "plink.1").read_bytes()
    cut = re.sub(rb"MonitoringMailbox.*\r\n", b"", upload)
    refused = operator.call(["plink", *server.calls[0].split()], stdin=cut, cwd=server.folder)
    assert refused.code == 2
    assert "the end mark says 5 rows, there are 4" in refused.out
