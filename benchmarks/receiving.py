"""An upload through the real forced command, beside the bare SSH command and beside Perl piped into postmap."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import exports, relays
from benchmarks.measuring import Run, Spread, differences, figure, quotients, rounds, run, seconds
from benchmarks.report import Answer, Plot, Table, Target
from lab.host import LabHost
from lab.operators import MARK, OUTSIDE, Operator

HERE = Path(__file__).parent
ROWS = {100: 7, 1_000: 9, 10_000: 7, 100_000: 3, 1_000_000: 2}  # so many rows: so many rounds
QUICK = {100: 2, 1_000: 2}
PROFILED = (1_000, 1_000_000)
AIMED = 1_000  # rows of the target
BEYOND, BESIDE = 0.2, 1.2  # seconds; times
CUSTOMER = "acme"
CHANGED, UNCHANGED = "Postern, changed", "Postern, unchanged"
BARE, PERL, POSTMAP = "bare SSH", "Perl, postmap", "postmap alone"
NAMES = (BARE, UNCHANGED, CHANGED, PERL, POSTMAP)
OTHER = "plain"  # the account that the peers use
HELD = 3
PARSER = HERE / "parse-exchange-users.pl"
GATE, BUILD = "postern-receive", "rebuild-relay-recips"
HOW = """\
An export sent with OpenSSH's `ssh` to an account whose key has our forced command: a list of which one address went
and another came, and then the same once more. Beside it, over the same sshd: `cat > /dev/null`, which is the bare SSH
command; `perl parse-exchange-users.pl ... > list && postmap list`, which checks nothing, keeps nothing and overwrites
the table in force; `postmap` of the same list alone. Writes go to a disk, so that fsync costs what it costs. Tables
are of type hash."""


def measure(quick: bool) -> Answer:
    """Measure it."""
    found, peaks, stages = {}, {}, {}
    for count, repeats in (QUICK if quick else ROWS).items():
        with relays.started(1, on_disk=True) as (host,), tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
            relay = Relay(Path(place), host, count)
            found[count] = {name: seconds(ran) for name, ran in rounds(repeats, _contenders(relay)).items()}
            with relays.peak(host, GATE, BUILD) as peaks[count]:
                relay.changed()
            if count in PROFILED:
                stages[count] = relay.stages()
    return Answer(
        title="Receiving",
        how=HOW,
        targets=_targets(found[AIMED]),
        tables=(_times(found), _memory(peaks), *_profiles(stages)),
        plot=Plot(
            title="An upload, from start to end",
            x="rows",
            y="seconds",
            log="xy",
            lines={name: [(count, Spread.of(each[name])) for count, each in found.items()] for name in NAMES},
        ),
        notes=NOTES,
    )


NOTES = """\
An upload of a few thousand rows is two starts of Python and one of `postmap`. Up to 100,000 rows the Perl script is
ahead; it neither judges nor keeps a list, does not look it up, and its table is not whole while `postmap` writes it.

The goal beside Perl is missed: both starts of Python with what they import take 100 ms of a changed upload of 1,000
rows. If importing took no time at all, it would come to 1.4 times. What was tried:

- Bytecode made once by root, and launchers without `site`.
- Two patterns that took 4 ms to compile at each start: written so that they take none.
- Loading what reaches a store only on a relay that has one: 11 ms less. An upload that is on its way while a release is
  replaced would load parts of two. Not done.
- One process of root's that stays, in place of a start for each build: 40 ms less, and the account would talk to a
  process of root's that is always there. Not done.

For large lists, counting what two lists differ in and writing a list out once took the guard from 10.6 s to what is
shown above."""


class Relay:
    """A relay with one customer, whose first list is accepted, and two exports that are alike but for one address."""

    def __init__(self, folder: Path, host: LabHost, count: int) -> None:
        """Provision it, send the first list, accept it; give the peers an account and what they need."""
        self.host, self.operator = host, Operator(folder)
        self.exports = [exports.write(folder / f"{name}.txt", count, [name], MARK) for name in ("one", "other")]
        self._sent = 0
        self._provision()
        self.send(0, code=HELD)
        accept = re.search(r"accept \S+ --first .*", self.operator.done(f"review {CUSTOMER}").out)
        assert accept
        self.operator.done(accept[0])
        self._add_account()

    def _provision(self) -> None:
        self.operator.relay("mx1", self.host)
        guard = {"max_recipients": 10_000_000, "max_megabytes": 1_000}
        self.operator.customer(CUSTOMER, domains=list(exports.DOMAINS), guard=guard)
        self.operator.done(f"provision {CUSTOMER}")

    def _add_account(self) -> None:
        home = f"/home/{OTHER}"
        self.host.run("useradd", "--create-home", "--password", "*", OTHER)
        key = run(["ssh-keygen", "-y", "-f", self.operator.openssh_key(CUSTOMER)]).out
        for name, text in ((".ssh/authorized_keys", key), ("parse.pl", PARSER.read_text())):
            self.host.run("install", "-D", "-m", "600", "/dev/stdin", f"{home}/{name}", stdin=text.encode())
        self.host.run("chown", "-R", OTHER, home)

    def changed(self) -> Run:
        """Send the export that was not sent last."""
        return self.send(1 - self._sent)

    def unchanged(self) -> Run:
        """Send the one that was."""
        return self.send(self._sent)

    def send(self, which: int, code: int = 0) -> Run:
        """Send one of the two exports through the forced command."""
        self._sent = which
        return self._ssh("postern", "receive", self.exports[which], code)

    def plain(self, command: str, with_export: bool = True) -> Run:
        """Run a command as an account without a forced one, with an export on stdin."""
        return self._ssh(OTHER, command, self.exports[self._sent] if with_export else None)

    def stages(self) -> tuple[dict[str, float], dict[str, float]]:
        """Take the time of each stage of an upload that changes the list, and of a build like the one in it."""
        self._sent = 1 - self._sent
        told = {"SSH_CONNECTION": f"{OUTSIDE} 1 {self.host.address} 22", "SSH_ORIGINAL_COMMAND": "receive"}
        export = self.exports[self._sent].read_bytes()
        upload = relays.stages(
            self.host, "receiver.forced_command", CUSTOMER, "k1", told=told, user="postern", stdin=export
        )
        relays.unbuild(self.host)
        return upload, relays.stages(self.host, "receiver.tables.build")

    def _ssh(self, account: str, command: str, stdin: Path | None, code: int = 0) -> Run:
        argv = [*self.operator.client("ssh", self.host, CUSTOMER), f"{account}@{self.host.address}", command]
        return run(argv, stdin=stdin, environment=self.operator.environment, codes=(code,))


def _contenders(relay: Relay) -> dict[str, Callable[[], Run]]:
    table = "hash:list"
    perl = f"perl parse.pl {' '.join(exports.DOMAINS)} > list && /usr/sbin/postmap {table}"
    return {
        BARE: lambda: relay.plain("cat > /dev/null"),
        PERL: lambda: relay.plain(perl),
        POSTMAP: lambda: relay.plain(f"/usr/sbin/postmap {table}", with_export=False),
        CHANGED: relay.changed,
        UNCHANGED: relay.unchanged,
    }


# ---- tell


def _targets(found: Mapping[str, list[float]]) -> tuple[Target, ...]:
    beyond = (
        Target(
            says=f"upload of {AIMED:,} rows, {what}: beyond the bare SSH command",
            found=differences(found[name], found[BARE]),
            limit=BEYOND,
            unit="s",
        )
        for what, name in (("a list that changed", CHANGED), ("unchanged", UNCHANGED))
    )
    beside = Target(
        says=f"upload of {AIMED:,} rows that changed, in times of Perl and `postmap`",
        found=quotients(found[CHANGED], found[PERL]),
        limit=BESIDE,
        unit="times",
    )
    return (*beyond, beside)


def _times(found: Mapping[int, Mapping[str, list[float]]]) -> Table:
    rows = tuple(
        (
            f"{count:,}",
            *(Spread.of(each[name]).text("s") for name in NAMES),
            differences(each[CHANGED], each[BARE]).text("s"),
            figure(quotients(each[CHANGED], each[PERL]).median),
        )
        for count, each in found.items()
    )
    columns = ("rows", *NAMES, "changed, beyond bare SSH", "changed / Perl, postmap")
    return Table(says="Time from start to end:", columns=columns, rows=rows)


def _memory(peaks: Mapping[int, Mapping[str, int]]) -> Table:
    rows = tuple((f"{count:,}", *(figure(each[name] / 1e6) for name in (GATE, BUILD))) for count, each in peaks.items())
    return Table(says="Memory of the two programs at their peak, MB:", columns=("rows", GATE, BUILD), rows=rows)


def _profiles(stages: Mapping[int, tuple[Mapping[str, float], Mapping[str, float]]]) -> Iterator[Table]:
    """Show where the time goes, as root and as the account."""
    for place, says in enumerate((f"Where the time of `{GATE}` goes, ms:", f"And of `{BUILD}`, which it waits for:")):
        by_stage = {count: both[place] for count, both in stages.items()}
        names = dict.fromkeys(stage for each in by_stage.values() for stage in each)
        rows = tuple((name, *(figure(each[name] * 1000) for each in by_stage.values())) for name in names)
        yield Table(says=says, columns=("stage", *(f"{count:,} rows" for count in by_stage)), rows=rows)
