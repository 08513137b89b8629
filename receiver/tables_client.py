"""The tables Postfix reads, from the account's side: ask root to build them, and see whether a list is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from common.exit_codes import DONE
from common.paths import REBUILD, Places
from common.settings import BadSettings, load_relay
from receiver.addresses import KEY_OCTETS, table_key
from receiver.formatting import escape
from receiver.lists import list_file
from receiver.outcome import Failed
from receiver.system import subprocesses
from receiver.tables.manifest import Manifest

ADDED = 1_000  # new addresses that are looked up
SAMPLE = 200  # addresses of the whole list that are, evenly spread
_BUILD_SECONDS = 600
_LOOK_SECONDS = 60


class Tables(NamedTuple):
    """Where the tables are and which program builds them."""

    places: Places
    rebuild: tuple[str, ...] = ("/usr/bin/sudo", "-n", REBUILD)
    postmap: str = "/usr/sbin/postmap"

    def build(self) -> dict[str, str]:
        """Run root's build; return who was left out, and why. Raises Failed when the tables are not in order."""
        code, out, err = subprocesses.run_command(self.rebuild, seconds=_BUILD_SECONDS)
        if code != DONE:
            said = escape((err or out).strip().rpartition("\n")[2]) or "it said nothing"
            raise Failed(f"rebuild-relay-recips ended {code}: {said}")
        return {name: why for name, colon, why in (line.partition(": ") for line in out.splitlines()) if colon}

    def find_faulty_customers(self) -> Mapping[str, str]:
        """Return by customer why the last build did not use its files; it mostly used root's copy of them instead."""
        return Manifest.read(self.places.tables).faulty_customers

    def is_in_doubt(self) -> bool:
        """Return whether what was built was changed or removed, or was built by another clock or of root's copies.

        Postfix then has no answer, or may have a wrong one.
        """
        record = Manifest.read(self.places.tables)
        return bool(record.faulty_customers) or record.is_modified(self.places.tables) or not record.is_by_this_clock()

    def find_missing(self, recipients: Iterable[str]) -> list[str]:
        """Return those that Postfix would not find. Raises Failed when the table cannot be read.

        Addresses too long for a key are in no table of keys, and are not looked up. Where the account may not read
        Postfix's directory or main.cf, root looks.
        """
        keys = {table_key(recipient): recipient for recipient in recipients}
        asked = {key: recipient for key, recipient in keys.items() if len(key.encode()) <= KEY_OCTETS}
        text = list_file.encode_recipients(asked).decode()
        try:
            out = self._look_up(text)
        except Failed:
            out = self._ask_root("--look-up", text)
        found = {line.partition("\t")[0] for line in out.split("\n")}
        return sorted(recipient for key, recipient in asked.items() if key not in found)

    def find_unnamed(self) -> list[str]:
        """Return the parameters of Postfix that no longer name our tables, as `PARAMETER: why`. Raises Failed."""
        return self._ask_root("--main-cf").splitlines()

    def find_left_open(self) -> list[str]:
        """Return a line for each domain being adopted that nothing closes any more: `CUSTOMER: why`. Raises Failed."""
        return self._ask_root("--adopted").splitlines()

    def repair(self) -> dict[str, str]:
        """Rebuild tables that Postfix could not read; return which those were, and why. Raises Failed."""
        lines = self._ask_root("--repair", seconds=_BUILD_SECONDS).splitlines()
        return {name: why for name, colon, why in (line.partition(": ") for line in lines) if colon}

    def _look_up(self, addresses: str) -> str:
        try:
            relay = load_relay(self.places)
        except BadSettings as error:
            raise Failed(str(error)) from error
        table = f"{relay.table_type}:{self.places.tables}/exchange_recipients"
        argv = (self.postmap, "-c", relay.config_directory, "-q", "-", table)
        code, out, err = subprocesses.run_command(argv, addresses, _LOOK_SECONDS)
        if code not in (0, 1) or "fatal:" in err:  # it ends 1 both for "none is there" and for "cannot read it"
            raise Failed(f"{escape(err.strip().rpartition('fatal: ')[2])} (postmap ended {code})")
        return out

    def _ask_root(self, option: str, text: str = "", seconds: int = _LOOK_SECONDS) -> str:
        code, out, err = subprocesses.run_command((*self.rebuild, option), text, seconds)
        if code != DONE:
            said = escape((err or out).strip().rpartition("\n")[2]) or "it said nothing"
            raise Failed(f"rebuild-relay-recips {option} ended {code}: {said}")
        return out

    def rebuild_and_verify(self, customer: str, added: Iterable[str], text: bytes) -> str:
        """Build, and look up the new recipients and some of the rest; return what is wrong, or an empty text."""
        try:
            fault = self.build().get(customer)
            if fault is not None:
                return f"left out of the tables: {escape(fault)}"
            missing = self.find_missing({*islice(added, ADDED), *_sample_evenly(text)})
        except Failed as error:
            return str(error)
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"{escape(missing[0])}{more} cannot be found in them" if missing else ""


def _sample_evenly(text: bytes) -> list[str]:
    lines = text.decode().split("\n")[:-1]
    return lines[:: max(1, len(lines) // SAMPLE)][:SAMPLE]
