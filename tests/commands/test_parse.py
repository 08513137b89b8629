"""`inv parse` of exports that somebody made to cost a machine its memory: the bounds are those of a relay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.exit_codes import DONE, REFUSED
from common.settings import MEGABYTE, Settings
from receiver import filter_cli

REPO = Path(filter_cli.__file__).parent.parent
MEGABYTES = 5  # of export: gigabytes were needed for 50
SETTINGS = Settings("acme", "csvde", ("acme.example",), max_megabytes=MEGABYTES)
ROW = b'DN,objectClass,proxyAddresses\r\n"CN=A,DC=x",user,%s\r\n'
SIZE = MEGABYTES * MEGABYTE - 200
LONG = {
    "one value in hex": ROW % (b"X'" + b"41" * (SIZE // 2) + b"'"),
    "hex that is not whole": ROW % (b"X'" + b"4" * SIZE),
    "many values in hex": ROW % (b"X'41';" * (SIZE // 6)),
    "a header": b"x" * SIZE + b"\r\n",
    "one address": ROW % (b"SMTP:" + b"a" * (SIZE - 30) + b"@acme.example"),
    "quotes": ROW % (b'"' + b'""' * (SIZE // 2) + b'"'),
    "a name": b"DN,objectClass,proxyAddresses\r\nCN=" + b"\\;" * (SIZE // 2) + b",user,SMTP:a@acme.example\r\n",
    "values that hold values": ROW % (b"a:smtp:" * (SIZE // 7)),
}


READ = """
import sys
from receiver import filter_cli
code = filter_cli.main()
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""
PYTHON = 40 << 20  # octets of memory without an export


@pytest.mark.slow
@pytest.mark.parametrize("what", LONG)
def test_attack_an_export_in_one_piece_is_read_within_a_relay_s_memory(what: str) -> None:
    """Ten octets of memory for each that an export may have, and no more at any time."""
    request = filter_cli.encode_request(SETTINGS, LONG[what])
    done = subprocess.run([sys.executable, "-c", READ], input=request, capture_output=True, cwd=REPO, check=False)
    assert done.returncode in (DONE, REFUSED), done
    assert json.loads(done.stdout)
    assert int(done.stderr) * 1024 < PYTHON + 10 * MEGABYTES * MEGABYTE
